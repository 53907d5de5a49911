"""The ways to run a user's recurrent module over a sequence.

A way is called as torch.nn's layers are, with the module in front: `way(module, input, state) -> (outputs, state)`,
with `input` (seq, batch, features) and states (layers, batch, hidden), `h` or `(h, c)`. Ways have no weights and no
state of their own: they read the module's parameters in each call.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from rnnbench.cells import CellError
from rnnbench.cells.foreign.calls import AdaptedCell, begins_with_zeros, found_call
from rnnbench.cells.gru import GRUCell
from rnnbench.cells.lstm import LSTMCell
from rnnbench.cells.states import State, leaves, to_cell, to_layer
from rnnbench.cells.vanilla import VanillaCell
from rnnbench.store.records import Implementation
from rnnbench.workloads import compiled
from rnnbench.workloads.bodies import Cells
from rnnbench.workloads.implementations import Run, SequenceOptions, can_hoist, hoisted, loop

Kind = Literal["layer", "cell", "sequence"]
Way = Callable[[Any, Tensor, State], tuple[Tensor, State]]
WayName = Literal["as given", "hoisted", "compiled", "prepacked"]

AS_GIVEN: WayName = "as given"
PROBED = 5  # sequences of a trial call: a number that is seldom one of layers and directions
# Steps that torch.compile gets in one piece. Longer pieces in training take a minute or more to compile, and save a few
# percent of the time.
INFERENCE_STEPS, TRAINING_STEPS = 64, 16
CELLS: dict[type[nn.Module], type[nn.Module]] = {nn.RNN: VanillaCell, nn.GRU: GRUCell, nn.LSTM: LSTMCell}


@dataclass(frozen=True)
class RunModule:
    """A module as the ways run it."""

    module: nn.Module  # as given; a cell of another form in the usual one, with the given cell in it
    kind: Kind
    # (layers, ...) of each tensor of a state as torch.nn's layers take it; empty if the module makes its own
    zero_state: tuple[tuple[int, ...], ...]


def run_module(module: nn.Module, input: Tensor, state: State) -> RunModule:
    """Find out whether a module is a layer of torch.nn, a cell (one step), or runs a whole sequence itself.

    `input`: (seq, batch, features); `state`: what the user gives with it, as torch.nn's layers take it, or None. A cell
    is called a few times to find out, on copies if its form is not the usual one. Raises ValueError if the state does
    not have the form of torch.nn's, or is not known.
    """
    if type(module) in CELLS:
        return RunModule(module, "layer", _zero_state(module, "layer", input, state))
    if isinstance(module, nn.RNNCellBase) or can_hoist(module):
        return RunModule(module, "cell", _zero_state(module, "cell", input, state))
    usual = state_sizes(module, input)
    if adapted := _adapted(module, input, state, usual):
        return adapted
    kind: Kind = "cell" if usual else "sequence"
    return RunModule(module, kind, _zero_state(module, kind, input, state))


def _adapted(module: nn.Module, input: Tensor, state: State, usual: tuple[int, ...]) -> RunModule | None:
    """A cell of another form in the usual one; None if it is usual or no cell. Raises ValueError as `run_module` does.

    `usual`: the size of each tensor of a state of the usual form, with which the module runs; empty if it does not.
    """
    x = input[0, :1].detach().expand(PROBED, -1)
    forms = [usual] if usual else [(size,) for size in _sizes(module)]
    states = [tuple(x.new_zeros(PROBED, size) for size in sizes) for sizes in forms]
    try:
        calls = (found_call(module, x, given[0] if len(given) == 1 else given) for given in states)
        call, first = next(filter(None, calls), (None, ()))
        if call is None or (state is not None and len(leaves(state)) != len(first)):
            return None
        if state is None and not begins_with_zeros(module, call, x, first):
            raise ValueError("module: its first state is not zero; give it with the input, as (input, state)")
    except CellError as error:
        raise ValueError(f"module: {error}") from error
    own = tuple((1, *part.shape[1:]) for part in first)
    return RunModule(AdaptedCell(module, call), "cell", own if state is None else _given_state(input, state))


def _sizes(module: nn.Module) -> list[int]:
    """Sizes that a state may have: the module's attribute `hidden_size` first, then all that its parameters have."""
    hidden = getattr(module, "hidden_size", None)
    sizes = [hidden] if isinstance(hidden, int) else []
    sizes += [size for parameter in module.parameters() for size in reversed(parameter.shape)]
    return list(dict.fromkeys(sizes))


def state_sizes(module: nn.Module, input: Tensor) -> tuple[int, ...]:
    """The size of each tensor of a cell's state, (batch, size); empty if the module does not behave as a cell.

    A cell is called for a few sequences with `h`, and with `(h, c)`, until it returns a state of the same form.
    """
    x = input[0, :1].expand(PROBED, -1)
    for size in _sizes(module):
        h = x.new_zeros(PROBED, size)
        for state in (h, (h, h)):
            with suppress(Exception), torch.no_grad():
                parts = leaves(module(x, state))
                if len(parts) == len(leaves(state)) and all(part.shape == h.shape for part in parts):
                    return (size,) * len(parts)
    return ()


def _given_state(input: Tensor, state: State) -> tuple[tuple[int, ...], ...]:
    """The sizes of the tensors of a state that the user gives."""
    parts = leaves(state)
    if any(part.dim() < 3 or part.shape[1] != input.shape[1] for part in parts):
        shapes = ", ".join(str(tuple(part.shape)) for part in parts)
        raise ValueError(f"state: expected (layers, {input.shape[1]}, hidden) for each tensor, found {shapes}")
    return tuple((part.shape[0], *part.shape[2:]) for part in parts)


def _zero_state(module: Any, kind: Kind, input: Tensor, state: State) -> tuple[tuple[int, ...], ...]:
    """(layers, ...) of each tensor of a state of a layer, of a usual cell or of a module for sequences."""
    if state is not None:
        return _given_state(input, state)
    if kind == "layer":
        layers = module.num_layers * (2 if module.bidirectional else 1)
        sizes = (module.proj_size or module.hidden_size, module.hidden_size)[: 2 if isinstance(module, nn.LSTM) else 1]
        return tuple((layers, size) for size in sizes)
    if kind == "cell":
        sizes = state_sizes(module, input)
        if not sizes:
            raise ValueError("module: its state is not known; give it with the input, as (input, state)")
        return tuple((1, size) for size in sizes)
    return ()


def names(module: nn.Module, kind: Kind) -> list[WayName]:
    """The ways in which a module of this kind may be run; `AS_GIVEN` is the first."""
    if kind == "layer" and why_no_cells(module):
        return [AS_GIVEN]
    eager: list[WayName] = ["hoisted"] if kind == "layer" or (kind == "cell" and can_hoist(module)) else []
    return [AS_GIVEN, *eager, "compiled", "prepacked"]


def why_no_cells(layer: Any) -> str:
    """Why a layer of torch.nn can't be run as hand-written cells; empty if it can."""
    if getattr(layer, "proj_size", 0):
        return "a layer with projections has no hand-written cell"
    if getattr(layer, "nonlinearity", "tanh") != "tanh":
        return f"a layer with {layer.nonlinearity} has no hand-written cell"
    return ""


@cache
def way(kind: Kind, name: WayName) -> Way:
    """The way of this name; compiled code is shared by all modules of a process."""
    if name == "as given":
        return _cell_by(loop) if kind == "cell" else _sequence_by(call)
    if name != "hoisted" and kind == "sequence":
        return _sequence_by(compiled.compiled(call, name))
    run: Run = hoisted if name == "hoisted" else _in_pieces(name)
    return _layer_by(run) if kind == "layer" else _cell_by(run)


def _in_pieces(name: Implementation) -> Run:
    inference, training = (compiled.CompiledRun(steps, name) for steps in (INFERENCE_STEPS, TRAINING_STEPS))

    def run(cell: nn.Module, input: Tensor, state: State, options: SequenceOptions) -> tuple[Tensor, State]:
        return (training if torch.is_grad_enabled() else inference)(cell, input, state, options)

    return run


def call(module: nn.Module, input: Any, state: State) -> tuple[Any, State]:
    """Call a module as it is."""
    result: tuple[Any, State] = module(input) if state is None else module(input, state)
    return result


def is_batch_first(module: nn.Module) -> bool:
    """Whether a module takes (batch, seq, features)."""
    return bool(getattr(module, "batch_first", False))


def _sequence_by(run: Callable[[nn.Module, Tensor, State], tuple[Tensor, State]]) -> Way:
    def of_sequence(module: nn.Module, input: Tensor, state: State) -> tuple[Tensor, State]:
        if not is_batch_first(module):
            return run(module, input, state)
        outputs, final = run(module, input.transpose(0, 1), state)
        return outputs.transpose(0, 1), final

    return of_sequence


def _cell_by(run: Run) -> Way:
    def of_cell(module: nn.Module, input: Tensor, state: State) -> tuple[Tensor, State]:
        outputs, final = run(module, input, to_cell(state, stacked=False), SequenceOptions())
        return outputs, to_layer(final, stacked=False)

    return of_cell


def _layer_by(run: Run) -> Way:
    bodies: WeakKeyDictionary[nn.Module, Cells] = WeakKeyDictionary()

    def of_layer(module: Any, input: Tensor, state: State) -> tuple[Tensor, State]:
        if module not in bodies:
            bodies[module] = cells_of(module, run)
        body = bodies[module]
        share_parameters(module, body)
        body.dropout, body.training = module.dropout, module.training
        is_stacked = len(body.cells) > 1
        outputs, final = body(input, to_cell(state, stacked=is_stacked))
        return outputs, to_layer(final, stacked=is_stacked)

    return of_layer


def cells_of(layer: Any, run: Run) -> Cells:
    """Hand-written cells with the sizes of a layer of torch.nn, whose parameters are those of the layer."""
    directions = 2 if layer.bidirectional else 1
    sizes = [layer.input_size, *[directions * layer.hidden_size] * (layer.num_layers - 1)]
    cells = [CELLS[type(layer)](size, layer.hidden_size) for size in sizes for _ in range(directions)]
    return Cells(cells, run, directions=directions)


def share_parameters(layer: nn.Module, body: Cells) -> None:
    """Let cells use the layer's parameters as they are now: `load_state_dict` and `to` may have replaced them."""
    for index, cell in enumerate(body.cells):
        number, is_reverse = divmod(index, body.directions)
        ending = f"_l{number}" + ("_reverse" if is_reverse else "")
        for name in cell._parameters:
            cell._parameters[name] = layer._parameters.get(f"{name}{ending}")
