"""Find out what a user's module is: a layer of torch.nn, a cell (one step), or a module that runs sequences itself."""

import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from rnnbench.adapt.calls import CellCall, begins_with_zeros, called, can_hoist, found_call
from rnnbench.adapt.contract import last_exception, likely_cause
from rnnbench.adapt.layers import may_lack_a_state
from rnnbench.adapt.states import Adapted, on_trial, own_first_states
from rnnbench.cells import CellError
from rnnbench.cells.gru import GRUCell
from rnnbench.cells.lstm import LSTMCell
from rnnbench.cells.states import BATCHED, State, leaves, to_cell
from rnnbench.cells.vanilla import VanillaCell

Kind = Literal["layer", "cell", "sequence"]


@dataclass(frozen=True)
class RunModule:
    """A module as the ways run it."""

    module: nn.Module  # as given; a cell of another form in the usual one, with the given cell in it
    kind: Kind
    # (layers, ...) of each tensor of a state as torch.nn's layers take it; empty if the module makes its own
    zero_state: tuple[tuple[int, ...], ...]
    begins_with_zeros: bool = True  # without a state; else a call without one is not a call with zeros
    types: tuple[torch.dtype | None, ...] = ()  # of each tensor of a state; None is the input's, as is all if empty
    is_random_in_training: bool = False  # whether it draws random numbers in training mode, as dropout does
    is_batch_first: bool = False

    @property
    def given(self) -> Any:
        """The user's own module."""
        return self.module.given if isinstance(self.module, Adapted) else self.module

    @property
    def _shows_apart(self) -> bool:
        """Whether the output of a cell is no part of its state, and stands in front of the state's own tensors."""
        return isinstance(self.module, Adapted) and self.module.call.shown is None

    def zeros(self, input: Tensor) -> State:
        """A state of zeros for an input (seq, batch, features), as torch.nn's layers take it; None if there is none."""
        types = self.types or (None,) * len(self.zero_state)
        states = tuple(
            input.new_zeros(layers, input.shape[1], *rest, dtype=dtype)
            for (layers, *rest), dtype in zip(self.zero_state, types, strict=True)
        )
        return states[0] if len(states) == 1 else states or None

    def first_state(self, input: Tensor, state: State = None) -> State:
        """The state that a call begins with, for an input (seq, batch, features): the module's own if none is given.

        The output may be missing in front of a state that it is no part of. Raises ValueError if the shapes are not
        those of the module, or if the state is missing, does not begin with zeros, and the module does not give it.
        """
        if self.kind == "sequence":
            return self.zeros(input) if state is None else state
        if state is None:
            if self.begins_with_zeros:
                return self.zeros(input)
            state = self._own_state(input)
        elif self._shows_apart and len(parts := leaves(state)) == len(self.zero_state) - 1:
            state = (leaves(self.zeros(input))[0], *parts)
        self.check_state(input, state)
        return state

    def _own_state(self, input: Tensor) -> State:
        """The first state that a cell says it begins with; it is asked in each call, since it may be learned."""
        cell, call = self.given, self.module.call if isinstance(self.module, Adapted) else None
        zeros = leaves(self.zeros(input))
        try:
            own = _own_start(cell, input)
        except CellError as error:
            raise ValueError(f"module: {error}") from error
        if own is None:
            raise ValueError("state: this module does not begin with zeros, so each call needs a first state")
        parts = leaves(own) if call is None else call.flat(zeros[0][0], own)
        parts = tuple(
            part.to(zero.dtype) if part.is_floating_point() else part
            for part, zero in zip(parts, (zero[0] for zero in zeros), strict=True)
        )
        return parts[0][None] if len(parts) == 1 else tuple(part[None] for part in parts)

    def check_state(self, input: Tensor, state: State) -> None:
        """Raise ValueError if a state does not have the shapes that the module needs; `input`: (seq, batch, ...)."""
        wanted = [(layers, input.shape[1], *rest) for layers, *rest in self.zero_state]
        found = [tuple(part.shape) for part in leaves(state)]
        if found != wanted:
            expected, shown = (" and ".join(map(str, shapes)) or "none" for shapes in (wanted, found))
            raise ValueError(f"state: expected {expected} as (layers, batch, ...), found {shown}")


PROBED = (5, 3)  # sequences of trial calls: two numbers, since one may be that of layers and directions
CELLS: dict[type[nn.Module], type[nn.Module]] = {nn.RNN: VanillaCell, nn.GRU: GRUCell, nn.LSTM: LSTMCell}


def run_module(module: nn.Module, input: Tensor, state: State) -> RunModule:
    """Find out whether a module is a layer of torch.nn, a cell (one step), or runs a whole sequence itself.

    `input`: (seq, batch, features); `state`: what the user gives with it, as torch.nn's layers take it, or None. A copy
    is called a few times to find out, which may draw random numbers and change settings. Raises ValueError if the state
    does not have the form of torch.nn's, is not known, or is not zero at the start of a sequence and not given.
    """
    is_usual = input.dim() == BATCHED and input.is_floating_point()
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)) and not is_usual:
        raise ValueError(
            f"input: expected (seq, batch, features) in floating point for {type(module).__name__}, found "
            f"{tuple(input.shape)} of {input.dtype}"
        )
    if type(module) in CELLS:
        own = _layer_state(module) if state is None else _given_state(input, state)
        return RunModule(module, "layer", own, types=_types(input, state))
    found = None if isinstance(module, nn.RNNBase) or not is_usual else _as_cell(module, input, state)
    if found is None:
        if state is None and not may_lack_a_state(module):
            otherwise = (
                "it can't be called with an input alone, and is not a cell of a known form: one step, "
                "cell(input, state) -> state or (output, state), for a batch. A cell needs an input (seq, batch, "
                "features). If the module runs whole sequences, give its state with the input, as (input, state)"
            )
            raise ValueError(f"module: {why_no_cell(module, input, otherwise)}")
        own = () if state is None else _given_state(input, state)
        found = RunModule(module, "sequence", own, begins_with_zeros=False, types=_types(input, state))
    elif state is None and not (found.begins_with_zeros or _own_start(module, input) is not None):
        raise ValueError(
            "module: its first state is not zero, or is learned; give this state with the input, as (input, state)"
        )
    return replace(found, is_random_in_training=_is_random_in_training(found, input, state))


def why_no_cell(module: nn.Module, input: Tensor, otherwise: str) -> str:
    """Return the likely cause why a module is no cell of a known form, `otherwise` if none is found, and its exception.

    `input`: (seq, batch, ...).
    """
    x = input[0].detach().clone()
    h = x.new_zeros(len(x), _sizes(module, x)[0])
    cause, error = likely_cause(module, x, h), last_exception(module, x, h)
    why = f"{type(module).__name__} can't be called as a cell: {cause}" if cause else otherwise
    return f"{why}. Its last exception: {error}" if error else why


def _own_start(cell: nn.Module, input: Tensor) -> Any:
    """Return the first state that a cell says it begins with, for an input (seq, batch, ...); None if it says none."""
    return next(own_first_states(cell, input.shape[1], input), None)


def _is_random_in_training(run: RunModule, input: Tensor, state: State) -> bool:
    """Return whether a call in training mode draws random numbers; a copy is called, one step of a cell."""
    trial: Any = on_trial(run.module)
    if trial is run.module:  # it can't be copied
        return False
    trial.train()
    before = _generators()
    with suppress(Exception), torch.no_grad():
        if run.kind == "cell":
            trial(input[0].clone(), to_cell(run.first_state(input, state), stacked=False))
        else:
            turned = input.transpose(0, 1) if getattr(trial, "batch_first", False) else input
            trial(turned) if state is None else trial(turned, state)
    return _generators() != before


def _generators() -> list[Any]:
    """Return the states of all random generators."""
    cuda: Any = torch.cuda  # partly untyped in torch
    of_torch = [torch.get_rng_state(), *(cuda.get_rng_state_all() if cuda.is_initialized() else ())]
    parts = [*of_torch, *np.random.get_state(), random.getstate()]
    return [part.tolist() if isinstance(part, Tensor | np.ndarray) else part for part in parts]


def _types(input: Tensor, parts: State) -> tuple[torch.dtype | None, ...]:
    """The types of a state's tensors, None where it is that of the input; empty if no state is given."""
    if parts is None:
        return ()
    return tuple(None if part.dtype == input.dtype else part.dtype for part in leaves(parts))


def _as_cell(module: nn.Module, input: Tensor, state: State) -> RunModule | None:
    """Return a module that is a cell, in the usual form; None if it is none."""
    x, given = input[0, :1].detach().expand(PROBED[0], -1), () if state is None else leaves(state)
    try:
        found = (found_call(module, x, x.new_zeros(len(x), size), in_both_modes=True) for size in _sizes(module, x))
        call, first = next(filter(None, found), (None, ()))
        if call is None:
            return None
        lacks_output = bool(given) and call.shown is None and len(given) == len(first) - 1
        if given and not lacks_output and len(given) != len(first):
            return None
        is_known = isinstance(module, nn.RNNCellBase) or can_hoist(module)
        if not _steps_as_cell(module, call, x, first, is_known=is_known):
            return None
        zero = call.own(tuple(torch.zeros_like(part) for part in first))
        begins = begins_with_zeros(
            module, x, first[0], lambda cell: called(cell, x.clone(), zero, call.taking, call.keyword)
        )
    except CellError as error:
        raise ValueError(f"module: {error}") from error
    own, types = tuple((1, *part.shape[1:]) for part in first), _types(x, first)
    if given:
        kept = int(lacks_output)
        own, types = own[:kept] + _given_state(input, state, 2), types[:kept] + _types(input, state)
    copies_state = not can_hoist(module) and _writes_into_state(module, call, x, first)
    if copies_state or not call.is_usual:
        module = Adapted(module, replace(call, copies_state=copies_state))
    return RunModule(module, "cell", own, begins, types)


def _steps_as_cell(module: nn.Module, call: CellCall, x: Tensor, first: Sequence[Tensor], *, is_known: bool) -> bool:
    """Return whether a step works for fewer sequences, too, and another state gives another result.

    Otherwise rows are layers or steps and not sequences, or the module runs sequences and takes rows, too.
    """
    rows = PROBED[1]
    fewer = None
    with suppress(Exception):
        fewer = _stepped(module, call, x[:rows], tuple(part[:rows] for part in first))
    if fewer is None or not all(len(part) == rows for part in fewer):
        return False
    others = tuple(part + (torch.rand_like(part) if part.is_floating_point() else 1) for part in first)
    x = torch.randn_like(x)
    with suppress(Exception):
        return is_known or not all(map(torch.equal, *(_stepped(module, call, x, state) for state in (first, others))))
    return True  # the state has a meaning that other numbers do not have


def _stepped(module: nn.Module, call: CellCall, x: Tensor, state: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the state after a step of a copy, with the same random numbers each time."""
    torch.manual_seed(0)
    with torch.no_grad():
        return leaves(call.run(on_trial(module), x.clone(), tuple(part.clone() for part in state)))


def _writes_into_state(module: nn.Module, call: CellCall, x: Tensor, first: Sequence[Tensor]) -> bool:
    """Return whether a step writes into the state that it gets."""
    given = tuple(part.clone() for part in first)
    before = [part._version for part in given]
    with suppress(Exception), torch.no_grad():
        call.run(on_trial(module), x.clone(), given)
    return [part._version for part in given] != before


def _sizes(module: nn.Module, input: Tensor) -> list[int]:
    """Return sizes that a state may have: `hidden_size`, then all of the parameters; the input's if there are none."""
    hidden = getattr(module, "hidden_size", None)
    sizes = [hidden] if isinstance(hidden, int) else []
    sizes += [size for parameter in module.parameters() for size in reversed(parameter.shape)]
    return list(dict.fromkeys(sizes)) or [input.shape[-1]]


def _given_state(input: Tensor, state: State, min_dims: int = 3) -> tuple[tuple[int, ...], ...]:
    """The sizes of the tensors of a state that the user gives; `min_dims`: 2 if one may be a number per sequence."""
    parts = leaves(state)
    if any(part.dim() < min_dims or part.shape[1] != input.shape[1] for part in parts):
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
            return f"{type(part).__name__} has hooks, and only a plain call surely runs them"
    if kind != "layer":
        return ""
    if module.training and module.dropout and module.num_layers > 1:  # type: ignore[operator]
        return "dropout between its layers draws different random numbers in each way"
    if type(module) not in CELLS:
        return f"its class is now {type(module).__name__}, which has no hand-written cell"
    names = [name for names in module._all_weights for name in names]  # type: ignore[union-attr]
    lost = [name for name in names if module._parameters.get(name) is None]
    return f"{lost[0]} is no longer one of its parameters" if lost else ""
