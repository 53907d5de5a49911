"""The work of a call, on calls whose work is known."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.referee.work import CallWork, work_of


@pytest.mark.parametrize(
    ("call", "macs"),
    [
        (lambda: torch.ones(2, 3) @ torch.ones(3, 4), 2 * 3 * 4),
        (lambda: torch.addmm(torch.ones(4), torch.ones(2, 3), torch.ones(3, 4)), 2 * 3 * 4),
        (lambda: torch.ones(5, 2, 3) @ torch.ones(5, 3, 4), 5 * 2 * 3 * 4),
        (lambda: torch.baddbmm(torch.ones(5, 2, 4), torch.ones(5, 2, 3), torch.ones(5, 3, 4)), 5 * 2 * 3 * 4),
        (lambda: torch.ones(2, 3) + 1, 0),
    ],
)
@pytest.mark.parametrize("mode", [nullcontext, torch.inference_mode])
def test_products_are_counted_by_their_multiply_accumulates(call: object, macs: int, mode: object) -> None:
    work = work_of(TimedCall(call, mode))  # type: ignore[arg-type]
    assert work.macs == macs
    assert work.operators > 1


def test_backward_is_part_of_a_call_and_does_two_products_for_each_of_forward() -> None:
    layer, input = nn.Linear(3, 4), torch.ones(2, 3, requires_grad=True)
    forward = work_of(TimedCall(lambda: layer(input), nullcontext))
    both = work_of(TimedCall(lambda: layer(input).sum().backward(), nullcontext))
    assert (forward.macs, both.macs) == (2 * 3 * 4, 3 * 2 * 3 * 4)
    assert both.operators > forward.operators


def test_nothing_is_no_work() -> None:
    assert work_of(TimedCall(lambda: None, nullcontext)) == CallWork(0, 0)
