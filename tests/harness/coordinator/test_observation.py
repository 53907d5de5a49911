"""The observation pass before timing, on workers whose replies the test sets."""

import errno
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rnnbench.harness.coordinator.observation import Queue, observe, workers_for
from rnnbench.harness.coordinator.process import WorkerLost
from rnnbench.harness.coordinator.recorder import Recorder
from rnnbench.store.folder import RunFolder
from rnnbench.store.records import Case
from rnnbench.suite.file import Settings
from tests.doubles import workload as small
from tests.doubles.fakes import FakeWorkers
from tests.doubles.stored import INFO, rows

CASES = [small.case("gru", batch_size=size) for size in range(1, 13)]
Ask = Callable[[dict[str, Any]], None]


def run(
    parent: Path,
    ask: Ask = lambda message: None,
    *,
    workers: int = 2,
    go_on: Any = lambda: True,
    on_done: Any = lambda done: None,
    on_start: Any = lambda: None,
) -> Any:
    """The run's frame, its notes, the workers started and the progress reported."""
    fakes = FakeWorkers(ask)
    progress: list[tuple[int, int]] = []

    def start() -> Any:
        on_start()
        return fakes()

    folder = RunFolder.create(parent, "test")
    folder.write_info(INFO)
    recorder = Recorder(folder, CASES, parent, Settings())
    try:
        queue = Queue(recorder, deque(CASES), start, workers)

        def tell(done: int, total: int) -> None:
            progress.append((done, total))
            on_done(done)

        observe([[queue]], go_on, tell)
    finally:
        folder.close()
    return rows(folder.path).set_index("case"), recorder.notes(), fakes.started, progress


def at(case: Case, raised: BaseException) -> Ask:
    def ask(message: dict[str, Any]) -> None:
        if message["case"] == case.axes():
            raise raised

    return ask


def test_every_case_is_observed_once_by_the_workers_together(tmp_path: Path) -> None:
    frame, notes, started, progress = run(tmp_path)
    assert frame["parameters"].tolist() == [7] * len(CASES)
    assert set(frame["status"]) == {"pending"}
    assert notes == []
    assert 1 <= len(started) <= 2
    assert all(worker.closed for worker in started)
    assert progress == [(done, len(CASES)) for done in range(len(CASES) + 1)]


def test_a_case_that_kills_its_worker_fails_alone_and_is_told(tmp_path: Path) -> None:
    frame, notes, started, _ = run(tmp_path, at(CASES[4], WorkerLost("the worker was killed by SIGSEGV")))
    assert frame.loc[CASES[4].key, ["status", "reason"]].tolist() == ["failed", "the worker was killed by SIGSEGV"]
    assert frame["parameters"].notna().sum() == len(CASES) - 1
    assert notes == [f"a worker was lost at {CASES[4].key}: the worker was killed by SIGSEGV"]
    assert all(worker.closed for worker in started)


def test_what_is_not_observed_in_time_stays_pending(tmp_path: Path) -> None:
    answers = iter([True, True, True])
    frame, _, started, _ = run(tmp_path, workers=1, go_on=lambda: next(answers, False))
    assert frame["parameters"].notna().tolist() == [True] * 3 + [False] * 9
    assert set(frame["status"]) == {"pending"}
    assert all(worker.closed for worker in started)


def test_an_interrupt_leaves_no_worker_and_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()

    def on_done(done: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, on_done=on_done)
    assert threading.active_count() == before


def test_where_no_worker_can_be_had_the_pass_ends_with_the_systems_reason(tmp_path: Path) -> None:
    def on_start() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    before = threading.active_count()
    with pytest.raises(OSError, match="Too many open files"):
        run(tmp_path, on_start=on_start)
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("cases", "cores", "threads", "workers"),
    [(0, 2, 1, 1), (3, 2, 1, 1), (100, 2, 1, 2), (100, 64, 1, 8), (9, 64, 1, 2), (100, 2, 2, 1), (100, 64, 16, 4)],
)
def test_more_workers_start_only_where_they_pay(cases: int, cores: int, threads: int, workers: int) -> None:
    assert workers_for([small.case("gru", threads=threads)] * cases, cores) == workers
