"""Visits with one side, as in a run, and with two, as in a check, and the observation before them."""

import errno
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rnnbench.harness.coordinator import visit
from rnnbench.harness.coordinator.process import lost
from rnnbench.harness.coordinator.recorder import Recorder
from rnnbench.harness.coordinator.visit import Visitor
from rnnbench.harness.protocol import Reply
from rnnbench.harness.turns.schedule import LEAST_BLOCKS
from rnnbench.store.folder import RunFolder
from rnnbench.store.frames import read_windows
from rnnbench.store.parity import AGREES
from rnnbench.store.records import Case, Group, Measurement, Window
from rnnbench.suite.file import Settings
from tests.doubles import workload as small
from tests.doubles.fakes import Failing, FakeClock, FakeWorker
from tests.doubles.stored import INFO, rows

GROUP = Group(small.workload(), (small.case("vanilla"), small.case("combined"), small.reference_case()))
KEYS = [case.key for case in GROUP.cases]
CASE_SECONDS = 0.04
SETTINGS = Settings(window_seconds=0.01)
CALL_SECONDS = {"slow head": 0.2}  # where it is not 10 ms
FAILED = {"ok": False, "status": "failed", "reason": "it raises"}


class Visits(Visitor):
    """Visits on these sides; `turns`: (side, case) of each window, in order of time."""

    def __init__(
        self,
        parent: Path,
        sides: Sequence[str],
        fault: Callable[[str, dict[str, Any]], None],
        cases: Sequence[Case] = (),
    ) -> None:
        """`cases` are not observed yet; without them, those of the group are."""
        super().__init__(SETTINGS, clock := FakeClock(), 1)
        self.clock, self._fault, self.started = clock, fault, list[FakeWorker]()
        self.folders = {name: RunFolder.create(parent, name) for name in sides}
        self.turns: list[tuple[str, str]] = []
        self.recorders = {name: self._recorder(folder, parent, cases) for name, folder in self.folders.items()}
        self.workers: dict[str, Any] = {name: self._worker(name, "0") for name in sides}

    def start(self) -> None:
        """Start fresh workers, of which nothing is lost."""
        self._fault = lambda side, message: None
        self.workers = {name: self._worker(name, "1") for name in self.folders}

    def start_one(self, name: str, side: str) -> Any:
        """Start a worker that observes."""
        return self._worker(side, name)

    def windows(self) -> dict[str, list[Window]]:
        """Visit the group once."""
        return self.visit(GROUP, CASE_SECONDS).windows

    def dropped(self) -> set[tuple[str, str]]:
        """The cases that are left out from now on, with their sides."""
        return {
            (side, case.key) for side, known in self.recorders.items() for case in GROUP.cases if known.dropped(case)
        }

    def _recorder(self, folder: RunFolder, parent: Path, cases: Sequence[Case]) -> Recorder:
        folder.write_info(INFO)
        recorder = Recorder(folder, cases or GROUP.cases, parent, SETTINGS)
        for case in () if cases else GROUP.cases:
            observed = Measurement(case, "pending", parity=AGREES).to_json()
            recorder.note_observed(case, {"ok": True, "measurement": observed})
        return recorder

    def _worker(self, side: str, name: str) -> FakeWorker:
        def watch(message: dict[str, Any]) -> None:
            self._fault(side, message)
            if message["op"] == "turn":
                self.turns.append((side, message["case"]))

        self.started.append(FakeWorker(name, self.clock, watch, lambda key: CALL_SECONDS.get(side, 0.01)))
        return self.started[-1]


@pytest.fixture(params=[("run",), ("base", "head")], ids=["one side", "two sides"])
def sides(request: pytest.FixtureRequest) -> tuple[str, ...]:
    names: tuple[str, ...] = request.param
    return names


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Visits]]:
    """Visits of these sides; `apart`: each side has cores of its own for what is not timed."""
    opened: list[Visits] = []
    threads = threading.active_count()

    def make(
        sides: Sequence[str],
        fault: Callable[[str, dict[str, Any]], None] = lambda side, message: None,
        cases: Sequence[Case] = (),
        *,
        apart: bool = True,
    ) -> Visits:
        monkeypatch.setattr(visit, "allowed_cores", lambda: [0, 1])
        monkeypatch.setattr(visit, "core_choices", lambda device, number: [[9]])
        monkeypatch.setattr(visit, "preparing_cores", lambda number, sides: [[n if apart else 9] for n in range(sides)])
        opened.append(Visits(tmp_path, sides, fault, cases))
        return opened[-1]

    yield make
    for visits in opened:
        for folder in visits.folders.values():
            folder.close()
    assert threading.active_count() == threads


def test_all_cases_of_one_side_take_turns_with_each_other(begin: Callable[..., Visits]) -> None:
    visits = begin(["run"])
    visits.replicates = 7
    windows = visits.windows()["run"]
    order = [case for _, case in visits.turns]
    assert len(order) == 24
    for start in range(0, 24, 6):  # a random order of all and its mirror image
        assert sorted(order[start : start + 3]) == sorted(KEYS)
        assert order[start : start + 3] == order[start + 3 : start + 6][::-1]
    assert Counter(window.case for window in windows) == dict.fromkeys(KEYS, 2)
    assert {(window.replicate, window.turns) for window in windows} == {(7, 6)}
    assert [window.order for window in windows] == list(range(6))


def test_each_case_takes_turns_with_itself_on_the_other_side(begin: Callable[..., Visits]) -> None:
    visits = begin(["base", "head"])
    visits.windows()
    for start in range(0, len(visits.turns), 4):
        names, cases = zip(*visits.turns[start : start + 4], strict=True)
        assert len(set(cases)) == 1
        assert names in (("base", "head", "head", "base"), ("head", "base", "base", "head"))


LOST = lost("the worker was killed by SIGSEGV")


@pytest.mark.parametrize("op", ["prepare", "turn", "verify"])
@pytest.mark.parametrize("reply", [LOST, FAILED])
def test_a_case_that_fails_or_loses_its_worker_is_dropped_there_and_fresh_workers_repeat_the_visit(
    begin: Callable[..., Visits], sides: tuple[str, ...], op: str, reply: Reply
) -> None:
    culprit = GROUP.cases[1]

    def fault(name: str, message: dict[str, Any]) -> None:
        if name == sides[-1] and message["op"] == op and message["case"] in (culprit.key, culprit.axes()):
            raise Failing(reply)

    visits = begin(sides, fault)
    windows = visits.windows()
    for side, folder in visits.folders.items():
        kept = [(window.worker, window.order, window.case) for window in read_windows(folder.path, KEYS)]
        assert kept == [("1", window.order, window.case) for window in windows[side]]
        assert {window.case for window in windows[side]} == set(KEYS) - {culprit.key}
    assert len(visits.started) == 2 * len(sides)
    assert visits.dropped() == {(sides[-1], culprit.key)}
    notes = [f"a worker was lost at {culprit.key}: {reply['reason']}"] if reply is LOST else []
    assert [*visits.recorders[sides[-1]].notes] == notes


def test_every_case_is_verified_after_the_last_window_and_before_the_cases_are_released(
    begin: Callable[..., Visits], sides: tuple[str, ...]
) -> None:
    asked: list[tuple[str, str]] = []
    visits = begin(sides, lambda side, message: asked.append((side, message["op"])))
    visits.windows()
    turns = 3 * LEAST_BLOCKS
    for side in sides:
        ops = [op for name, op in asked if name == side]
        assert ops == ["prepare"] * 3 + ["visit"] + ["turn"] * turns + ["verify"] * 3 + ["release"]


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
    visits.windows()
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
    visits.windows()
    assert sorted(pins.values()) == ([[0], [1]] if apart else [[9], [9]])


def test_an_interrupt_does_not_wait_for_a_case_that_hangs(
    begin: Callable[..., Visits], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = threading.Event()

    def hang(_side: str, _message: dict[str, Any]) -> None:
        assert killed.wait(60)
        raise Failing(lost("the worker was killed by SIGKILL"))

    def interrupt(_running: object) -> None:
        raise KeyboardInterrupt

    visits = begin(["base", "head"], hang)
    for worker in visits.workers.values():
        worker.kill = killed.set
    monkeypatch.setattr("concurrent.futures.as_completed", interrupt)
    with pytest.raises(KeyboardInterrupt):
        visits.windows()
    assert killed.is_set()
    assert not visits.dropped()


def test_a_side_that_is_a_hundred_times_slower_is_compared_in_blocks_of_equal_length(
    begin: Callable[..., Visits],
) -> None:
    """So that the turns of the slow side take no longer than those of the other one."""
    visits = begin(["base", "head"])
    visits.workers["base"]._seconds = lambda key: 1e-4
    windows = visits.windows()
    spent = {name: sum(window.host_seconds for window in taken) for name, taken in windows.items()}
    assert spent["base"] == pytest.approx(spent["head"])
    assert spent["head"] == pytest.approx(len(KEYS) * LEAST_BLOCKS * 0.01, rel=0.5)


CASES = [small.case("gru", batch_size=size) for size in range(1, 13)]


def observe(
    visits: Visits, on_done: Callable[[int], None] = lambda done: None, **options: Any
) -> tuple[Any, list[tuple[int, int]]]:
    """Observe the twelve cases with two workers; returns what is known of them and the progress that was reported."""
    progress = list[tuple[int, int]]()

    def tell(done: int, total: int) -> None:
        progress.append((done, total))
        on_done(done)

    try:
        visits.observe_cases(CASES, tell, **options)
    finally:
        assert all(worker.closed for worker in visits.started[1:])
    return rows(visits.folders["run"].path).set_index("case"), progress


def test_every_case_is_observed_once_by_the_workers_together(begin: Callable[..., Visits]) -> None:
    frame, progress = observe(begin(["run"], cases=CASES))
    assert frame["parameters"].tolist() == [7] * len(CASES)
    assert set(frame["status"]) == {"pending"}
    assert progress == [(done, len(CASES)) for done in range(len(CASES) + 1)]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EMFILE, "Too many open files")])
def test_an_interrupt_or_an_error_of_the_system_leaves_no_worker_and_no_thread(
    begin: Callable[..., Visits], error: BaseException
) -> None:
    def fail(done: int) -> None:
        if done == 2:
            raise error

    with pytest.raises(type(error)):
        observe(begin(["run"], cases=CASES), fail)


@pytest.mark.parametrize(
    ("cases", "cores", "threads", "workers"),
    [(3, 2, 1, 1), (100, 2, 1, 2), (100, 64, 1, 8), (9, 64, 1, 2), (100, 2, 2, 1), (100, 64, 16, 4)],
)
def test_more_workers_start_only_where_they_pay(
    monkeypatch: pytest.MonkeyPatch, cases: int, cores: int, threads: int, workers: int
) -> None:
    monkeypatch.setattr(visit, "allowed_cores", lambda: [*range(cores)])
    assert visit.observers([small.case("gru", threads=threads)] * cases, 1) == workers
