"""Counting many cases: on workers whose replies the test sets, and once on real ones under callgrind."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from rnnbench.harness.coordinator.process import WorkerLost, WorkerProcess
from rnnbench.harness.instructions import callgrind
from rnnbench.harness.instructions.counting import Counted, CountingQueue, choose_counter, count_instructions
from rnnbench.harness.machine import perf_event
from rnnbench.harness.protocol import Building
from rnnbench.store.instructions import InstructionCounts
from rnnbench.store.readings import Unavailable
from rnnbench.store.records import Case
from rnnbench.suite_file import Settings
from tests.doubles import workload as small

CASES = [small.case("gru", batch_size=size) for size in (1, 2, 3)]


class CountingWorker:
    """Replies to `count` with what the test sets, or raises it."""

    def __init__(self, name: str, replies: dict[str, Any]) -> None:
        self.name, self.closed, self.asked = name, False, list[dict[str, Any]]()
        self._replies = replies

    def wait_ready(self) -> dict[str, Any]:
        return {}

    def request(self, message: dict[str, Any], deadline_seconds: float) -> dict[str, Any]:
        assert not self.closed
        self.asked.append(message)
        reply = self._replies[Case.from_axes(message["case"]).key]
        if isinstance(reply, BaseException):
            raise reply
        return dict(reply)

    def pin(self, cores: Sequence[int]) -> None:
        assert cores

    def close(self) -> None:
        self.closed = True

    kill = close


def count(replies: list[Any], cases: list[Case] = CASES) -> tuple[dict[str, Counted], list[CountingWorker]]:
    """The counts by the kernel of these cases, and the workers that were started."""
    workers: list[CountingWorker] = []
    by_key = {case.key: reply for case, reply in zip(cases, replies, strict=True)}

    def start(name: str, **_: Any) -> Any:
        workers.append(CountingWorker(name, by_key))
        return workers[-1]

    queue = CountingQueue(cases, start, Building("/", 32))
    return count_instructions({"base": queue}, "perf_event", Settings())["base"], workers


def fine(*totals: int) -> dict[str, Any]:
    return {"ok": True, "totals": list(totals)}


def test_the_rounds_of_each_case_are_kept_and_the_worker_is_ended() -> None:
    counted, [worker] = count([fine(5, 4, 6), fine(7, 7), fine(9)])
    assert [counted[case.key] for case in CASES] == [
        InstructionCounts("perf_event", (5, 4, 6)),
        InstructionCounts("perf_event", (7, 7)),
        InstructionCounts("perf_event", (9,)),
    ]
    assert worker.closed


def test_a_case_that_fails_or_loses_its_worker_has_the_reason_and_the_next_one_a_new_worker() -> None:
    failed = {"ok": False, "status": "failed", "reason": "RuntimeError: boom"}
    counted, workers = count([failed, WorkerLost("it was killed"), fine(9)])
    assert [counted[case.key] for case in CASES[:2]] == ["RuntimeError: boom", "it was killed"]
    assert isinstance(counted[CASES[2].key], InstructionCounts)
    assert [len(worker.asked) for worker in workers] == [1, 1, 1]
    assert all(worker.closed for worker in workers)


def test_a_skipped_case_keeps_its_worker() -> None:
    skipped = {"ok": False, "status": "skipped", "reason": "needs a GPU"}
    counted, workers = count([skipped, fine(3), fine(3)])
    assert counted[CASES[0].key] == "needs a GPU"
    assert len(workers) == 1


@pytest.mark.parametrize("totals", [[0, 5], [-1], ["5"], [None]])
def test_counts_that_can_not_be_are_not_believed(totals: list[Any]) -> None:
    counted, _ = count([{"ok": True, "totals": totals}, fine(3), fine(3)])
    assert "can't be used" in str(counted[CASES[0].key])


def test_a_case_is_counted_in_one_thread() -> None:
    many = [small.case("gru", threads=4)]
    replies = {small.case("gru", threads=1).key: fine(3)}
    worker = CountingWorker("", replies)
    queue = CountingQueue(many, lambda name, **_: worker, Building("/", 32))  # type: ignore[arg-type]
    counts = count_instructions({"base": queue}, "perf_event", Settings())["base"]
    assert list(counts) == [many[0].key]
    assert worker.asked[0]["case"]["threads"] == 1


def test_what_can_not_be_counted_is_not_asked_for() -> None:
    def never(name: str, **_: Any) -> Any:
        raise AssertionError(name)

    cases = [small.case("gru", "compiled"), small.case("gru", phase="epoch", samples=8)]
    counts = count_instructions({"base": CountingQueue(cases, never, Building("/", 32))}, "callgrind", Settings())
    reasons = [counts["base"][case.key] for case in cases]
    assert reasons[0] == "torch.compile would take minutes under callgrind"
    assert "draws from a data set" in str(reasons[1])


def test_progress_counts_the_cases_of_all_queues() -> None:
    def queue() -> CountingQueue:
        replies = {case.key: fine(1) for case in CASES}
        start: Callable[..., Any] = lambda name, **_: CountingWorker(name, replies)  # noqa: E731
        return CountingQueue(CASES, start, Building("/", 32))

    seen: list[tuple[int, int]] = []
    count_instructions({"base": queue(), "head": queue()}, "perf_event", Settings(), lambda *done: seen.append(done))
    assert sorted(seen) == [(done, 6) for done in range(7)]


def test_ctrl_c_ends_the_workers() -> None:
    workers: list[CountingWorker] = []

    def start(name: str, **_: Any) -> Any:
        workers.append(CountingWorker(name, {case.key: KeyboardInterrupt() for case in CASES}))
        return workers[-1]

    with pytest.raises(KeyboardInterrupt):
        count_instructions({"base": CountingQueue(CASES, start, Building("/", 32))}, "perf_event", Settings())
    assert all(worker.closed for worker in workers)


def test_the_kernel_counts_where_it_can_and_callgrind_where_it_can_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perf_event, "why_not", lambda: "")
    assert choose_counter() == "perf_event"
    monkeypatch.setattr(perf_event, "why_not", lambda: "the kernel gives no counter")
    monkeypatch.setattr(callgrind, "why_not", lambda: "")
    assert choose_counter() == "callgrind"
    monkeypatch.setattr(callgrind, "why_not", lambda: "valgrind can't be found")
    with pytest.raises(Unavailable, match="the kernel gives no counter; valgrind can't be found"):
        choose_counter()


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_two_workers_under_callgrind_count_the_same_and_see_one_more_operator(tmp_path: Path) -> None:
    """The whole way once: a GRU, and the same with one addition in one of its steps, on both sides at once."""
    cell = """
from torch import nn
class Mine(nn.GRU):
    def forward(self, x, h=None):
        outputs, h = super().forward(x, h)
        return outputs {more}, h
"""
    for side, more in (("base", ""), ("head", "+ 0")):
        (tmp_path / side).mkdir()
        (tmp_path / side / "mine.py").write_text(cell.format(more=more))
    case = Case("mine.py:Mine", "sequence", small.workload(reference="gru", dtype="float32"))
    queues = {
        side: CountingQueue(
            [case], lambda name, **options: WorkerProcess(name, layout=0, **options), Building(str(tmp_path / side), 32)
        )
        for side in ("base", "head")
    }
    counted = count_instructions(queues, "callgrind", Settings())
    base, head = (counted[side][case.key] for side in ("base", "head"))
    assert isinstance(base, InstructionCounts), base
    assert isinstance(head, InstructionCounts), head
    assert len(base.rounds) == len(head.rounds) == 5
    # The numbers of calls are exact: one addition. It turns the number 0 into a tensor by other operators.
    assert head.operators["aten::gru_input"] == base.operators["aten::gru_input"] == 1
    assert head.operators["aten::add"] - base.operators.get("aten::add", 0) == 1
    assert head.parts["dispatch"] > base.parts["dispatch"]
    assert all(base.parts.values())
