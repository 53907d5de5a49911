"""The state that a cell begins with, where its own function asks for something unusual or fails."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rnnbench.adapt.first_states import own_first_state
from rnnbench.cells import CellError

INPUT, H = torch.ones(3, 4), torch.zeros(3, 5)


class FromInput(nn.Module):
    """Makes its first state from an input, under a name that says nothing, as norse's recurrent cells do."""

    def initial_state(self, example: Tensor) -> Tensor:
        return example.new_full((*example.shape[:-1], 5), 7.0)

    def forward(self, input: Tensor, state: Tensor) -> Tensor:
        return state


class FailingButOptional(nn.Module):
    """Can't make its first state by itself, and takes a first step without one."""

    def initial_state(self, batch_size: int) -> Tensor:
        raise RuntimeError(f"no room for {batch_size}")

    def forward(self, input: Tensor, state: Any = None) -> Tensor:
        return input if state is None else state


class Failing(nn.Module):
    """Can't make its first state, and needs one."""

    def initial_state(self, batch_size: int) -> Tensor:
        raise RuntimeError(f"no room for {batch_size}")

    def forward(self, input: Tensor, state: Any) -> Tensor:
        return input


def test_a_function_that_gives_the_first_state_is_tried_with_an_input() -> None:
    state = own_first_state(FromInput(), INPUT, H)
    assert torch.equal(state, torch.full((3, 5), 7.0))


def test_a_first_state_that_can_not_be_made_is_none_if_the_cell_needs_none() -> None:
    assert own_first_state(FailingButOptional(), INPUT, H) is None


def test_a_first_state_that_can_not_be_made_is_told_with_the_first_error_if_the_cell_needs_one() -> None:
    with pytest.raises(CellError, match=r"Failing.initial_state: it raises RuntimeError: no room for 3"):
        own_first_state(Failing(), INPUT, H)
