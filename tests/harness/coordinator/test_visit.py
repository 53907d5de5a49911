"""A visit with one side, as in a run, and with two, as in a check."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from rnnbench.harness.coordinator.process import WorkerLost
from rnnbench.harness.coordinator.recorder import Recorder, VisitCut
from rnnbench.harness.coordinator.visit import CaseLost, Visitor, VisitSide
from rnnbench.store.folder import RunFolder
from rnnbench.store.records import Case, Group, Measurement
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


class Visits:
    """Sides with one worker each; `turns`: (side, case) of each window, in order of time."""

    def __init__(
        self, parent: Path, sides: Sequence[str], fault: Callable[[str, dict[str, Any]], None], *, apart: bool
    ) -> None:
        """`apart`: each side has cores of its own for what is not timed."""
        self.clock = FakeClock()
        self.untimed_cores = {name: [number if apart else 0] for number, name in enumerate(sides)}
        self.folders: list[RunFolder] = []
        self.turns: list[tuple[str, str]] = []
        self.sides = {name: self._side(parent, name, fault) for name in sides}
        self.visitor = Visitor(SETTINGS, random.Random(1), self.clock)

    def _side(self, parent: Path, name: str, fault: Callable[[str, dict[str, Any]], None]) -> VisitSide:
        def watch(message: dict[str, Any]) -> None:
            fault(name, message)
            if message["op"] == "turn":
                self.turns.append((name, message["case"]))

        folder = RunFolder.create(parent, name)
        self.folders.append(folder)
        folder.write_info(INFO)
        recorder = Recorder(folder, GROUP.cases, parent, SETTINGS)
        for case in GROUP.cases:
            observed = Measurement(case, "pending", parity="agrees").to_json()
            recorder.note_observed(case, {"ok": True, "measurement": observed})
        worker: Any = FakeWorker("0000", self.clock, watch, lambda key: CALL_SECONDS.get(name, 0.01))
        return VisitSide(worker, recorder, [0], self.untimed_cores[name])


@pytest.fixture(params=[("run",), ("base", "head")], ids=["one side", "two sides"])
def sides(request: pytest.FixtureRequest) -> tuple[str, ...]:
    names: tuple[str, ...] = request.param
    return names


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[..., Visits]]:
    opened: list[Visits] = []

    def make(
        sides: Sequence[str],
        fault: Callable[[str, dict[str, Any]], None] = lambda side, message: None,
        *,
        apart: bool = True,
    ) -> Visits:
        opened.append(Visits(tmp_path, sides, fault, apart=apart))
        return opened[-1]

    yield make
    for visits in opened:
        for folder in visits.folders:
            folder.close()


def test_all_cases_of_one_side_take_turns_with_each_other(begin: Callable[..., Visits]) -> None:
    visits = begin(["run"])
    windows = visits.visitor.visit(GROUP, visits.sides, replicate=7, case_seconds=CASE_SECONDS)["run"]
    order = [case for _, case in visits.turns]
    assert len(order) == 12
    for start in (0, 6):  # a random order of all and its mirror image
        assert sorted(order[start : start + 3]) == sorted(KEYS)
        assert order[start : start + 3] == order[start + 3 : start + 6][::-1]
    assert Counter(window.case for window in windows) == dict.fromkeys(KEYS, 2)
    assert {window.replicate for window in windows} == {7}


def test_each_case_takes_turns_with_itself_on_the_other_side(begin: Callable[..., Visits]) -> None:
    visits = begin(["base", "head"])
    visits.visitor.visit(GROUP, visits.sides, replicate=0, case_seconds=CASE_SECONDS)
    for start in range(0, len(visits.turns), 4):
        names, cases = zip(*visits.turns[start : start + 4], strict=True)
        assert len(set(cases)) == 1
        assert names in (("base", "head", "head", "base"), ("head", "base", "base", "head"))


def test_every_side_has_all_windows_in_their_order(begin: Callable[..., Visits], sides: tuple[str, ...]) -> None:
    visits = begin(sides)
    for windows in visits.visitor.visit(GROUP, visits.sides, replicate=0, case_seconds=CASE_SECONDS).values():
        assert [window.order for window in windows] == list(range(6))
        assert {window.turns for window in windows} == {6}
        assert sorted({window.case for window in windows}) == sorted(KEYS)


def test_a_lost_worker_is_told_with_its_side_and_case(begin: Callable[..., Visits], sides: tuple[str, ...]) -> None:
    side, culprit = sides[-1], GROUP.cases[1]

    def fault(name: str, message: dict[str, Any]) -> None:
        if name == side and message["op"] == "turn" and message["case"] == culprit.key:
            raise WorkerLost("the worker was killed by SIGSEGV")

    visits = begin(sides, fault)
    with pytest.raises(CaseLost) as lost:
        visits.visitor.visit(GROUP, visits.sides, replicate=0, case_seconds=CASE_SECONDS)
    assert (lost.value.side, lost.value.case, lost.value.reason) == (side, culprit, "the worker was killed by SIGSEGV")


def test_a_case_that_one_side_has_dropped_is_left_out_on_all(
    begin: Callable[..., Visits], sides: tuple[str, ...]
) -> None:
    visits = begin(sides)
    left_out: Case = GROUP.cases[0]
    visits.sides[sides[-1]].recorder.drop(left_out, "failed", "it raises")
    for windows in visits.visitor.visit(GROUP, visits.sides, replicate=0, case_seconds=CASE_SECONDS).values():
        assert {window.case for window in windows} == set(KEYS) - {left_out.key}


def test_a_visit_of_a_case_that_fails_is_cut(begin: Callable[..., Visits], sides: tuple[str, ...]) -> None:
    visits = begin(sides)
    failing = {"ok": False, "status": "failed", "reason": "it raises"}

    def fault(side: str, message: dict[str, Any]) -> None:
        if side == sides[0] and message["op"] == "turn" and message["case"] == KEYS[1]:
            raise Failing(failing)

    visits = begin(sides, fault)
    with pytest.raises(VisitCut):
        visits.visitor.visit(GROUP, visits.sides, replicate=0, case_seconds=CASE_SECONDS)
    assert [case for case in GROUP.cases if visits.sides[sides[0]].recorder.dropped(case)] == [GROUP.cases[1]]


def test_every_case_is_verified_after_the_last_window_and_before_the_cases_are_released(
    begin: Callable[..., Visits], sides: tuple[str, ...]
) -> None:
    asked: list[tuple[str, str]] = []
    visits = begin(sides, lambda side, message: asked.append((side, message["op"])))
    visits.visitor.visit(GROUP, visits.sides, replicate=0, case_seconds=CASE_SECONDS)
    turns = 12
    for side in sides:
        ops = [op for name, op in asked if name == side]
        assert ops == ["prepare"] * 3 + ["visit"] + ["turn"] * turns + ["verify"] * 3 + ["release"]


def test_a_case_that_disagrees_after_timing_fails_and_its_visit_does_not_count(
    begin: Callable[..., Visits], sides: tuple[str, ...]
) -> None:
    visits = begin(sides)
    side = visits.sides[sides[-1]]
    worker: Any = side.worker
    answer = worker.request
    worker.request = lambda message, seconds: (
        {"ok": False, "status": "failed", "reason": "parity after timing: output is off", "failure": "running"}
        if message["op"] == "verify" and message["case"]["cell"] == "vanilla"
        else answer(message, seconds)
    )
    with pytest.raises(VisitCut):
        visits.visitor.visit(GROUP, visits.sides, replicate=0, case_seconds=CASE_SECONDS)
    known = side.recorder.measurements[KEYS[0]]
    assert (known.status, known.reason) == ("failed", "parity after timing: output is off")
    for folder in visits.folders:
        assert not list(read_windows(folder.path))


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
    visits.visitor.visit(GROUP, visits.sides, replicate=0, case_seconds=CASE_SECONDS)
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
        assert message["op"] != "turn" or pins == {"base": [0], "head": [0]}
        at_work.discard(side)

    visits = begin(["base", "head"], watch, apart=apart)
    for name, side in visits.sides.items():
        side.worker.pin = lambda cores, name=name: pins.__setitem__(name, cores)  # type: ignore[method-assign, misc]
    visits.visitor.visit(GROUP, visits.sides, replicate=0, case_seconds=CASE_SECONDS)
    assert pins == visits.untimed_cores


def test_a_worker_that_is_lost_beside_another_is_told_and_the_other_goes_on(begin: Callable[..., Visits]) -> None:
    prepared: list[str] = []

    def fault(side: str, message: dict[str, Any]) -> None:
        if side == "head":
            raise WorkerLost("the worker was killed by SIGSEGV")
        prepared.append(message["op"])

    visits = begin(["base", "head"], fault)
    with pytest.raises(CaseLost) as lost:
        visits.visitor.visit(GROUP, visits.sides, replicate=0, case_seconds=CASE_SECONDS)
    assert lost.value.side == "head"
    assert prepared == ["prepare"] * 3
    assert not any(side.recorder.dropped(case) for side in visits.sides.values() for case in GROUP.cases)


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
    for side in visits.sides.values():
        side.worker.kill = killed.set  # type: ignore[method-assign]
    monkeypatch.setattr("concurrent.futures.wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        visits.visitor.visit(GROUP, visits.sides, replicate=0, case_seconds=CASE_SECONDS)
    assert killed.is_set()


def test_a_side_that_is_a_hundred_times_slower_is_compared_in_blocks_of_equal_length(
    begin: Callable[..., Visits],
) -> None:
    """So that the turns of the slow side take no longer than those of the other one."""
    visits = begin(["base", "head"])
    quick: Any = visits.sides["base"].worker
    quick._seconds = lambda key: 1e-4
    windows = visits.visitor.visit(GROUP, visits.sides, replicate=0, case_seconds=CASE_SECONDS)
    spent = {name: sum(window.host_seconds for window in taken) for name, taken in windows.items()}
    assert spent["base"] == pytest.approx(spent["head"])
    assert spent["head"] == pytest.approx(len(KEYS) * CASE_SECONDS, rel=0.5)
