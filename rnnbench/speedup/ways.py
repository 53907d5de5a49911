"""The ways to run a user's recurrent module over a sequence, and the module that runs each shape in its way.

A way is called as torch.nn's layers are, with the module in front: `way(module, input, state) -> (outputs, state)`,
with `input` (seq, batch, features) and states (layers, batch, hidden), `h` or `(h, c)`. Ways have no weights and no
state of their own: they read the module's parameters in each call.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, get_args
from weakref import WeakKeyDictionary

import pandas as pd
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_map_only

from rnnbench.adapt.calls import can_hoist
from rnnbench.adapt.kinds import CELL_OF, Kind, RunModule, run_module, why_no_cell, why_only_as_given
from rnnbench.cells.states import BATCHED, State, copied, leaves, to_cell, to_layer
from rnnbench.harness.live.live_cases import calls_on_trial
from rnnbench.speedup import fused
from rnnbench.speedup.batched_ways import call_by_step, in_batches
from rnnbench.speedup.equal_layer import EqualLayer, equal_layer, is_alike, traits_of
from rnnbench.speedup.one_form import in_one_form
from rnnbench.speedup.shapes import SHAPE, CallShape, MeasuredShapes, WayOfCall, codes_of, in_blocks
from rnnbench.workloads import compiled
from rnnbench.workloads.implementations import Run, SequenceOptions, eager, hoisted, loop, step_by_step
from rnnbench.workloads.model import Cells

Way = Callable[[Any, Tensor, State], tuple[Tensor, State]]
WayName = Literal[
    "as given", "hoisted", "torch.nn", "fused", "compiled", "prepacked", "reduce-overhead", "max-autotune"
]

AS_GIVEN: WayName = "as given"
FUSED: WayName = "fused"  # which needs no zeros for a first state
MODES: tuple[WayName, ...] = ("reduce-overhead", "max-autotune")  # of torch.compile, for a GPU
COMPILED: tuple[WayName, ...] = ("compiled", "prepacked", *MODES)
ALONE = object()  # in place of a final state: the module gives no tuple of outputs and a state
# Steps that torch.compile gets in one piece. Longer pieces in training take a minute or more to compile, and save a few
# percent of the time.
INFERENCE_STEPS = 64
TRAINING_STEPS = 16
# What a row of the table of ways says beside the shape and the way, and what it says where nothing was measured.
UNMEASURED: dict[str, Any] = {
    "seconds": math.nan,  # per call
    "ratio": math.nan,  # to the time of the module as given, with a 95% interval
    "ratio_low": math.nan,
    "ratio_high": math.nan,
    "state": "",  # of the core, for these numbers: `undisturbed`, `on a shared core`, or empty
    "replicates": 0,
    "compile_seconds": math.nan,  # of a way that is compiled, on a machine as busy as it was then
    "is_chosen": True,
    "is_sure": True,  # if it is chosen: whether all ways that work here were tried, and none is faster by 1%
    "reason": "",  # why it is not used, if it could not be; what to know of it, if it is chosen
}


def names(run: RunModule, input: Tensor, state: State) -> list[WayName]:
    """Return the ways in which a module may be run; `AS_GIVEN` is the first.

    `input` and `state`: of a call, as ways take them.
    """
    layer: Any = run.module
    if run.kind == "layer" and (getattr(layer, "proj_size", None) or getattr(layer, "nonlinearity", "tanh") != "tanh"):
        return [AS_GIVEN]  # there is no hand-written cell of this kind
    equal = equal_layer(layer, input, state) if run.kind == "cell" else None
    fusible = layer if run.kind == "layer" else equal
    may: dict[WayName, bool] = {
        "hoisted": run.kind == "layer" or (run.kind == "cell" and can_hoist(layer)),
        "torch.nn": equal is not None,
        "fused": fusible is not None and fused.can_fuse(fusible, input),
        "compiled": True,
        "prepacked": not input.is_cuda,
        **dict.fromkeys(MODES, input.is_cuda),
    }
    return [AS_GIVEN, *(name for name, is_possible in may.items() if is_possible)]


def run_in_way(
    run: RunModule, name: WayName, input: Tensor, state: State, by: Way | None = None
) -> tuple[Tensor, State]:
    """Run a module in a way over an input in the module's own layout, which the outputs have, too.

    `by`: the way's function, if it is another than that of `way`.
    """
    by = by or way(run.kind, name)
    if run.kind == "sequence" or (run.kind == "layer" and name == AS_GIVEN):
        result: Any = by(run.module, input, state)
        return result if isinstance(result, tuple) and len(result) == 2 else (result, ALONE)
    outputs, final = by(run.module, by_step(run, input), state)
    return by_step(run, outputs), final


def by_step(run: RunModule, batch: Tensor) -> Tensor:
    """Return a batch in a module's own layout as (seq, batch, ...), and back."""
    return batch.transpose(0, 1) if run.is_batch_first else batch


@cache
def way(kind: Kind, name: WayName, blocks: tuple[int, ...] = ()) -> Way:
    """Return the way of this name; compiled code is shared by all modules of a process.

    `blocks`: of steps for which a compiled way has code; then nothing is compiled, and other steps run without it.
    """
    match kind, name:
        case "cell", "torch.nn" | "fused":
            return _by_equal_layer(fused.run_cell if name == FUSED else EqualLayer.__call__)
        case "layer", "fused":
            return fused.run_layer
        case _, "as given" | "torch.nn":
            return _cell_by(loop) if kind == "cell" else call
        case "sequence", _:
            return _compiled(call, name)
        case _, "hoisted":
            run: Run = hoisted
        case _:
            run = _in_blocks(name, blocks) if blocks else _in_pieces(name)
    return _layer_by(run) if kind == "layer" else _cell_by(run)


def way_of_call(kind: Kind, plan: WayOfCall, dim: int) -> Way:
    """Return what runs a call; `dim`: of the batch in input and outputs of a module for whole sequences."""
    name: Any = plan.name
    by = way(kind, name, plan.blocks)
    if not plan.batch_size:
        return by
    name = plan.without
    without = call_by_step if kind == "layer" and name == AS_GIVEN else way(kind, name)
    return in_batches(by, without, plan.batch_size, dim)


@cache
def compiled_steps(name: Any) -> Run:
    """Return what a compiled way runs in one piece."""
    return _compiled(step_by_step if name == "prepacked" else eager, name)


def _in_blocks(name: Any, blocks: tuple[int, ...]) -> Run:
    run = compiled_steps(name)

    def without_compiling(*given: Any) -> tuple[Tensor, State]:
        with torch.compiler.set_stance("eager_on_recompile"):  # should code not fit nevertheless
            return run(*given)

    return compiled.in_blocks(partial(in_blocks, blocks=blocks), without_compiling, eager)


def _in_pieces(name: Any) -> Run:
    run = compiled_steps(name)
    inference = compiled.in_pieces(INFERENCE_STEPS, run)
    training = compiled.in_pieces(TRAINING_STEPS, run)

    def in_pieces(cell: nn.Module, input: Tensor, state: State, options: SequenceOptions) -> tuple[Tensor, State]:
        return (training if torch.is_grad_enabled() else inference)(cell, input, state, options)

    return in_pieces


def _compiled(function: Callable[..., Any], name: Any) -> Callable[..., Any]:
    """Return a function compiled in a way, `function(module, input, state, ...)`.

    The next call of a CUDA graph, as the modes make them, writes into the results of the last one: these are copied.
    """
    if name not in MODES:
        return in_one_form(compiled.compiled(function, name))
    run = in_one_form(torch.compile(function, dynamic=False, mode=name))
    return lambda *arguments: tree_map_only(Tensor, Tensor.clone, run(*arguments))


def call(module: nn.Module, input: Any, state: State) -> Any:
    """Call a module as it is."""
    return module(input) if state is None else module(input, state)


def _cell_by(run: Run) -> Way:
    def of_cell(module: nn.Module, input: Tensor, state: State) -> tuple[Tensor, State]:
        outputs, final = run(module, input, to_cell(state, stacked=False), SequenceOptions())
        return outputs, to_layer(final, stacked=False)

    return of_cell


def _by_equal_layer(run: Callable[[EqualLayer, nn.Module, Tensor, State], tuple[Tensor, State]]) -> Way:
    layers: WeakKeyDictionary[nn.Module, tuple[list[Any], EqualLayer | None]] = WeakKeyDictionary()
    as_given = _cell_by(loop)

    def of_cell(module: nn.Module, input: Tensor, state: State) -> tuple[Tensor, State]:
        traits, layer = layers.get(module, ((), None))
        if not is_alike(traits, found := traits_of(module)):
            layer = equal_layer(module, input, state)
            layers[module] = found, layer
        return as_given(module, input, state) if layer is None else run(layer, module, input, state)

    return of_cell


def _layer_by(run: Run) -> Way:
    """Run rnnbench's hand-written cells with the weights of a layer of torch.nn."""
    bodies: WeakKeyDictionary[nn.Module, Cells] = WeakKeyDictionary()

    def of_layer(module: Any, input: Tensor, state: State) -> tuple[Tensor, State]:
        body = bodies.get(module)
        if body is None:
            directions = 2 if module.bidirectional else 1
            sizes = [module.input_size, *[directions * module.hidden_size] * (module.num_layers - 1)]
            cells = [CELL_OF[type(module)](size, module.hidden_size) for size in sizes for _ in range(directions)]
            body = bodies[module] = Cells(cells, run, directions=directions)
        for index, cell in enumerate(body.cells):  # `load_state_dict` and `to` may have replaced the parameters
            number, is_reverse = divmod(index, body.directions)
            ending = f"_l{number}" + ("_reverse" if is_reverse else "")
            for name in cell._parameters:
                cell._parameters[name] = module._parameters.get(f"{name}{ending}")
        body.dropout = module.dropout
        body.training = module.training
        is_stacked = len(body.cells) > 1
        outputs, final = body(input, to_cell(state, stacked=is_stacked))
        return outputs, to_layer(final, stacked=is_stacked)

    return of_layer


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


def ways_table(rows: pd.DataFrame | Iterable[Mapping[str, Any]] | str | Path) -> pd.DataFrame:
    """Return the table of ways, a row for each shape and way, from rows, a frame, or a CSV file.

    Raises ValueError if a row lacks its shape or its way, or if a way is not known.
    """
    given = pd.read_csv(rows, dtype={"reason": str, "state": str}) if isinstance(rows, str | Path) else rows
    records: Any = given.to_dict("records") if isinstance(given, pd.DataFrame) else list(given)
    needed = [*SHAPE, "way"]
    known = get_args(WayName)
    if any(record.get("way") not in known or not record.keys() >= set(SHAPE) for record in records):
        raise ValueError(f"ways: a row needs {', '.join(needed)}; a way is one of {', '.join(known)}")
    table = pd.DataFrame([{**UNMEASURED, **record} for record in records], columns=[*needed, *UNMEASURED])
    return table.astype({"reason": object, "state": object}).fillna({"reason": "", "state": ""})


def _measured(run: RunModule, frame: pd.DataFrame, chosen: Mapping[CallShape, WayName]) -> MeasuredShapes:
    """Return what a table says of the shapes in it."""
    timed = frame[~frame["way"].isin(COMPILED) & frame["seconds"].notna()]
    fastest: dict[CallShape, str] = dict.fromkeys(chosen, AS_GIVEN)
    for row in timed.sort_values("seconds", ascending=False).itertuples():
        fastest[CallShape(*(getattr(row, name) for name in SHAPE))] = str(row.way)
    first = 1 if run.begins_with == "step" else 0  # step, which is no part of a piece

    def pieces(shape: CallShape) -> list[int]:
        if run.kind == "sequence":
            return []
        most = {"inference": INFERENCE_STEPS, "training": TRAINING_STEPS}[shape.phase]
        return compiled.pieces_of(shape.seq_len - first, most)

    return MeasuredShapes(chosen, fastest, COMPILED, codes_of(frame, COMPILED), pieces, AS_GIVEN)


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
                f"{type(given).__name__} runs without compiled code: {plan.reason}; give rnnbench.fastest such shapes "
                "(said once)",
                stacklevel=2,
            )
        name: Any = plan.name
        makes_state = state is None and run.kind == "sequence" and run.like  # though the search was given one
        if run.kind != "cell" and (name == AS_GIVEN or makes_state):
            return call(given, input, state)
        by = way_of_call(run.kind, plan, 0 if run.kind == "sequence" and run.is_batch_first else 1)
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
