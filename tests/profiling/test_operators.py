"""Listing and timing of operators; nothing is timed here."""

import pytest
import torch
from torch import nn

from rnnbench.profiling.operators import IDLE_CALLS, ClockedOperators, idle, listing, table
from rnnbench.workloads.phases import TimedCall

pytestmark = pytest.mark.usefixtures("one_thread")
LAYER = nn.Linear(3, 4)
ROWS = torch.randn(2, 3)


def inference() -> TimedCall:
    return TimedCall(lambda: LAYER(ROWS).tanh().clone(), torch.no_grad)


def test_operators_are_listed_with_shapes_parts_and_what_they_allocate() -> None:
    kinds = {kind.operator.name: kind.operator for kind in listing(inference()).kinds}
    assert list(kinds) == ["aten::t", "aten::addmm", "aten::tanh", "aten::clone"]
    assert (kinds["aten::addmm"].shapes, kinds["aten::addmm"].new_bytes) == ("4, 2x3, 3x4", 2 * 4 * 4)
    training = TimedCall(lambda: LAYER(ROWS).tanh().sum().backward(), torch.enable_grad)
    parts = {(kind.operator.name, kind.operator.part) for kind in listing(training).kinds}
    assert ("aten::addmm", "forward") in parts
    assert ("aten::tanh_backward", "backward") in parts
    assert ("aten::mm", "backward") in parts


def test_the_times_of_a_kind_are_those_of_the_faster_half_of_whole_calls() -> None:
    listed = listing(inference())
    fast, slow = [1e-6, 3e-6, 2e-6, 1e-6], [9e-6, 9e-6, 9e-6, 9e-6]
    clocked, idling = ClockedOperators(inference()), ClockedOperators(inference())
    clocked.rounds = [[slow], [slow, fast, fast, slow], [fast, slow, fast, fast]]
    idling.rounds = [[[1e-6] * 4 * IDLE_CALLS]] * 3
    operators = {operator.name: operator for operator in table(listed, clocked, idling, 2)}
    assert operators["aten::addmm"].seconds == pytest.approx((3e-6, 3e-6))
    assert operators["aten::addmm"].idle_seconds == pytest.approx((1e-6, 1e-6))
    assert operators["aten::t"].calls == 1


def test_what_has_nothing_to_do_is_called_as_often_for_each_operator_whatever_it_is_told() -> None:
    def call() -> None:
        ROWS.clone().add_(1.0)
        torch.nn.functional.pad(ROWS, (1, 1))
        ROWS.index_select(0, torch.tensor([1]))
        nn.LSTM(3, 4)(ROWS[:, None])

    kinds = listing(TimedCall(call, torch.no_grad)).kinds
    clocked = ClockedOperators(idle(kinds))
    arm = clocked.arm
    with arm.mode():
        arm.call()
    assert len(clocked.rounds[0][0]) == IDLE_CALLS * len(kinds)
