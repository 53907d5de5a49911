"""A visit with one side, as in a run, and with two, as in a check."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rnnbench.harness.coordinator import visit
from rnnbench.harness.coordinator.process import WorkerLost
from rnnbench.harness.coordinator.recorder import Recorder
from rnnbench.harness.coordinator.visit import ReplicateWorkers, Visitor
from rnnbench.store.folder import RunFolder
from rnnbench.store.records import Case, Group, Measurement, Window
from rnnbench.store.windows import read_windows
from rnnbench.suite.file import Settings
from tests.doubles import workload as small
from tests.doubles.fakes import Failing, FakeClock, FakeWorker
from tests.doubles.stored import INFO

GROUP = Group(small.workload(), (small.case("vanilla"), small.case("combined"), small.reference_case()))
KEYS = [case.key for case in GROUP.cases]
CASE_SECONDS = 0.04  # four turns of a call that takes 10 ms
SETTINGS = Settings(window_seconds=0.01)
CALL_SECONDS = {"slow head": 0.2}  # where it is not 10 ms
FAILED = {"ok": False, "status": "failed", "reason": "it raises"}


class Visits(ReplicateWorkers):
    """Workers of sides, and their recorders; `turns`: (side, case) of each window, in order of time."""

    def __init__(self, parent: Path, sides: Sequence[str], fault: Callable[[str, dict[str, Any]], None]) -> None:
        self.clock, self._fault, self.restarts = FakeClock(), fault, 0
        self.folders = {name: RunFolder.create(parent, name) for name in sides}
        self.turns: list[tuple[str, str]] = []
        self.recorders = {name: self._recorder(folder, parent) for name, folder in self.folders.items()}
        self.workers: Mapping[str, Any] = {name: self._worker(name) for name in sides}
        self.visitor = Visitor(self, self.recorders, SETTINGS, random.Random(1), self.clock)

    def start(self) -> None:
        """Start fresh workers, of which nothing is lost."""
        self.restarts, self._fault = self.restarts + 1, lambda side, message: None
        self.workers = {name: self._worker(name) for name in self.folders}

    def visit(self, replicate: int = 0) -> dict[str, list[Window]]:
        """Visit the group once."""
        return self.visitor.visit(GROUP, replicate, CASE_SECONDS)[0]

    def dropped(self) -> set[tuple[str, str]]:
        """The cases that are left out from now on, with their sides."""
        return {
            (side, case.key) for side, known in self.recorders.items() for case in GROUP.cases if known.dropped(case)
        }

    def _recorder(self, folder: RunFolder, parent: Path) -> Recorder:
        folder.write_info(INFO)
        recorder = Recorder(folder, GROUP.cases, parent, SETTINGS)
        for case in GROUP.cases:
            observed = Measurement(case, "pending", parity="agrees").to_json()
            recorder.note_observed(case, {"ok": True, "measurement": observed})
        return recorder

    def _worker(self, name: str) -> FakeWorker:
        def watch(message: dict[str, Any]) -> None:
            self._fault(name, message)
            if message["op"] == "turn":
                self.turns.append((name, message["case"]))

        return FakeWorker(str(self.restarts), self.clock, watch, lambda key: CALL_SECONDS.get(name, 0.01))


@pytest.fixture(params=[("run",), ("base", "head")], ids=["one side", "two sides"])
def sides(request: pytest.FixtureRequest) -> tuple[str, ...]:
    names: tuple[str, ...] = request.param
    return names


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Visits]]:
    """Visits of these sides; `apart`: each side has cores of its own for what is not timed."""
    opened: list[Visits] = []

    def make(
        sides: Sequence[str],
        fault: Callable[[str, dict[str, Any]], None] = lambda side, message: None,
        *,
        apart: bool = True,
    ) -> Visits:
        monkeypatch.setattr(visit, "measuring_cores", lambda number: [9])
        monkeypatch.setattr(visit, "preparing_cores", lambda number, sides: [[n if apart else 9] for n in range(sides)])
        opened.append(Visits(tmp_path, sides, fault))
        return opened[-1]

    yield make
    for visits in opened:
        for folder in visits.folders.values():
            folder.close()


def test_all_cases_of_one_side_take_turns_with_each_other(begin: Callable[..., Visits]) -> None:
    visits = begin(["run"])
    windows = visits.visit(7)["run"]
    order = [case for _, case in visits.turns]
    assert len(order) == 12
    for start in (0, 6):  # a random order of all and its mirror image
        assert sorted(order[start : start + 3]) == sorted(KEYS)
        assert order[start : start + 3] == order[start + 3 : start + 6][::-1]
    assert Counter(window.case for window in windows) == dict.fromkeys(KEYS, 2)
    assert {window.replicate for window in windows} == {7}


def test_each_case_takes_turns_with_itself_on_the_other_side(begin: Callable[..., Visits]) -> None:
    visits = begin(["base", "head"])
    visits.visit()
    for start in range(0, len(visits.turns), 4):
        names, cases = zip(*visits.turns[start : start + 4], strict=True)
        assert len(set(cases)) == 1
        assert names in (("base", "head", "head", "base"), ("head", "base", "base", "head"))


def test_every_side_has_all_windows_in_their_order(begin: Callable[..., Visits], sides: tuple[str, ...]) -> None:
    visits = begin(sides)
    for windows in visits.visit().values():
        assert [window.order for window in windows] == list(range(6))
        assert {window.turns for window in windows} == {6}
        assert sorted({window.case for window in windows}) == sorted(KEYS)


@pytest.mark.parametrize("raised", [WorkerLost("the worker was killed by SIGSEGV"), Failing(FAILED)])
def test_a_case_that_fails_or_loses_its_worker_is_dropped_there_and_fresh_workers_repeat_the_visit(
    begin: Callable[..., Visits], sides: tuple[str, ...], raised: Exception
) -> None:
    culprit = GROUP.cases[1]

    def fault(name: str, message: dict[str, Any]) -> None:
        if name == sides[-1] and message["op"] == "turn" and message["case"] == culprit.key:
            raise raised

    visits = begin(sides, fault)
    for windows in visits.visit().values():
        assert {window.case for window in windows} == set(KEYS) - {culprit.key}
        assert {window.worker for window in windows} == {"1"}
    assert visits.restarts == 1
    assert visits.dropped() == {(sides[-1], culprit.key)}
    lost = [f"a worker was lost at {culprit.key}: {raised}"] if isinstance(raised, WorkerLost) else []
    assert visits.recorders[sides[-1]].notes() == lost


def test_a_case_that_one_side_has_dropped_is_left_out_on_all(
    begin: Callable[..., Visits], sides: tuple[str, ...]
) -> None:
    visits = begin(sides)
    left_out: Case = GROUP.cases[0]
    visits.recorders[sides[-1]].drop(left_out, "failed", "it raises")
    for windows in visits.visit().values():
        assert {window.case for window in windows} == set(KEYS) - {left_out.key}


def test_every_case_is_verified_after_the_last_window_and_before_the_cases_are_released(
    begin: Callable[..., Visits], sides: tuple[str, ...]
) -> None:
    asked: list[tuple[str, str]] = []
    visits = begin(sides, lambda side, message: asked.append((side, message["op"])))
    visits.visit()
    turns = 12
    for side in sides:
        ops = [op for name, op in asked if name == side]
        assert ops == ["prepare"] * 3 + ["visit"] + ["turn"] * turns + ["verify"] * 3 + ["release"]


def test_a_case_that_disagrees_after_timing_fails_and_its_visit_does_not_count(
    begin: Callable[..., Visits], sides: tuple[str, ...]
) -> None:
    visits = begin(sides)
    worker = visits.workers[sides[-1]]
    answer = worker.request
    worker.request = lambda message, seconds: (
        FAILED if message["op"] == "verify" and message["case"]["cell"] == "vanilla" else answer(message, seconds)
    )
    visits.visit()
    known = visits.recorders[sides[-1]].measurements[KEYS[0]]
    assert (known.status, known.reason) == ("failed", "it raises")
    for folder in visits.folders.values():
        kept = list(read_windows(folder.path))
        assert {window.worker for window in kept} == {"1"}
        assert {window.case for window in kept} == set(KEYS[1:])


@pytest.mark.parametrize("op", ["prepare", "verify"])
def test_sides_with_cores_of_their_own_are_prepared_and_verified_at_the_same_time(
    begin: Callable[..., Visits], op: str
) -> None:
    meeting = threading.Barrier(2, timeout=60)
    met: list[str] = []

    def meet(side: str, message: dict[str, Any]) -> None:
        if message["op"] == op:
            meeting.wait()  # raises unless the other side comes
            met.append(side)

    visits = begin(["base", "head"], meet)
    visits.visit()
    assert sorted(met) == ["base"] * 3 + ["head"] * 3


@pytest.mark.parametrize("apart", [True, False])
def test_only_one_side_is_timed_at_a_time_and_all_on_the_same_cores(begin: Callable[..., Visits], apart: bool) -> None:
    at_work: set[str] = set()
    pins: dict[str, list[int]] = {}

    def watch(side: str, message: dict[str, Any]) -> None:
        if message["op"] == "visit":
            return
        if message["op"] == "turn" or not apart:
            assert not at_work
        at_work.add(side)
        assert message["op"] != "turn" or pins == {"base": [9], "head": [9]}
        at_work.discard(side)

    visits = begin(["base", "head"], watch, apart=apart)
    for name, worker in visits.workers.items():
        worker.pin = partial(pins.__setitem__, name)
    visits.visit()
    assert sorted(pins.values()) == ([[0], [1]] if apart else [[9], [9]])


def test_a_worker_that_is_lost_beside_another_is_told_and_the_other_goes_on(begin: Callable[..., Visits]) -> None:
    prepared: list[str] = []

    def fault(side: str, message: dict[str, Any]) -> None:
        if side == "head":
            raise WorkerLost("the worker was killed by SIGSEGV")
        prepared.append(message["op"])

    visits = begin(["base", "head"], fault)
    visits.visit()
    assert prepared == ["prepare"] * 3
    [(side, _)] = visits.dropped()
    assert side == "head"


def test_an_interrupt_does_not_wait_for_a_case_that_hangs(
    begin: Callable[..., Visits], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = threading.Event()

    def hang(_side: str, _message: dict[str, Any]) -> None:
        assert killed.wait(60)
        raise WorkerLost("the worker was killed by SIGKILL")

    def interrupt(_running: object, return_when: str) -> None:
        raise KeyboardInterrupt

    visits = begin(["base", "head"], hang)
    for worker in visits.workers.values():
        worker.kill = killed.set
    monkeypatch.setattr("concurrent.futures.wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        visits.visit()
    assert killed.is_set()
    assert not visits.dropped()


def test_a_side_that_is_a_hundred_times_slower_is_compared_in_blocks_of_equal_length(
    begin: Callable[..., Visits],
) -> None:
    """So that the turns of the slow side take no longer than those of the other one."""
    visits = begin(["base", "head"])
    visits.workers["base"]._seconds = lambda key: 1e-4
    windows = visits.visit()
    spent = {name: sum(window.host_seconds for window in taken) for name, taken in windows.items()}
    assert spent["base"] == pytest.approx(spent["head"])
    assert spent["head"] == pytest.approx(len(KEYS) * CASE_SECONDS, rel=0.5)
