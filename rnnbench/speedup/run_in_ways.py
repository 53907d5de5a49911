"""The modules that run in ways: what `rnnbench.fastest` hands back, and a cell as a layer (`rnnbench.unroll`)."""

import warnings
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.utils.rnn import PackedSequence

from rnnbench.adapt.kinds import RunModule, run_module, why_no_cell, why_only_as_given
from rnnbench.cells.states import BATCHED, State, copied, leaves
from rnnbench.harness.live.live_cases import calls_on_trial
from rnnbench.speedup.shapes import SHAPE, CallShape, MeasuredShapes, WayOfCall
from rnnbench.speedup.ways import (
    ALONE,
    AS_GIVEN,
    COMPILED,
    FUSED,
    INFERENCE_STEPS,
    PEERS,
    TRAINING_STEPS,
    WayName,
    by_step,
    call,
    run_in_way,
    way,
    way_of_call,
)
from rnnbench.workloads import compiled

STEP_BY_STEP = way("cell", AS_GIVEN)


class Unrolled(nn.Module):
    """`layer(input, state=None) -> (outputs, state)`, by one call of a cell for each step.

    The cell is the submodule `cell`; how it is called, and the size of its state, is found out in the first call.
    """

    def __init__(self, cell: nn.Module, *, batch_first: bool = False) -> None:
        """`batch_first`: whether the input is (batch, seq, features) instead of (seq, batch, features)."""
        super().__init__()
        self.cell = cell
        self.batch_first = batch_first
        # Not as submodules, which would hold the cell a second time: a cell, and how it is run
        self.__dict__["_found"] = None, None

    def forward(self, input: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Run the cell over a sequence; `state`: `h` or a tuple of tensors, each (1, batch, hidden).

        Without a state, the sequence begins with the first state that the cell's own function gives, with a step
        without a state, or with zeros. Raises ValueError for an input that is not a batch of sequences, a state of
        other shapes, a module that is no cell, and, without a state, for a cell that goes on from its last call.
        """
        if input.dim() < BATCHED:
            raise ValueError(f"input: expected (seq, batch, features), found {tuple(input.shape)}")
        steps = input.transpose(0, 1) if self.batch_first else input
        cell, run = self.__dict__["_found"]
        if cell is not self.cell:
            run = self._find(steps, state)
        outputs, final = run.run_steps(STEP_BY_STEP, steps, state)
        return outputs.transpose(0, 1) if self.batch_first else outputs, final

    def _find(self, input: Tensor, state: State) -> RunModule:
        """Find out how the cell is called, and keep it; within torch.compile too, where no graph can be made of it."""
        if torch.compiler.is_compiling():
            from rnnbench.speedup.no_graph import called

            run: RunModule = called(self._try, input, state)
            return run
        return self._try(input, state)

    def _try(self, input: Tensor, state: State) -> RunModule:
        otherwise = (
            f"{type(self.cell).__name__} runs whole sequences already, or rnnbench does not know how to call it; "
            "expected one step, cell(input, state) -> state, without a state that the cell keeps itself"
        )
        with calls_on_trial():
            trial = input.detach().clone()
            run = run_module(self.cell, trial, copied(state))
            if run.kind != "cell":
                raise ValueError(f"cell: {why_no_cell(self.cell, trial, otherwise)}")
        self.__dict__["_found"] = self.cell, run
        return run


def _call_given(self: "RunInWays", input: Any, state: State = None, *, hx: State = None, **more: Any) -> Any:
    """Call the given module: what `RunInWays` does where it has nothing else to do, in a fifth of a microsecond."""
    if state is None and hx is None and not more:
        return self._given(input)
    state = hx if state is None else state
    return self._given(input, *(() if state is None else (state,)), **more)


def as_given_shapes(run: RunModule, chosen: Mapping[CallShape, WayName]) -> frozenset[tuple[int, ...]] | None:
    """Return the shapes of inputs, in its layout, at which a module is called as it is in each call; None for all.

    There are none for a cell, which another function calls for each step.
    """
    if run.kind == "cell":
        return frozenset()
    if all(name == AS_GIVEN for name in chosen.values()):
        return None
    if len({shape.threads for shape in chosen}) > 1:  # the nearest shape may be one of more threads
        return frozenset()
    kinds = {(shape.dtype, shape.device, shape.phase) for shape in chosen}
    by_sizes: dict[tuple[int, int, int], dict[tuple[str, str, str], WayName]] = {}
    for shape, name in chosen.items():
        sizes = (shape.batch_size, shape.seq_len) if run.is_batch_first else (shape.seq_len, shape.batch_size)
        by_sizes.setdefault((*sizes, shape.input_size), {})[shape.dtype, shape.device, shape.phase] = name
    # In a kind of call that was not measured at these sizes, the nearest shape that was may run in another way.
    found = [sizes for sizes, names in by_sizes.items() if names == dict.fromkeys(kinds, AS_GIVEN)]
    return frozenset([*found, *(sizes[:2] for sizes in found if sizes[2] == 1)])  # whole numbers have no features


def _measured(run: RunModule, frame: pd.DataFrame, chosen: Mapping[CallShape, WayName]) -> MeasuredShapes:
    """Return what a table says of the shapes in it."""
    timed = frame[~frame["way"].isin((*COMPILED, *PEERS)) & frame["seconds"].notna()]
    fastest: dict[CallShape, str] = dict.fromkeys(chosen, AS_GIVEN)
    for row in timed.sort_values("seconds", ascending=False).itertuples():
        fastest[CallShape(*(getattr(row, name) for name in SHAPE))] = str(row.way)
    of_any_batch = frame[frame["is_chosen"].astype(bool) & frame["any_batch"].astype(bool)]
    any_batch = {CallShape(*shape) for shape in of_any_batch[[*SHAPE]].itertuples(index=False)}
    first = 1 if run.begins_with == "step" else 0  # step, which is no part of a piece
    is_whole = run.kind == "sequence"

    def pieces(shape: CallShape) -> list[int]:
        if is_whole:
            return [shape.seq_len]
        most = {"inference": INFERENCE_STEPS, "training": TRAINING_STEPS}[shape.phase]
        return compiled.pieces_of(shape.seq_len - first, most)

    return MeasuredShapes(chosen, fastest, COMPILED, any_batch, pieces, AS_GIVEN, is_whole)


class RunInWays(nn.Module):
    """Runs the given module's weights as `module(input, state=None) -> (outputs, state)`.

    It has the class and, as one and the same dictionary, the attributes of the given module: parameters, buffers, mode,
    hooks and all else of one are those of the other. What it knows beside stands in slots. Nothing is kept from call to
    call: weights that are packed for a library are packed in each call.

    A measured shape is compiled at its first call, unless the search has done so in this process. A shape that was not
    measured is never compiled: see `rnnbench.speedup.shapes`. A call with gradients where only calls without were
    measured (or the reverse), in another dtype or on another device, of a module with hooks, of a layer whose weights
    are pruned or parametrized, or within a transform of torch.func or forward-mode differentiation runs as given. So
    does a packed or an unbatched sequence of a layer.
    """

    __slots__ = ("_as_given", "_given", "_has_warned", "_kind", "_run", "frame", "how")
    _as_given: (
        frozenset[tuple[int, ...]] | None
    )  # shapes of inputs that the given module runs itself; None: it runs all
    _given: nn.Module
    _has_warned: bool  # of a shape that has no compiled code
    _kind: type
    _run: RunModule
    frame: pd.DataFrame
    how: Callable[[CallShape], WayOfCall]  # a call of this shape runs

    def __init__(self, run: RunModule, frame: pd.DataFrame) -> None:
        """Run a module in the ways that a table chooses, which has a row for each shape and way."""
        rows = frame[frame["is_chosen"].astype(bool)]  # of no rows, the column has no type
        shapes = [CallShape(*shape) for shape in rows[[*SHAPE]].itertuples(index=False)]
        chosen = dict(zip(shapes, rows["way"], strict=True))
        kind = type(self)
        kept: dict[str, Any] = {
            "__dict__": vars(run.given),
            "_given": run.given,
            "_kind": kind,
            "_run": run,
            "_has_warned": False,
        }
        kept |= {"_as_given": as_given_shapes(run, chosen), "frame": frame}
        kept["how"] = cache(_measured(run, frame, chosen).way_of)
        if not isinstance(run.given, torch.jit.ScriptModule):  # whose classes are made in a way of their own
            methods = {"__call__": _call_given, "forward": _call_given} if kept["_as_given"] is None else {}
            kept["__class__"] = type(kind.__name__, (kind, type(run.given)), methods)
        for name, value in kept.items():
            object.__setattr__(self, name, value)  # the given module is none of its own submodules

    def way_for(self, shape: CallShape) -> WayName:
        """Return the way in which a call of this shape runs."""
        name: Any = self.how(shape).name
        return name  # type: ignore[no-any-return]

    def __reduce__(self) -> tuple[Any, ...]:
        return self._kind, (self._run, self.frame)

    def __call__(self, input: Any, state: State = None, *, hx: State = None, **more: Any) -> Any:
        """As torch.nn's layers: (seq, batch, features), or (batch, seq, features) with `batch_first`.

        `hx` is another name of `state`, that of torch.nn's layers. With `more` arguments, such as a mask, a module that
        runs whole sequences runs as given. Returns (outputs, state); outputs alone if the given
        module runs whole sequences and returns them alone.
        Raises ValueError if the state does not have the shapes that the module needs, if it is missing although the
        module keeps its own from call to call, and if a cell does not get a batch of sequences.
        """
        # Before all else: to look closer takes as long as a short call.
        shapes = self._as_given
        if shapes is None or getattr(input, "shape", None) in shapes:
            alone = state is None and hx is None and not more
            return self._given(input) if alone else _call_given(self, input, state, hx=hx, **more)
        state = hx if state is None else state
        run = self._run
        given = self._given
        is_packed = isinstance(input, PackedSequence)
        if run.kind == "cell":
            if more:
                raise TypeError(f"{next(iter(more))}: a cell takes only an input and a state")
            if is_packed or input.dim() != BATCHED:
                raise ValueError(
                    "input: expected (seq, batch, features), found "
                    f"{type(input).__name__ if is_packed else tuple(input.shape)}"
                )
        elif more or is_packed or input.dim() < (BATCHED if run.kind == "layer" else 2):
            return given(input, *(() if state is None else (state,)), **more)
        steps = by_step(run, input)
        plan = self._way(steps, state)
        if plan.reason and not self._has_warned:
            object.__setattr__(self, "_has_warned", True)
            warnings.warn(
                f"{type(given).__name__} runs without compiled code: {plan.reason} (said once)",
                stacklevel=2,
            )
        name: Any = plan.name
        makes_state = state is None and run.kind == "sequence" and run.like  # though the search was given one
        if run.kind != "cell" and (name == AS_GIVEN or makes_state):
            return call(given, input, state)
        by = way_of_call(run, plan)
        if run.kind == "cell":
            outputs, final = run.run_steps(by, steps, state)
            return by_step(run, outputs), final
        begun = state if state is None and name == FUSED else run.first_state(steps, state)
        outputs, final = run_in_way(run, name, input, begun, by)
        return outputs if final is ALONE else (outputs, final)

    forward = __call__

    def _way(self, input: Tensor, state: State) -> WayOfCall:
        """Return how a call runs; as given where the other ways would not do all that the module does."""
        given = self._given
        # A transform of torch.func, such as vmap, or forward-mode differentiation is at work.
        is_transformed = forward_ad._current_level >= 0 or torch._C._functorch.peek_interpreter_stack() is not None
        if is_transformed or why_only_as_given(given, self._run.kind):
            return WayOfCall(AS_GIVEN)
        tensors = (input, *(() if state is None else leaves(state)))
        trains = torch.is_grad_enabled() and any(each.requires_grad for each in (*tensors, *given.parameters()))
        return self.how(CallShape.of(input, "training" if trains else "inference"))
