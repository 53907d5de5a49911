"""How a worker counts a call, with counters that the test makes."""

from contextlib import nullcontext
from unittest.mock import Mock

import pytest
import torch
from torch import nn

from rnnbench.harness.worker import instructions
from rnnbench.workloads.phases import TimedCall


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> TimedCall:
    """A call; in place of instructions, the kernel counts how often it was made."""
    call = Mock()
    monkeypatch.setattr(instructions, "counting", lambda: nullcontext(lambda: call.call_count))
    return TimedCall(call, nullcontext, restart=Mock())


def test_one_call_is_counted_in_each_round_after_enough_steps(timed: TimedCall) -> None:
    before = set(vars(nn.Module)), set(vars(torch.Tensor))
    assert instructions.count(timed, 16, "perf_event") == [1] * instructions.ROUNDS
    assert (set(vars(nn.Module)), set(vars(torch.Tensor))) == before  # the classes that were changed
    warmups = instructions.WARMUP_STEPS // 16
    assert timed.call.call_count == 1 + instructions.ROUNDS * (warmups + 1)  # type: ignore[attr-defined]
    assert timed.restart.call_count == instructions.ROUNDS  # type: ignore[attr-defined]


def test_under_callgrind_all_calls_so_far_and_then_the_one_are_dumped(
    timed: TimedCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Mock = timed.call  # type: ignore[assignment]
    toggle, dump = Mock(side_effect=lambda: calls("toggle")), Mock(side_effect=lambda: calls("dump"))
    monkeypatch.setattr(torch._C, "_valgrind_toggle", toggle, raising=False)
    monkeypatch.setattr(torch._C, "_valgrind_toggle_and_dump_stats", dump, raising=False)
    assert instructions.count(timed, 100, "callgrind") == [0] * instructions.ROUNDS
    made = [" ".join(each.args) or "call" for each in calls.call_args_list]
    assert made == ["call", *["call", *["toggle", "call", "dump"] * 2] * instructions.ROUNDS]
