"""A module with the given weights that runs each shape in the way that was found for it."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self, get_args

import pandas as pd
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.utils.rnn import PackedSequence

from rnnbench.adapt.kinds import RunModule, why_only_as_given
from rnnbench.cells.states import BATCHED, State, leaves
from rnnbench.speedup.ways import ALONE, AS_GIVEN, WayName, call, way


@dataclass(frozen=True)
class CallShape:
    """What the choice of a way depends on."""

    seq_len: int
    batch_size: int
    input_size: int  # of all values of a step together; 1 for whole numbers
    dtype: str  # `float32`, or `float32, autocast to bfloat16`
    device: str
    threads: int
    phase: str  # `training` if gradients are computed, or `inference`

    @classmethod
    def of(cls, input: Tensor, phase: str) -> Self:
        """Return the shape of a call; `input`: (seq, batch, ...)."""
        steps, batch, *features = input.shape
        dtype, kind = str(input.dtype).removeprefix("torch."), input.device.type
        if torch.is_autocast_enabled(kind):
            dtype += f", autocast to {torch.get_autocast_dtype(kind)}".replace("torch.", "")
        return cls(steps, batch, math.prod(features), dtype, str(input.device), torch.get_num_threads(), phase)

    def distance(self, other: "CallShape") -> float:
        """Return how far two shapes are apart, in factors of two; infinite if one tells nothing about the other."""
        mine, its = ((each.phase, each.dtype, each.device, each.input_size) for each in (self, other))
        sizes = ((self.batch_size, other.batch_size), (self.seq_len, other.seq_len), (self.threads, other.threads))
        if mine != its or not all(mine and theirs for mine, theirs in sizes):
            return math.inf
        return sum(abs(math.log2(mine / theirs)) for mine, theirs in sizes)


SHAPE = tuple(field.name for field in fields(CallShape))
# What a row of the table of ways says beside the shape and the way, and what it says where nothing was measured.
UNMEASURED: dict[str, Any] = {
    "seconds": math.nan,  # per call
    "ratio": math.nan,  # to the time of the module as given, with a 95% interval
    "ratio_low": math.nan,
    "ratio_high": math.nan,
    "rounds": 0,
    "is_chosen": True,
    "is_sure": True,  # if it is chosen: whether no other way is faster by more than 1%
    "reason": "",  # why it is not used, if it could not be; what to know of it, if it is chosen
}


def ways_table(rows: pd.DataFrame | Iterable[Mapping[str, Any]] | str | Path) -> pd.DataFrame:
    """Return the table of ways, a row for each shape and way, from rows, a frame, or a CSV file.

    Raises ValueError if a row lacks its shape or its way, or if a way is not known.
    """
    given: Any = pd.read_csv(rows, dtype={"reason": str}) if isinstance(rows, str | Path) else rows
    records = given.to_dict("records") if isinstance(given, pd.DataFrame) else list(given)
    needed, known = [*SHAPE, "way"], get_args(WayName)
    if any(record.get("way") not in known or not record.keys() >= set(SHAPE) for record in records):
        raise ValueError(f"ways: a row needs {', '.join(needed)}; a way is one of {', '.join(known)}")
    return pd.DataFrame([{**UNMEASURED, **record} for record in records], columns=[*needed, *UNMEASURED]).fillna(
        {"reason": ""}
    )


class RunInWays(nn.Module):
    """Runs the given module's weights as `module(input, state=None) -> (outputs, state)`.

    It has the class and, as one and the same dictionary, the attributes of the given module: parameters, buffers, mode,
    hooks and all else of one are those of the other. What it knows beside stands in slots. Nothing is kept from call to
    call: weights that are packed for a library are packed in each call.

    A shape that was not measured runs in the way of the nearest one that was; compiled code is compiled at the first
    call. A call with gradients where only calls without were measured (or the reverse), in another dtype or on another
    device, of a module with hooks, of a layer whose weights are pruned or parametrized, or within a transform of
    torch.func or forward-mode differentiation runs as given. So does a packed or an unbatched sequence of a layer.
    """

    __slots__ = ("_chosen", "_given", "_kind", "_known", "_run", "frame")
    _chosen: dict[CallShape, WayName]
    _given: Any
    _kind: type
    _known: dict[CallShape, WayName]  # the way of each kind of call so far
    _run: RunModule
    frame: pd.DataFrame

    def __new__(cls, run: RunModule, frame: pd.DataFrame) -> Self:
        """Make an object whose attributes are the given module's own."""
        given = run.given
        # TorchScript makes classes in a way of its own.
        may_inherit = not isinstance(given, torch.jit.ScriptModule)
        self: Self = object.__new__(type(cls.__name__, (cls, type(given)), {}) if may_inherit else cls)
        object.__setattr__(self, "__dict__", vars(given))
        object.__setattr__(self, "_kind", cls)
        return self

    def __init__(self, run: RunModule, frame: pd.DataFrame) -> None:
        """Run a module in the ways that a table chooses, which has a row for each shape and way."""
        rows = frame[frame["is_chosen"].astype(bool)]  # of no rows, the column has no type
        shapes = [CallShape(*shape) for shape in rows[[*SHAPE]].itertuples(index=False)]
        chosen = dict(zip(shapes, rows["way"], strict=True))
        own = {"_given": run.given, "_known": {}, "_run": run, "_chosen": chosen, "frame": frame}
        for name, value in own.items():
            object.__setattr__(self, name, value)  # the given module is none of its own submodules

    def __reduce__(self) -> tuple[Any, ...]:
        return self._kind, (self._run, self.frame)

    def way_for(self, shape: CallShape) -> WayName:
        """Return the way in which a call of this shape runs."""
        nearest = min(self._chosen, key=shape.distance, default=None)
        return AS_GIVEN if nearest is None or math.isinf(shape.distance(nearest)) else self._chosen[nearest]

    def __call__(self, input: Any, state: State = None, *, hx: State = None, **more: Any) -> Any:
        """As torch.nn's layers: (seq, batch, features), or (batch, seq, features) with `batch_first`.

        `hx` is another name of `state`, that of torch.nn's layers. With `more` arguments, such as a mask, a module that
        runs whole sequences runs as given. Returns (outputs, state); outputs alone if the given
        module runs whole sequences and returns them alone.
        Raises ValueError if the state does not have the shapes that the module needs, if it is missing although the
        module does not begin with zeros and does not give its first state, and if a cell does not get a batch of
        sequences.
        """
        state = hx if state is None else state
        run, given, is_packed = self._run, self._given, isinstance(input, PackedSequence)
        if run.kind == "cell":
            if more:
                raise TypeError(f"{next(iter(more))}: a cell takes only an input and a state")
            if is_packed or input.dim() != BATCHED:
                found = type(input).__name__ if is_packed else tuple(input.shape)
                raise ValueError(f"input: expected (seq, batch, features), found {found}")
        elif more or is_packed or input.dim() < (BATCHED if run.kind == "layer" else 2):
            return given(input, *(() if state is None else (state,)), **more)
        turns = run.is_batch_first
        by_step = input.transpose(0, 1) if turns else input
        name = self._way(by_step, state)
        makes_state = state is None and run.kind == "sequence" and run.like  # though the search was given one
        if run.kind != "cell" and (name == AS_GIVEN or makes_state):
            return call(given, input, state)
        outputs, final = way(run.kind, name, turns)(run.module, by_step, run.first_state(by_step, state))
        outputs = outputs.transpose(0, 1) if turns and outputs.dim() > 1 else outputs
        return outputs if final is ALONE else (outputs, final)

    forward = __call__

    def _way(self, input: Tensor, state: State) -> WayName:
        """Return the way of a call; as given where the other ways would not do all that the module does."""
        given, kind = self._given, self._run.kind
        # A transform of torch.func, such as vmap, or forward-mode differentiation is at work.
        is_transformed = forward_ad._current_level >= 0 or torch._C._functorch.peek_interpreter_stack() is not None
        if is_transformed or why_only_as_given(given, kind):
            return AS_GIVEN
        tensors = (input, *(() if state is None else leaves(state)))
        trains = torch.is_grad_enabled() and any(each.requires_grad for each in (*tensors, *given.parameters()))
        shape = CallShape.of(input, "training" if trains else "inference")
        if shape not in self._known:
            self._known[shape] = self.way_for(shape)
        return self._known[shape]
