"""What a user's recurrent module is: a layer of torch.nn, a cell (one step), or a module that runs sequences itself."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rnnbench.cells import CellError
from rnnbench.cells.foreign.calls import AdaptedCell, CellCall, called
from rnnbench.cells.foreign.structures import on_trial
from rnnbench.cells.foreign.trials import begins_with_zeros, found_call
from rnnbench.cells.gru import GRUCell
from rnnbench.cells.lstm import LSTMCell
from rnnbench.cells.states import State, leaves
from rnnbench.cells.vanilla import VanillaCell
from rnnbench.harness.live.put_back import gpus
from rnnbench.workloads.implementations import can_hoist

Kind = Literal["layer", "cell", "sequence"]
PROBED = (5, 3)  # sequences of trial calls: two numbers, since one may be that of layers and directions
CELLS: dict[type[nn.Module], type[nn.Module]] = {nn.RNN: VanillaCell, nn.GRU: GRUCell, nn.LSTM: LSTMCell}


@dataclass(frozen=True)
class RunModule:
    """A module as the ways run it."""

    module: nn.Module  # as given; a cell of another form in the usual one, with the given cell in it
    kind: Kind
    # (layers, ...) of each tensor of a state as torch.nn's layers take it; empty if the module makes its own
    zero_state: tuple[tuple[int, ...], ...]
    begins_with_zeros: bool = True  # without a state; else a call without one is not a call with zeros

    def check_state(self, input: Tensor, state: State) -> None:
        """Raise ValueError if a state does not have the shapes that the module needs; `input`: (seq, batch, ...)."""
        wanted = [(layers, input.shape[1], *rest) for layers, *rest in self.zero_state]
        found = [tuple(part.shape) for part in leaves(state)]
        if found != wanted:
            raise ValueError(f"state: expected {_said(wanted)} as (layers, batch, ...), found {_said(found)}")


def _said(shapes: Sequence[tuple[int, ...]]) -> str:
    return " and ".join(map(str, shapes)) or "none"


def run_module(module: nn.Module, input: Tensor, state: State) -> RunModule:
    """Find out whether a module is a layer of torch.nn, a cell (one step), or runs a whole sequence itself.

    `input`: (seq, batch, features); `state`: what the user gives with it, as torch.nn's layers take it, or None. A copy
    is called a few times to find out. Raises ValueError if the state does not have the form of torch.nn's, is not
    known, or is not zero at the start of a sequence and not given.
    """
    if type(module) in CELLS:
        return RunModule(module, "layer", _layer_state(module) if state is None else _given_state(input, state))
    with torch.random.fork_rng(gpus()):
        found = None if isinstance(module, nn.RNNBase) else _as_cell(module, input, state)
    if found is None:
        own = () if state is None else _given_state(input, state)
        return RunModule(module, "sequence", own, begins_with_zeros=False)
    if state is None and not found.begins_with_zeros:
        raise ValueError(
            "module: its first state is not zero, or is learned; give it with the input, as (input, state)"
        )
    return found


def _as_cell(module: nn.Module, input: Tensor, state: State) -> RunModule | None:
    """A module that is a cell; None if it is none."""
    sizes, x = state_sizes(module, input), input[0, :1].detach().expand(PROBED[0], -1)
    is_usual = isinstance(module, nn.RNNCellBase) or can_hoist(module)
    if not is_usual and (found := _adapted(module, x, input, state, sizes)):
        return found
    if not sizes and not is_usual:
        return None
    if not sizes and state is None:
        raise ValueError("module: its state is not known; give it with the input, as (input, state)")
    own = tuple((1, size) for size in sizes) if state is None else _given_state(input, state)
    zero_parts = tuple(x.new_zeros(len(x), *rest) for _, *rest in own)
    zero = zero_parts[0] if len(zero_parts) == 1 else zero_parts
    return RunModule(module, "cell", own, begins_with_zeros(module, x, zero_parts[0], lambda cell: cell(x, zero)))


def _adapted(module: nn.Module, x: Tensor, input: Tensor, state: State, usual: tuple[int, ...]) -> RunModule | None:
    """A cell of another form in the usual one; None if it is usual or no cell. Raises ValueError as `run_module` does.

    `x`: the input of a trial step; `usual`: the size of each tensor of a state of the usual form, with which the module
    runs; empty if it does not.
    """
    forms = [usual] if usual else [(size,) for size in _sizes(module)]
    states = [tuple(x.new_zeros(len(x), size) for size in sizes) for sizes in forms]
    try:
        calls = (_call_in_both_modes(module, x, given[0] if len(given) == 1 else given) for given in states)
        call, first = next(filter(None, calls), (None, ()))
        if call is None or (state is not None and len(leaves(state)) != len(first)):
            return None
        if not _takes_fewer(module, call, x, first):
            return None
        zero = call.own(tuple(torch.zeros_like(part) for part in first))
        begins = begins_with_zeros(
            module, x, first[0], lambda cell: called(cell, x.clone(), zero, call.taking, call.keyword)
        )
    except CellError as error:
        raise ValueError(f"module: {error}") from error
    own = tuple((1, *part.shape[1:]) for part in first) if state is None else _given_state(input, state)
    return RunModule(AdaptedCell(module, call), "cell", own, begins)


def _takes_fewer(module: nn.Module, call: CellCall, x: Tensor, first: Sequence[Tensor]) -> bool:
    """Whether a step also works for fewer sequences, so that rows are sequences and not layers or steps."""
    rows = PROBED[1]
    with suppress(Exception), torch.no_grad():
        new = call.step(on_trial(module), x[:rows].clone(), tuple(part[:rows] for part in first))
        return all(len(part) == rows for part in leaves(new))
    return False


def _call_in_both_modes(module: nn.Module, x: Tensor, usual: Any) -> tuple[CellCall, tuple[Tensor, ...]] | None:
    """How a cell is called, and its first state; None if it is usual or no cell.

    The output may be a tensor of the state in one mode alone, as with dropout between the two. Then it is kept apart.
    """
    modes = [on_trial(module) for _ in range(2)]
    if modes[0] is module:  # it can't be copied
        return found_call(module, x, usual)
    found = [
        found_call(trial.train(mode), x, usual)
        for trial, mode in zip(modes, (module.training, not module.training), strict=True)
    ]
    apart = (each for each in found if each is not None and each[0].shown is None)
    return found[0] and next(apart, found[0])


def _sizes(module: nn.Module) -> list[int]:
    """Sizes that a state may have: the module's attribute `hidden_size` first, then all that its parameters have."""
    hidden = getattr(module, "hidden_size", None)
    sizes = [hidden] if isinstance(hidden, int) else []
    sizes += [size for parameter in module.parameters() for size in reversed(parameter.shape)]
    return list(dict.fromkeys(sizes))


def state_sizes(module: nn.Module, input: Tensor) -> tuple[int, ...]:
    """The size of each tensor of a cell's state, (batch, size); empty if the module does not behave as a cell.

    A copy is called for a few sequences with `h`, and with `(h, c)`, until it returns a state of the same form.
    """
    for size in _sizes(module):
        for count in (1, 2):
            if all(_keeps_states(module, input[0, :1].expand(rows, -1), size, count) for rows in PROBED):
                return (size,) * count
    return ()


def _keeps_states(module: nn.Module, x: Tensor, size: int, count: int) -> bool:
    """Whether a step takes and returns so many tensors (batch, size) as its state."""
    h = x.new_zeros(len(x), size)
    with suppress(Exception), torch.no_grad():
        parts = leaves(on_trial(module)(x, h if count == 1 else (h,) * count))
        return len(parts) == count and all(part.shape == h.shape for part in parts)
    return False


def _given_state(input: Tensor, state: State) -> tuple[tuple[int, ...], ...]:
    """The sizes of the tensors of a state that the user gives."""
    parts = leaves(state)
    if any(part.dim() < 3 or part.shape[1] != input.shape[1] for part in parts):
        shapes = ", ".join(str(tuple(part.shape)) for part in parts)
        raise ValueError(f"state: expected (layers, {input.shape[1]}, hidden) for each tensor, found {shapes}")
    return tuple((part.shape[0], *part.shape[2:]) for part in parts)


def _layer_state(layer: Any) -> tuple[tuple[int, ...], ...]:
    """(layers, ...) of each tensor of a state of a layer of torch.nn."""
    layers = layer.num_layers * (2 if layer.bidirectional else 1)
    sizes = (layer.proj_size or layer.hidden_size, layer.hidden_size)[: 2 if isinstance(layer, nn.LSTM) else 1]
    return tuple((layers, size) for size in sizes)


def why_only_as_given(module: nn.Module, kind: Kind) -> str:
    """Why only a plain call does what the module does now; empty if all ways do.

    Other ways don't call the module itself, and code that was compiled does not see hooks that came later.
    """
    for part in module.modules():
        if part._forward_pre_hooks or part._forward_hooks or part._backward_pre_hooks or part._backward_hooks:
            return f"{type(part).__name__} has hooks, which only a plain call is sure to run"
    if kind != "layer":
        return ""
    if type(module) not in CELLS:
        return f"it is a {type(module).__name__} now, which has no hand-written cell"
    names: list[str] = [name for names in module._all_weights for name in names]  # type: ignore[union-attr]
    lost = [name for name in names if module._parameters.get(name) is None]
    return f"{lost[0]} is no longer one of its parameters" if lost else ""
