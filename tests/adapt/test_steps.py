"""A step of an adapted cell makes no Python call that a hand-written loop would not make."""

import copy
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from rnnbench import unroll
from rnnbench.adapt.steps import can_step_directly, run_usual
from rnnbench.workloads.implementations import SequenceOptions, loop


class Both(NamedTuple):
    """A state with names."""

    h: Tensor
    c: Tensor


@dataclass
class Kept:
    """A state as a dataclass."""

    h: Tensor
    c: Tensor


class Step(nn.Module):
    """What the cells below compute."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden_size = 6
        self.of_input, self.of_state = nn.Linear(4, 6), nn.Linear(6, 6)

    def new(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(self.of_input(x) + self.of_state(h))
        return h, c + h


class Pair(Step):
    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> Any:
        h, c = self.new(x, *state)
        return h, (h, c)


class Output(Step):
    """Its output is no part of its state."""

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> Any:
        h, c = self.new(x, *state)
        return 2 * h, (h, c)


class Apart(Step):
    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> Any:
        return self.new(x, h, c)


class OutputApart(Step):
    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> Any:
        h, c = self.new(x, h, c)
        return h, h, c


class PairApart(Step):
    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> Any:
        h, c = self.new(x, h, c)
        return h, (h, c)


class Parts(Step):
    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> Any:
        h, c = self.new(x, *state)
        return h, h, c


class Last(Step):
    """Its output is the second tensor of its state."""

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> Any:
        h, c = self.new(x, state[1], state[0])
        return h, (c, h)


class AndMore(Step):
    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> Any:
        h, c = self.new(x, *state)
        return h, c, x


class ApartAndMore(Step):
    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> Any:
        h, c = self.new(x, h, c)
        return h, c, x


class Mapped(Step):
    def init_state(self, batch: int) -> dict[str, Tensor]:
        return {"h": torch.zeros(batch, 6), "c": torch.zeros(batch, 6)}

    def forward(self, x: Tensor, state: dict[str, Tensor]) -> Any:
        h, c = self.new(x, state["h"], state["c"])
        return {"h": h, "c": c}


class Named(Step):
    def init_state(self, batch: int) -> Both:
        return Both(torch.zeros(batch, 6), torch.zeros(batch, 6))

    def forward(self, x: Tensor, state: Both) -> Any:
        return Both(*self.new(x, state.h, state.c))


class Data(Step):
    def init_state(self, batch: int) -> Kept:
        return Kept(torch.zeros(batch, 6), torch.zeros(batch, 6))

    def forward(self, x: Tensor, state: Kept) -> Any:
        return Kept(*self.new(x, state.h, state.c))


class Nested(Step):
    def init_state(self, batch: int) -> Any:
        return {"layers": [(torch.zeros(batch, 6), torch.zeros(batch, 6))]}

    def forward(self, x: Tensor, state: Any) -> Any:
        h, c = self.new(x, *state["layers"][0])
        return h, {"layers": [(h, c)]}


class Writes(Step):
    """Writes into its state."""

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> Any:
        h, c = state
        new, total = self.new(x, h, c)
        h.copy_(new)
        c.copy_(total)
        return h, (h, c)


def in_turn(cell: Any, x: Tensor) -> Tensor:
    """The loop as a user writes it."""
    outputs = []
    if isinstance(cell, Apart | OutputApart | PairApart | ApartAndMore):
        h, c = x.new_zeros(x.shape[1], 6), x.new_zeros(x.shape[1], 6)
        for step in x:
            new = cell(step, h, c)
            if isinstance(cell, Apart | ApartAndMore):
                h, c = new[:2]
            else:
                h, c = new[1] if isinstance(cell, PairApart) else new[1:]
            outputs.append(new[0])
        return torch.stack(outputs)
    begins = getattr(cell, "init_state", lambda batch: (torch.zeros(batch, 6), torch.zeros(batch, 6)))
    state = begins(x.shape[1])
    for step in x:
        new = cell(step, state)
        if isinstance(cell, Mapped):
            output, state = new["h"], new
        elif isinstance(cell, Named | Data):
            output, state = new.h, new
        elif isinstance(cell, AndMore):
            output, state = new[0], new[:2]
        else:
            output, state = new[0], new[1:] if isinstance(cell, Parts) else new[1]
        outputs.append(output.clone() if isinstance(cell, Writes) else output)
    return torch.stack(outputs)


CELLS: list[type[Step]] = [
    *(Pair, Output, Apart, OutputApart, PairApart, Parts, Last, AndMore, ApartAndMore, Mapped, Named, Data, Nested),
]


def python_calls(call: Callable[[], object]) -> int:
    """Count the Python functions that a call enters."""
    count = 0

    def entered(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(entered)
    try:
        call()
    finally:
        sys.setprofile(before)
    return count


def per_step(run: Callable[[Tensor], object], few: Tensor, many: Tensor) -> float:
    """Count the Python functions that each further step of a sequence enters."""
    calls = [python_calls(partial(run, x)) for x in (few, few, many)]
    return (calls[2] - calls[1]) / (len(many) - len(few))


@pytest.mark.parametrize("kind", CELLS)
def test_a_step_costs_no_call_more_than_in_a_loop_written_by_hand(kind: type[Step]) -> None:
    cell, few, many = kind(), torch.randn(4, 3, 4), torch.randn(24, 3, 4)
    layer = unroll(cell)
    layer(few)
    of_step = [per_step(layer, few, many), per_step(partial(in_turn, cell), few, many)]
    assert of_step[0] <= of_step[1]


@pytest.mark.parametrize("kind", [*CELLS, Writes])
def test_each_form_gives_the_outputs_the_state_and_the_gradients_of_a_loop_written_by_hand(kind: type[Step]) -> None:
    cell, x = kind(), torch.randn(5, 3, 4)
    layer = unroll(cell)
    if kind is Writes:
        cell.requires_grad_(requires_grad=False)
    outputs, state = layer(x)
    assert torch.equal(outputs, in_turn(cell, x))
    if kind is not Writes:
        gradients = [
            torch.autograd.grad(each.sum(), list(cell.parameters())) for each in (layer(x)[0], in_turn(cell, x))
        ]
        assert all(map(torch.equal, *gradients))
    first, second = layer(x[:2]), layer(x[2:], layer(x[:2])[1])
    assert torch.equal(torch.cat([first[0], second[0]]), outputs)
    assert all(map(torch.equal, second[1], state))
    assert all(part.shape == (1, 3, 6) for part in state)


@pytest.mark.parametrize("kind", [*CELLS, Writes])
def test_a_loop_in_the_other_direction_or_with_a_mask_gives_the_same(kind: type[Step]) -> None:
    x = torch.randn(5, 3, 4)
    layer = unroll(kind())
    layer(x)
    run = layer.__dict__["_found"][1]
    assert can_step_directly(run.module) or kind is Apart
    first = tuple(part[0] for part in run.first_state(x))
    mask = torch.ones(5, 3, 1, dtype=torch.bool)
    with torch.no_grad():
        for reverse in (False, True):
            plain = loop(run.module, x, first, SequenceOptions(reverse=reverse))
            masked = loop(run.module, x, first, SequenceOptions(reverse=reverse, mask=mask))
            assert torch.equal(plain[0], masked[0])
            assert all(map(torch.equal, plain[1], masked[1]))


def test_a_copy_steps_by_its_own_weights_also_after_it_was_pickled() -> None:
    layer = unroll(Mapped())
    x = torch.randn(5, 3, 4)
    layer(x)
    module = layer.__dict__["_found"][1].module
    run_usual(module, x.unbind(0), (torch.zeros(3, 6), torch.zeros(3, 6)))
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        with torch.no_grad():
            other.given.of_input.weight.add_(1)
        outputs, _ = run_usual(other, x.unbind(0), (torch.zeros(3, 6), torch.zeros(3, 6)))
        assert torch.equal(torch.stack(outputs), in_turn(other.given, x))
        assert not torch.equal(torch.stack(outputs), layer(x)[0])
