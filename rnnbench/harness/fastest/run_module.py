"""A user's recurrent module as the ways run it, and the state that a call begins with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from rnnbench.cells import CellError
from rnnbench.cells.foreign.calls import AdaptedCell
from rnnbench.cells.foreign.first_states import own_first_states
from rnnbench.cells.states import State, leaves

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
        elif shows_apart(self.module) and len(parts := leaves(state)) == len(self.zero_state) - 1:
            state = (leaves(self.zeros(input))[0], *parts)
        self.check_state(input, state)
        return state

    def _own_state(self, input: Tensor) -> State:
        """The first state that a cell says it begins with; it is asked in each call, since it may be learned."""
        cell, call = (
            (self.module.cell, self.module.call) if isinstance(self.module, AdaptedCell) else (self.module, None)
        )
        zeros = leaves(self.zeros(input))
        try:
            own = next(own_first_states(cell, input.shape[1], input), None)
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
            raise ValueError(f"state: expected {_said(wanted)} as (layers, batch, ...), found {_said(found)}")


def shows_apart(module: nn.Module) -> bool:
    """Whether the output of a cell is no part of its state, and stands in front of the state's own tensors."""
    return isinstance(module, AdaptedCell) and module.call.shown is None


def _said(shapes: Sequence[tuple[int, ...]]) -> str:
    return " and ".join(map(str, shapes)) or "none"
