"""Replays compute the same as the recorded program; nothing is timed here."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from rnnbench.cells.gru import GRUCell
from rnnbench.profiling.program import NotFollowed, Program, record
from rnnbench.profiling.remedies import use_recorded_results, use_sources
from rnnbench.profiling.replay import replay

pytestmark = pytest.mark.usefixtures("one_thread")
INPUT = torch.randn(4, 2, 3)


def over_sequence(x: Tensor, cell: GRUCell) -> Tensor:
    h, outputs = torch.zeros(2, 5), []
    for step in x:
        h = cell(step, h)
        outputs.append(h)
    return torch.stack(outputs)


def without_gradients(x: Tensor) -> Tensor:
    with torch.no_grad():
        scale = x.abs().max(0).values + 1
    return x / scale


def in_place(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[0] = x[1]
    y += x.mT.mT
    torch.add(y, 1.0, out=y)
    return y.mul_(2)


def parts(x: Tensor) -> Tensor:
    first, *others = x.split([1, 1, 2])
    values, _ = torch.max(torch.cat(others), dim=0, keepdim=True)
    whole: Tensor = first + functional.dropout(1 - values, 0.5, training=False)
    return whole


PROGRAMS: list[Callable[[Tensor], Tensor]] = [without_gradients, in_place, parts, lambda x: x.float() * x.shape[0]]


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_replay_gives_the_same_output(program: Callable[[Tensor], Tensor]) -> None:
    torch.testing.assert_close(replay(record(lambda: program(INPUT)))(), program(INPUT))


def test_a_replay_gives_the_same_gradients_each_time() -> None:
    cell = GRUCell(3, 5)

    def call() -> None:
        cell.zero_grad()
        over_sequence(INPUT, cell).sum().backward()

    program = record(call)
    expected = [parameter.grad for parameter in cell.parameters()]
    replayed = replay(program)
    for _ in range(2):
        replayed()
        torch.testing.assert_close([parameter.grad for parameter in cell.parameters()], expected)


def test_what_changes_between_calls_is_replayed_and_not_what_it_was() -> None:
    x = INPUT.clone()
    replayed = replay(record(lambda: x * 2))
    x.add_(1.0)
    torch.testing.assert_close(replayed(), (INPUT + 1) * 2)


class Hidden(torch.autograd.Function):
    """tanh, with a backward of its own, which a recording can't look into."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.tanh()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


def with_own_function(weight: nn.Parameter) -> Tensor:
    product: Tensor = Hidden.apply(INPUT @ weight)
    return product * 2


def with_autocast(weight: nn.Parameter) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        product = INPUT @ weight
    return product.float()


@pytest.mark.parametrize("program", [with_own_function, with_autocast])
def test_what_can_not_be_seen_is_told(program: Callable[[nn.Parameter], Tensor]) -> None:
    weight = nn.Parameter(torch.randn(3, 3))

    def call() -> None:
        weight.grad = None
        program(weight).sum().backward()

    with pytest.raises(NotFollowed):
        replay(record(call))


def names(program: Program) -> list[str]:
    return [call.name for call in program.calls]


def test_what_is_left_out_is_called_no_more_and_neither_is_a_view_that_was_made_for_it() -> None:
    program = record(lambda: INPUT.view(-1).clone() + INPUT.sum().item())
    assert names(program) == ["view", "clone", "sum", "item", "add"]
    replayed = record(replay(use_sources(use_recorded_results(program, [[*program.calls[2:4]]]), [[program.calls[1]]])))
    assert names(replayed) == ["view", "add"]
    torch.testing.assert_close(replayed.returned, INPUT.view(-1) + INPUT.sum())


def test_a_result_that_is_needed_is_there_before_the_call_and_what_it_is_made_of_is_still_made() -> None:
    program = record(lambda: torch.cat([INPUT[0], INPUT[1]]).tanh())
    replayed = record(replay(use_recorded_results(program, [[program.calls[2]]])))
    assert names(replayed) == ["getitem", "getitem", "tanh"]
    torch.testing.assert_close(replayed.returned, program.returned)
