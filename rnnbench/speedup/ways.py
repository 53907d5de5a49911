"""The ways to run a user's recurrent module over a sequence.

A way is called as torch.nn's layers are, with the module in front: `way(module, input, state) -> (outputs, state)`,
with `input` (seq, batch, features) and states (layers, batch, hidden), `h` or `(h, c)`. Ways have no weights and no
state of their own: they read the module's parameters in each call.

`WAYS` has a row for each, and all that tells ways apart asks it. To add one, write its function and its row, and name
it in `WayName` and where users read which ways are tried (a test says where).
"""

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from rnnbench.adapt.calls import can_hoist
from rnnbench.adapt.kinds import CELL_OF, Kind, RunModule
from rnnbench.cells.states import State, to_cell, to_layer
from rnnbench.speedup import fused
from rnnbench.speedup.equal_layer import EqualLayer, equal_layer, is_alike, traits_of
from rnnbench.store import implementations
from rnnbench.text import ending
from rnnbench.workloads import compiled
from rnnbench.workloads.implementations import RUNNERS, Run, SequenceOptions, loop
from rnnbench.workloads.model import Cells

Way = Callable[[Any, Tensor, State], tuple[Tensor, State]]
RunEqual = Callable[[EqualLayer, nn.Module, Tensor, State], tuple[Tensor, State]]  # (equal layer, cell, input, state)
WayName = Literal[
    "as given", "hoisted", "torch.nn", "fused", "compiled", "prepacked", "reduce-overhead", "max-autotune"
]

AS_GIVEN: WayName = "as given"
BY_LAYER: WayName = "torch.nn"
FUSED: WayName = "fused"  # which needs no zeros for a first state
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
    "error": math.nan,  # the largest of its results and gradients, relative to the largest value of the module as given
    "compile_seconds": math.nan,  # to compile it, on a machine as busy as it was then
    "is_chosen": True,
    "is_sure": True,  # if it is chosen: whether all ways that work here were tried, and none is faster by 1%
    "reason": "",  # why it can't be used; empty if it can
    "note": "",  # what to know of it, if it is chosen
}
TEXT_COLUMNS = ("state", "reason", "note")  # its columns of text


@dataclass(frozen=True)
class CallShape:
    """The shape of a call, on which the choice of a way depends."""

    seq_len: int
    batch_size: int
    input_size: int  # of all values of a step together; 1 for whole numbers
    dtype: str  # `float32`, or `float32, autocast to bfloat16`
    device: str
    threads: int
    phase: str  # `training` if gradients are computed, or `inference`

    @classmethod
    def from_input(cls, input: Tensor, phase: str) -> Self:
        """Return the shape of a call; `input`: (seq, batch, ...)."""
        steps, batch, *features = input.shape
        dtype = str(input.dtype).removeprefix("torch.")
        kind = input.device.type
        if torch.is_autocast_enabled(kind):
            dtype += f", autocast to {torch.get_autocast_dtype(kind)}".replace("torch.", "")
        return cls(steps, batch, math.prod(features), dtype, str(input.device), torch.get_num_threads(), phase)


SHAPE = tuple(field.name for field in fields(CallShape))


@dataclass(frozen=True)
class CallToRun:
    """What decides in which ways a call may run."""

    run: RunModule
    input: Tensor  # (seq, batch, features)
    equal: EqualLayer | None  # the layer of torch.nn that computes the same as a cell

    @property
    def is_open(self) -> bool:
        """Whether rnnbench can change how it runs: a layer without a hand-written cell only runs as given."""
        return self.run.kind != "layer" or has_cell(self.run.module)


@dataclass(frozen=True, kw_only=True)
class WayRow:
    """A way: when a module may run so, and what runs each kind of module."""

    name: WayName
    is_possible: Callable[[CallToRun], bool]
    steps: implementations.Implementation  # which runs the steps of a cell, and says whether they are compiled
    layer: Way | None = None  # runs a layer; None: `steps` runs rnnbench's cell with the layer's weights
    equal: RunEqual | None = None  # runs a cell by the layer that computes the same; None: `steps` runs the cell
    is_mode: bool = False  # of torch.compile, by this name, in place of rnnbench's options

    @property
    def is_compiled(self) -> bool:
        """Whether torch.compile makes its code; if not, a module for whole sequences runs as given."""
        return self.steps in implementations.COMPILED

    @property
    def has_own_library(self) -> bool:
        """Whether each product is made in the library that is fastest here."""
        return self.steps in implementations.WITH_OWN_LIBRARY

    @property
    def run(self) -> Any:
        """What runs the steps of a cell, before it is compiled: a `Run`; None if `layer` and `equal` run all."""
        return RUNNERS[self.steps].run


def has_cell(layer: Any) -> bool:
    """Return whether rnnbench has a hand-written cell for a layer of torch.nn."""
    return not getattr(layer, "proj_size", None) and getattr(layer, "nonlinearity", "tanh") == "tanh"


def always(trial: CallToRun) -> bool:
    """Return True."""
    return True


def may_hoist(trial: CallToRun) -> bool:
    """Return whether the products of the input can be made for all steps at once."""
    kind = trial.run.kind
    return trial.is_open and (kind == "layer" or (kind == "cell" and can_hoist(trial.run.module)))


def has_equal(trial: CallToRun) -> bool:
    """Return whether a layer of torch.nn computes the same as the cell."""
    return trial.equal is not None


def may_fuse(trial: CallToRun) -> bool:
    """Return whether rnnbench's C has the layer, or the one that computes the same as the cell."""
    layer: Any = trial.run.module if trial.run.kind == "layer" else trial.equal
    return trial.is_open and layer is not None and fused.can_fuse(layer, trial.input)


def may_compile(trial: CallToRun) -> bool:
    """Return whether there is something to compile."""
    return trial.is_open


def on_processor(trial: CallToRun) -> bool:
    """Return whether there is something to compile, for a processor."""
    return trial.is_open and not trial.input.is_cuda


def on_gpu(trial: CallToRun) -> bool:
    """Return whether there is something to compile, for a GPU."""
    return trial.is_open and trial.input.is_cuda


def call(module: nn.Module, input: Any, state: State) -> Any:
    """Call a module as it is."""
    return module(input) if state is None else module(input, state)


# The simplest first. The order has a meaning: of ways within 1% of each other, the first is chosen (`Fastest` of
# `rnnbench/harness/live/loop.py`), and the one as given unless another is shown to be no slower.
WAYS = (
    WayRow(name="as given", is_possible=always, steps="loop", layer=call),
    WayRow(name="hoisted", is_possible=may_hoist, steps="hoisted"),
    WayRow(name="torch.nn", is_possible=has_equal, steps="torch.nn", layer=call, equal=EqualLayer.__call__),
    WayRow(name="fused", is_possible=may_fuse, steps="torch.nn", layer=fused.run_layer, equal=fused.run_cell),
    WayRow(name="compiled", is_possible=may_compile, steps="compiled"),
    WayRow(name="prepacked", is_possible=on_processor, steps="prepacked"),
    WayRow(name="reduce-overhead", is_possible=on_gpu, steps="compiled", is_mode=True),
    WayRow(name="max-autotune", is_possible=on_gpu, steps="compiled", is_mode=True),
)
ROWS_BY_NAME: dict[str, WayRow] = {row.name: row for row in WAYS}
COMPILED: tuple[WayName, ...] = tuple(row.name for row in WAYS if row.is_compiled)


def row_of(name: str) -> WayRow:
    """Return the row of a way. Raises ValueError if there is none of this name."""
    if name not in ROWS_BY_NAME:
        raise ValueError(f"ways: a way is one of {', '.join(ROWS_BY_NAME)}; not {name!r}")
    return ROWS_BY_NAME[name]


def possible_ways(run: RunModule, input: Tensor, state: State) -> dict[WayName, str]:
    """Return the ways in which a module may be run, `AS_GIVEN` first; each with why it could not be tried, or nothing.

    `input` and `state`: of a call, as ways take them.
    """
    equal = None
    fault = ""
    if run.kind == "cell":
        try:
            equal = equal_layer(run.module, input, state)
        except Exception as error:  # whatever a stranger's code raises
            fault = f"a trial as a layer of torch.nn failed: {ending(error)}"
    trial = CallToRun(run, input, equal)
    possible = {row.name: "" for row in WAYS if row.is_possible(trial)}
    return possible | {BY_LAYER: fault} if fault else possible


def run_in_way(run: RunModule, name: WayName, input: Tensor, state: State) -> tuple[Tensor, State]:
    """Run a module in a way over an input in the module's own layout, which the outputs have, too."""
    by = way(run.kind, name)
    if run.kind == "sequence" or (run.kind == "layer" and name == AS_GIVEN):
        result: Any = by(run.module, input, state)
        return result if isinstance(result, tuple) and len(result) == 2 else (result, ALONE)
    outputs, final = by(run.module, by_step(run, input), state)
    return by_step(run, outputs), final


def by_step(run: RunModule, batch: Tensor) -> Tensor:
    """Return a batch in a module's own layout as (seq, batch, ...), and back."""
    return batch.transpose(0, 1) if run.is_batch_first else batch


@cache
def way(kind: Kind, name: str) -> Way:
    """Return the way of this name; compiled code is shared by all modules of a process."""
    row = row_of(name)
    if kind == "sequence":
        return _compiled(call, row) if row.is_compiled else call
    if kind == "cell":
        return _by_equal_layer(row.equal) if row.equal else cell_by(_run_of(row))
    return row.layer or layer_by(_run_of(row))


def _run_of(row: WayRow) -> Run:
    """Return what runs the steps of a cell."""
    run: Run = row.run
    return _in_pieces(_compiled(run, row)) if row.is_compiled else run


def _in_pieces(run: Run) -> Run:
    inference = compiled.in_pieces(INFERENCE_STEPS, run)
    training = compiled.in_pieces(TRAINING_STEPS, run)

    def in_pieces(cell: nn.Module, input: Tensor, state: State, options: SequenceOptions) -> tuple[Tensor, State]:
        return (training if torch.is_grad_enabled() else inference)(cell, input, state, options)

    return in_pieces


def _compiled(function: Callable[..., Any], row: WayRow) -> Callable[..., Any]:
    """Return a function compiled in a way, `function(module, input, state, ...)`."""
    return _in_one_form(compiled.compiled(function, row.steps, row.name if row.is_mode else ""))


def _in_one_form(run: Callable[..., Any]) -> Callable[..., Any]:
    """Return compiled code that gets contiguous tensors, and is run under `no_grad` unless gradients are needed.

    Inference mode, `no_grad` and calls of which nothing needs a gradient are three modes to torch's compiler, which
    would compile a measured shape again in a call.
    """

    def run_in_one_form(module: nn.Module, input: Tensor, state: Any, *options: Any) -> Any:
        if _needs_gradients(module, input, state):
            return run(module, input.contiguous(), tree_map_only(Tensor, Tensor.contiguous, state), *options)
        with torch.inference_mode(mode=False), torch.no_grad():
            return run(module, _usual(input), tree_map_only(Tensor, _usual, state), *options)

    return run_in_one_form


def _needs_gradients(module: nn.Module, input: Tensor, state: Any) -> bool:
    if not torch.is_grad_enabled():
        return False
    parts: list[Tensor] = []
    tree_map_only(Tensor, parts.append, state)
    return any(tensor.requires_grad for tensor in (input, *parts, *module.parameters()))


def _usual(tensor: Tensor) -> Tensor:
    """Return a contiguous tensor that was not made in inference mode."""
    return tensor.clone(memory_format=torch.contiguous_format) if tensor.is_inference() else tensor.contiguous()


def cell_by(run: Run) -> Way:
    """Run a cell by a function that takes it over a sequence."""

    def of_cell(module: nn.Module, input: Tensor, state: State) -> tuple[Tensor, State]:
        outputs, final = run(module, input, to_cell(state, stacked=False), SequenceOptions())
        return outputs, to_layer(final, stacked=False)

    return of_cell


def _by_equal_layer(run: RunEqual) -> Way:
    layers: WeakKeyDictionary[nn.Module, tuple[list[Any], EqualLayer | None]] = WeakKeyDictionary()
    as_given = cell_by(loop)

    def of_cell(module: nn.Module, input: Tensor, state: State) -> tuple[Tensor, State]:
        traits, layer = layers.get(module, ((), None))
        if not is_alike(traits, traits_now := traits_of(module)):
            layer = None
            with suppress(Exception):  # a changed cell that fails in a trial runs as given
                layer = equal_layer(module, input, state)
            layers[module] = traits_now, layer
        return as_given(module, input, state) if layer is None else run(layer, module, input, state)

    return of_cell


def layer_by(run: Run) -> Way:
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
            suffix = f"_l{number}" + ("_reverse" if is_reverse else "")
            for name in cell._parameters:
                cell._parameters[name] = module._parameters.get(f"{name}{suffix}")
        body.dropout = module.dropout
        body.training = module.training
        is_stacked = len(body.cells) > 1
        outputs, final = body(input, to_cell(state, stacked=is_stacked))
        return outputs, to_layer(final, stacked=is_stacked)

    return of_layer


def ways_table(rows: pd.DataFrame | Iterable[Mapping[str, Any]] | str | Path) -> pd.DataFrame:
    """Return the table of ways, a row for each shape and way, from rows, a frame, or a CSV file.

    The column `break_even_calls` is made of the others: the calls after which a way has saved what it took to compile
    it; infinite if it saves nothing, NaN if nothing was compiled. Raises ValueError if a row lacks its shape or its
    way, or if a way is not known.
    """
    given = pd.read_csv(rows, dtype=dict.fromkeys(TEXT_COLUMNS, str)) if isinstance(rows, str | Path) else rows
    records: Any = given.to_dict("records") if isinstance(given, pd.DataFrame) else list(given)
    needed = [*SHAPE, "way"]
    is_other_file = isinstance(given, pd.DataFrame) and not {*needed} <= {*given.columns}  # which may have no row
    is_other_row = any(record.get("way") not in ROWS_BY_NAME or not record.keys() >= set(SHAPE) for record in records)
    if is_other_file or is_other_row:
        raise ValueError(f"ways: a row needs {', '.join(needed)}; a way is one of {', '.join(ROWS_BY_NAME)}")
    table = pd.DataFrame([{**UNMEASURED, **record} for record in records], columns=[*needed, *UNMEASURED])
    table = table.astype(dict.fromkeys(TEXT_COLUMNS, object)).fillna(dict.fromkeys(TEXT_COLUMNS, ""))
    cost = table["compile_seconds"].astype(float)
    saved = table["seconds"].astype(float) * (1 / table["ratio"].astype(float) - 1)  # in each call
    place = [*table.columns].index("compile_seconds") + 1
    table.insert(place, "break_even_calls", np.ceil(cost / saved.clip(lower=0.0)))
    return table
