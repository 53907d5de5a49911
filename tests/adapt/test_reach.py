"""A stack of layers keeps one state for each, and its output is the last, however the class is written."""

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnbench
from rnnbench.adapt.calls import adapt, found_call, in_all, reach

SIZE, HIDDEN, BATCH = 3, 5, 4


class Stack(nn.Module):
    """Ends with the shorter of layers and states."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.GRUCell(size, HIDDEN) for size in [SIZE, *[HIDDEN] * (layers - 1)])

    def forward(self, input: Tensor, states: Sequence[Tensor]) -> Any:
        new = []
        for layer, h in zip(self.layers, states, strict=False):
            input = layer(input, h)
            new.append(input)
        return tuple(new)


class Strict(Stack):
    """Refuses another number of states, so that two look like an LSTM's."""

    def forward(self, input: Tensor, states: Sequence[Tensor]) -> Any:
        if len(states) != len(self.layers):
            raise ValueError("as many states as layers")
        return super().forward(input, states)


class InList(Stack):
    """Returns a list, and takes one."""

    def forward(self, input: Tensor, states: Sequence[Tensor]) -> Any:
        if not isinstance(states, list):
            raise TypeError("states are a list")
        return list(super().forward(input, states))


class Begins(Stack):
    """Says what it begins with."""

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        return tuple(torch.zeros(batch, HIDDEN) for _ in self.layers)


class Dropped(Stack):
    """Is random in training."""

    def forward(self, input: Tensor, states: Sequence[Tensor]) -> Any:
        return super().forward(nn.functional.dropout(input, 0.5, self.training), states)


class Unused(nn.LSTMCell):
    """Has a parameter that no step reads."""

    def __init__(self) -> None:
        super().__init__(SIZE, HIDDEN)
        self.spare = nn.Parameter(torch.zeros(2))


STACKS = [Stack, Strict, InList, Begins, Dropped]


@pytest.mark.parametrize("layers", [2, 3])
@pytest.mark.parametrize("kind", STACKS)
def test_an_unrolled_stack_is_what_the_loop_over_it_is(kind: type[Stack], layers: int) -> None:
    stack = kind(layers).eval()
    before = copy.deepcopy(stack.state_dict())
    input = torch.randn(6, BATCH, SIZE)
    outputs, final = rnnbench.unroll(stack)(input)
    state: Any = [torch.zeros(BATCH, HIDDEN)] * layers
    state = state if kind is InList else tuple(state)
    expected = []
    for x in input:
        state = stack(x, state)
        expected.append(state[-1])
    torch.testing.assert_close(outputs, torch.stack(expected))
    torch.testing.assert_close([part[0] for part in final], [state[-1], *state[:-1]])
    assert all(torch.equal(before[name], value) for name, value in stack.state_dict().items())


@pytest.mark.parametrize("kind", STACKS)
def test_a_run_gives_a_stack_a_state_for_each_layer(kind: type[Stack]) -> None:
    for usual in (torch.zeros(BATCH, HIDDEN), (torch.zeros(BATCH, HIDDEN),) * 2):
        _, first = adapt(kind(3), torch.zeros(BATCH, SIZE), usual)  # also without an input that is not zero
        assert first is not None
        assert [part.shape for part in first] == [(BATCH, HIDDEN)] * 3


@pytest.mark.parametrize("cell", [nn.LSTMCell(SIZE, HIDDEN), Unused()])
def test_a_usual_cell_stays_as_it_is(cell: nn.Module) -> None:
    usual = (torch.zeros(BATCH, HIDDEN),) * 2
    found = found_call(cell, torch.randn(BATCH, SIZE), usual)
    assert found is not None
    assert found[0].is_usual


def test_reach_names_the_parameters_and_leaves_no_trace() -> None:
    stack, x, h = Stack(3), torch.randn(BATCH, SIZE), torch.ones(BATCH, HIDDEN)
    before = copy.deepcopy(stack.state_dict())
    with torch.no_grad():
        of_two = reach(stack, lambda: stack(x, (h,) * 2))
        of_three = reach(stack, lambda: stack(x, (h,) * 3))
    assert [len(numbers) for numbers in of_three] == [4, 8, 12]
    assert (in_all(of_two), in_all(of_three)) == (8, 12)
    assert all(torch.equal(before[name], value) for name, value in stack.state_dict().items())


def test_parameters_have_their_values_again_after_a_call_that_fails() -> None:
    cell = nn.Linear(2, 2)
    before = copy.deepcopy(cell.state_dict())
    calls = iter([[torch.ones(1)]])
    with torch.no_grad(), pytest.raises(StopIteration):
        reach(cell, lambda: next(calls))
    assert all(torch.equal(before[name], value) for name, value in cell.state_dict().items())
