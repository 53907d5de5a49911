"""How a worker counts a call, with counters that the test makes."""

import contextlib
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from rnnbench.harness.worker import instructions
from rnnbench.store.readings import Unavailable
from rnnbench.workloads.phases import TimedCall


class Counter:
    """Counts the calls of `call` in place of instructions."""

    def __init__(self) -> None:
        self.calls = 0

    def call(self) -> None:
        self.calls += 1

    @contextlib.contextmanager
    def counting(self) -> Iterator[Callable[[], int]]:
        yield lambda: self.calls


def timed(counter: Counter, renewed: list[str] | None = None) -> TimedCall:
    call = TimedCall(counter.call, contextlib.nullcontext)
    if renewed is not None:
        object.__setattr__(call, "restart", lambda: renewed.append("restart"))
    return call


def test_one_call_is_counted_in_each_round_after_enough_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    counter, renewed = Counter(), list[str]()
    monkeypatch.setattr(instructions, "counting", counter.counting)
    before = set(vars(nn.Module)), set(vars(torch.Tensor))
    assert instructions.count(timed(counter, renewed), 16, "perf_event") == [1] * instructions.ROUNDS
    assert (set(vars(nn.Module)), set(vars(torch.Tensor))) == before  # the classes that were changed
    warmups = instructions.WARMUP_STEPS // 16
    assert counter.calls == 1 + instructions.ROUNDS * (warmups + 1)
    assert len(renewed) == instructions.ROUNDS


def test_under_callgrind_all_calls_so_far_and_then_the_one_are_dumped(monkeypatch: pytest.MonkeyPatch) -> None:
    counter, events = Counter(), list[str]()
    monkeypatch.setattr(torch._C, "_valgrind_toggle", lambda: events.append("toggle"), raising=False)
    monkeypatch.setattr(
        torch._C, "_valgrind_toggle_and_dump_stats", lambda: events.append(f"dump {counter.calls}"), raising=False
    )
    assert instructions.count(timed(counter), 100, "callgrind") == [0] * instructions.ROUNDS
    assert events[:4] == ["toggle", "dump 3", "toggle", "dump 4"]
    assert len(events) == 4 * instructions.ROUNDS


def test_a_torch_without_requests_for_callgrind_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch._C, "_valgrind_toggle", raising=False)
    with pytest.raises(Unavailable, match="has no requests for callgrind"):
        instructions.count(timed(Counter()), 100, "callgrind")
