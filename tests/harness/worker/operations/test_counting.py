"""One call of a case, counted by the kernel and under callgrind."""

from contextlib import nullcontext
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from rnnbench.harness.worker.operations import counting
from rnnbench.store.metrics import Unavailable
from rnnbench.workloads.phases import TimedCall
from tests.doubles import repository


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> TimedCall:
    """A call; in place of instructions, the kernel counts how often it was made."""
    call = Mock()
    monkeypatch.setattr(counting, "counting", lambda: nullcontext(lambda: call.call_count))
    return TimedCall(call, nullcontext, restart=Mock())


def test_one_call_is_counted_in_each_round_after_enough_steps(timed: TimedCall) -> None:
    before = set(vars(torch.nn.Module)), set(vars(torch.Tensor))
    assert counting.count_instructions(timed, 16, "perf_event") == [1] * counting.COUNTED_ROUNDS
    assert (set(vars(torch.nn.Module)), set(vars(torch.Tensor))) == before  # the classes that were changed
    warmups = counting.WARMUP_STEPS // 16
    assert timed.call.call_count == warmups + counting.COUNTED_ROUNDS * (warmups + 1)  # type: ignore[attr-defined]
    assert timed.restart.call_count == counting.COUNTED_ROUNDS  # type: ignore[attr-defined]


def test_under_callgrind_all_calls_so_far_and_then_the_one_are_dumped(
    timed: TimedCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Mock = timed.call  # type: ignore[assignment]
    toggle, dump = Mock(side_effect=lambda: calls("toggle")), Mock(side_effect=lambda: calls("dump"))
    monkeypatch.setattr(torch._C, "_valgrind_toggle", toggle, raising=False)
    monkeypatch.setattr(torch._C, "_valgrind_toggle_and_dump_stats", dump, raising=False)
    monkeypatch.setattr(counting, "switch_callgrind", lambda prefix, state: calls(f"{prefix} {state}"))
    assert counting.count_instructions(timed, 100, "callgrind", "vgdb") == [0] * counting.COUNTED_ROUNDS
    made = [" ".join(each.args) or "call" for each in calls.call_args_list]
    rounds = ["call", *["toggle", "call", "dump"] * 2] * counting.COUNTED_ROUNDS
    assert made == ["call", "vgdb on", *rounds, "vgdb off"]  # what is imported in the first call is not seen


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("echo no such process >&2; exit 3", "callgrind can't be switched on: no such process"),
        ("exec sleep 60", "callgrind can't be switched on: no answer within 0.5 s"),
    ],
)
def test_a_callgrind_that_can_not_be_switched_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str, reason: str
) -> None:
    repository.executable(tmp_path / "vgdb", program)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(counting, "SWITCH_SECONDS", 0.5)
    with pytest.raises(Unavailable, match=reason):
        counting.switch_callgrind("prefix", "on")
