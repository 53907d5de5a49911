"""The ways to run a user's recurrent module over a sequence.

A way is called as torch.nn's layers are, with the module in front: `way(module, input, state) -> (outputs, state)`,
with `input` (seq, batch, features) and states (layers, batch, hidden), `h` or `(h, c)`. Ways have no weights and no
state of their own: they read the module's parameters in each call.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from rnnbench.adapt.calls import can_hoist
from rnnbench.adapt.kinds import CELLS, Kind, RunModule, run_module, why_no_cell
from rnnbench.adapt.states import copied
from rnnbench.cells.states import BATCHED, State, to_cell, to_layer
from rnnbench.harness.live.put_back import calls_on_trial
from rnnbench.speedup.equal_layer import EqualLayer, equal_layer, is_alike, traits_of
from rnnbench.workloads import compiled
from rnnbench.workloads.implementations import Run, SequenceOptions, eager, hoisted, loop, step_by_step
from rnnbench.workloads.model import Cells

Way = Callable[[Any, Tensor, State], tuple[Tensor, State]]
WayName = Literal["as given", "hoisted", "torch.nn", "compiled", "prepacked", "reduce-overhead", "max-autotune"]

AS_GIVEN: WayName = "as given"
MODES: tuple[WayName, ...] = ("reduce-overhead", "max-autotune")  # of torch.compile, for a GPU
COMPILED: tuple[WayName, ...] = ("compiled", "prepacked", *MODES)
ALONE = object()  # in place of a final state: the module gives no tuple of outputs and a state
# Steps that torch.compile gets in one piece. Longer pieces in training take a minute or more to compile, and save a few
# percent of the time.
INFERENCE_STEPS, TRAINING_STEPS = 64, 16


def names(run: RunModule, input: Tensor, state: State) -> list[WayName]:
    """Return the ways in which a module may be run; `AS_GIVEN` is the first.

    `input` and `state`: of a call, as ways take them.
    """
    layer: Any = run.module
    if run.kind == "layer" and (getattr(layer, "proj_size", None) or getattr(layer, "nonlinearity", "tanh") != "tanh"):
        return [AS_GIVEN]  # there is no hand-written cell of this kind
    eager: list[WayName] = ["hoisted"] if run.kind == "layer" or (run.kind == "cell" and can_hoist(layer)) else []
    if run.kind == "cell" and equal_layer(layer, input, state) is not None:
        eager.append("torch.nn")
    return [AS_GIVEN, *eager, "compiled", *(MODES if input.is_cuda else ("prepacked",))]


@cache
def way(kind: Kind, name: WayName, is_batch_first: bool = False) -> Way:
    """Return the way of this name; compiled code is shared by all modules of a process."""
    match name:
        case "torch.nn" if kind == "cell":
            return _by_equal_layer()
        case "as given" | "torch.nn":
            return _cell_by(loop) if kind == "cell" else _sequence_by(call, is_batch_first=is_batch_first)
        case "hoisted":
            run: Run = hoisted
        case _ if kind == "sequence":
            return _sequence_by(_compiled(call, name), is_batch_first=is_batch_first)
        case _:
            run = _in_pieces(name)
    return _layer_by(run) if kind == "layer" else _cell_by(run)


def _in_pieces(name: Any) -> Run:
    run = _compiled(step_by_step if name == "prepacked" else eager, name)
    inference, training = (compiled.in_pieces(steps, run) for steps in (INFERENCE_STEPS, TRAINING_STEPS))

    def in_pieces(cell: nn.Module, input: Tensor, state: State, options: SequenceOptions) -> tuple[Tensor, State]:
        return (training if torch.is_grad_enabled() else inference)(cell, input, state, options)

    return in_pieces


def _compiled(function: Callable[..., Any], name: Any) -> Callable[..., Any]:
    """Return a function compiled in a way.

    The next call of a CUDA graph, as the modes make them, writes into the results of the last one: these are copied.
    """
    if name not in MODES:
        return compiled.compiled(function, name)
    run = torch.compile(function, dynamic=False, mode=name)
    return lambda *given: tree_map_only(Tensor, Tensor.clone, run(*given))


def call(module: nn.Module, input: Any, state: State) -> Any:
    """Call a module as it is."""
    return module(input) if state is None else module(input, state)


def _sequence_by(run: Callable[[nn.Module, Tensor, State], Any], *, is_batch_first: bool) -> Way:
    def of_sequence(module: nn.Module, input: Tensor, state: State) -> tuple[Tensor, State]:
        result: Any = run(module, input.transpose(0, 1) if is_batch_first else input, state)
        outputs, final = result if isinstance(result, tuple) and len(result) == 2 else (result, ALONE)
        is_turned = is_batch_first and isinstance(outputs, Tensor) and outputs.dim() > 1
        return outputs.transpose(0, 1) if is_turned else outputs, final

    return of_sequence


def _cell_by(run: Run) -> Way:
    def of_cell(module: nn.Module, input: Tensor, state: State) -> tuple[Tensor, State]:
        outputs, final = run(module, input, to_cell(state, stacked=False), SequenceOptions())
        return outputs, to_layer(final, stacked=False)

    return of_cell


def _by_equal_layer() -> Way:
    layers: WeakKeyDictionary[nn.Module, tuple[list[Any], EqualLayer | None]] = WeakKeyDictionary()
    as_given = _cell_by(loop)

    def of_cell(module: nn.Module, input: Tensor, state: State) -> tuple[Tensor, State]:
        traits, layer = layers.get(module, ((), None))
        if not is_alike(traits, found := traits_of(module)):
            layer = equal_layer(module, input, state)
            layers[module] = found, layer
        return as_given(module, input, state) if layer is None else layer(module, input, state)

    return of_cell


def _layer_by(run: Run) -> Way:
    """Run rnnbench's hand-written cells with the weights of a layer of torch.nn."""
    bodies: WeakKeyDictionary[nn.Module, Cells] = WeakKeyDictionary()

    def of_layer(module: Any, input: Tensor, state: State) -> tuple[Tensor, State]:
        body = bodies.get(module)
        if body is None:
            directions = 2 if module.bidirectional else 1
            sizes = [module.input_size, *[directions * module.hidden_size] * (module.num_layers - 1)]
            cells = [CELLS[type(module)](size, module.hidden_size) for size in sizes for _ in range(directions)]
            body = bodies[module] = Cells(cells, run, directions=directions)
        for index, cell in enumerate(body.cells):  # `load_state_dict` and `to` may have replaced the parameters
            number, is_reverse = divmod(index, body.directions)
            ending = f"_l{number}" + ("_reverse" if is_reverse else "")
            for name in cell._parameters:
                cell._parameters[name] = module._parameters.get(f"{name}{ending}")
        body.dropout, body.training = module.dropout, module.training
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

        Without a state, the sequence begins with zeros or with the first state that the cell's own function gives.
        Raises ValueError for an input that is not a batch of sequences, a state of other shapes, a module that is no
        cell, and a cell whose first state is not zero, not given and not known.
        """
        if input.dim() != BATCHED:
            raise ValueError(f"input: expected (seq, batch, features), found {tuple(input.shape)}")
        by_step = input.transpose(0, 1) if self.batch_first else input
        cell, run = self.__dict__["_found"]
        if cell is not self.cell:
            run = self._find(by_step, state)
        outputs, final = STEP_BY_STEP(run.module, by_step, run.first_state(by_step, state))
        return outputs.transpose(0, 1) if self.batch_first else outputs, final

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # no graph can be made of trials
    def _find(self, input: Tensor, state: State) -> RunModule:
        """Find out how the cell is called, and keep it."""
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
