"""The modules that run in ways: what `rnnbench.fastest` hands back, and a cell as a layer (`rnnbench.unroll`)."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.utils.rnn import PackedSequence

from rnnbench.adapt.kinds import RunModule, run_module, why_no_cell, why_only_as_given
from rnnbench.cells.states import BATCHED, State, copied, leaves
from rnnbench.harness.live.live_cases import calls_on_trial
from rnnbench.speedup.ways import (
    ALONE,
    AS_GIVEN,
    COMPILED,
    FUSED,
    SHAPE,
    CallShape,
    WayName,
    by_step,
    call,
    run_in_way,
    way,
)
from rnnbench.text import plural

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
        other shapes, a module that is no cell, and, without a state, for a cell that goes on from its last call; raises
        RuntimeError if the first call is made by torch.export.
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
        if torch.compiler.is_exporting():
            raise RuntimeError("call this layer once before you export it: the first call finds out how the cell works")
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
    names: dict[tuple[int, int, int], set[WayName]] = {}
    for shape, name in chosen.items():
        sizes = (shape.batch_size, shape.seq_len) if run.is_batch_first else (shape.seq_len, shape.batch_size)
        names.setdefault((*sizes, shape.input_size), set()).add(name)
    found = [sizes for sizes, of_sizes in names.items() if of_sizes == {AS_GIVEN}]
    return frozenset([*found, *(sizes[:2] for sizes in found if sizes[2] == 1)])  # whole numbers have no features


class RunInWays(nn.Module):
    """Runs the given module's weights as `module(input, state=None) -> (outputs, state)`.

    It has the class and, as one and the same dictionary, the attributes of the given module: parameters, buffers, mode,
    hooks and all else of one are those of the other. What it knows beside stands in slots. Nothing is kept from call to
    call: weights that are packed for a library are packed in each call.

    A measured shape is compiled at its first call, unless the search has done so in this process. A shape that was not
    measured runs as given, and the first call of one warns. On another number of threads the same way runs, unless it
    is compiled. A call with gradients where only calls without were measured (or the reverse), in another dtype or on
    another device, of a module with hooks, of a layer whose weights are pruned or parametrized, within a transform of
    torch.func or forward-mode differentiation, or in torch.jit.trace runs as given. So does a packed or an unbatched
    sequence of a layer.
    """

    __slots__ = ("_as_given", "_given", "_has_warned", "_kind", "_on_any_threads", "_run", "_ways", "frame")
    _as_given: (
        frozenset[tuple[int, ...]] | None
    )  # shapes of inputs that the given module runs itself; None: it runs all
    _given: nn.Module
    _has_warned: bool  # of a shape that was not measured
    _kind: type
    _on_any_threads: dict[CallShape, WayName]  # ways that are not compiled, of shapes with 0 in place of the threads
    _run: RunModule
    _ways: dict[CallShape, WayName]  # of the measured shapes
    frame: pd.DataFrame

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
        kept |= {"_as_given": as_given_shapes(run, chosen), "frame": frame, "_ways": chosen}
        kept["_on_any_threads"] = {
            replace(shape, threads=0): name for shape, name in chosen.items() if name not in COMPILED
        }
        if not isinstance(run.given, torch.jit.ScriptModule):  # whose classes are made in a way of their own
            methods = {"__call__": _call_given, "forward": _call_given} if kept["_as_given"] is None else {}
            kept["__class__"] = type(kind.__name__, (kind, type(run.given)), methods)
        for name, value in kept.items():
            object.__setattr__(self, name, value)  # the given module is none of its own submodules

    def way_for(self, shape: CallShape) -> WayName:
        """Return the way in which a call of this shape runs."""
        name = self._ways.get(shape)
        return self._on_any_threads.get(replace(shape, threads=0), AS_GIVEN) if name is None else name

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
        name = self._way(steps, state)
        makes_state = state is None and run.kind == "sequence" and run.like  # though the search was given one
        if run.kind != "cell" and (name == AS_GIVEN or makes_state):
            return call(given, input, state)
        if run.kind == "cell":
            outputs, final = run.run_steps(way(run.kind, name), steps, state)
            return by_step(run, outputs), final
        begun = state if state is None and name == FUSED else run.first_state(steps, state)
        outputs, final = run_in_way(run, name, input, begun)
        return outputs if final is ALONE else (outputs, final)

    forward = __call__

    def _way(self, input: Tensor, state: State) -> WayName:
        """Return the way of a call; as given where the other ways would not do all that the module does."""
        given = self._given
        # A transform of torch.func, such as vmap, or forward-mode differentiation is at work.
        is_transformed = forward_ad._current_level >= 0 or torch._C._functorch.peek_interpreter_stack() is not None
        if is_transformed or torch._C._get_tracing_state() is not None or why_only_as_given(given, self._run.kind):
            return AS_GIVEN
        tensors = (input, *(() if state is None else leaves(state)))
        trains = torch.is_grad_enabled() and any(each.requires_grad for each in (*tensors, *given.parameters()))
        shape = CallShape.from_input(input, "training" if trains else "inference")
        name = self.way_for(shape)
        if name == AS_GIVEN and not self._has_warned:
            self._warn_of_other_sizes(shape)
        return name

    def _warn_of_other_sizes(self, shape: CallShape) -> None:
        """Warn that a call runs as given although the same call of other sizes, or on other threads, does not."""
        if shape in self._ways or replace(shape, threads=0) in self._on_any_threads:
            return
        for measured, name in self._ways.items():
            sizes = {"seq_len": shape.seq_len, "batch_size": shape.batch_size, "threads": shape.threads}
            if name != AS_GIVEN and replace(measured, **sizes) == shape:  # type: ignore[arg-type]
                object.__setattr__(self, "_has_warned", True)
                warnings.warn(
                    f"{type(self._given).__name__} runs as given at batch {shape.batch_size}, length {shape.seq_len} "
                    f"on {plural(shape.threads, 'thread')}, which was not searched; give rnnbench.fastest such shapes "
                    "and threads (said once)",
                    stacklevel=4,
                )
                return

    def __delattr__(self, name: str) -> None:
        """Refuse to remove a weight, as a parametrization does first: the given module would not see what follows."""
        if name in self._parameters or name in self._buffers:
            raise TypeError(
                f"{name}: no weight of a module that rnnbench.fastest returned can be removed or parametrized; "
                f"do that to the {type(self._given).__name__} before the search"
            )
        super().__delattr__(name)
