"""Pairs of workers whose costs and deaths the test sets."""

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from rnnbench.check import paired
from rnnbench.check.paired import PairedRunner, seconds_of_turns
from rnnbench.check.same_code import SameCode, Used
from rnnbench.check.sides import Side
from rnnbench.errors import UserError
from rnnbench.harness.coordinator.origin import Origin
from rnnbench.harness.coordinator.process import WorkerStart, lost
from rnnbench.harness.protocol import PROTOCOL_VERSION, Reply
from rnnbench.store.folder import RunFolder
from rnnbench.store.parity import AGREES, UNKNOWN
from rnnbench.store.records import NOT_REACHED, Case, Group, Measurement
from rnnbench.suite import suites
from rnnbench.suite.file import Settings
from tests.doubles import workload as small
from tests.doubles.fake_nvml import Driver
from tests.doubles.fakes import FakeClock, FakeWorker
from tests.doubles.stored import INFO

GROUPS = [
    Group(small.workload(batch_size=size), tuple(small.case(cell, batch_size=size) for cell in ("vanilla", "combined")))
    for size in (1, 2, 3)
]
CASES = [case for group in GROUPS for case in group.cases]
HEAD_COSTS = 1.05
BUDGET = 60.0


class Bench:
    """A runner on fake workers; `workers`: the side, the layout and the worker of each start."""

    def __init__(
        self,
        parent: Path,
        fault: Any = lambda side, message: None,
        protocol: int = PROTOCOL_VERSION,
        worker: type[FakeWorker] = FakeWorker,
        **options: Any,
    ) -> None:
        self.clock = FakeClock()
        self.workers: list[tuple[str, int | None, FakeWorker]] = []
        self.first: Any = None  # what the worker that was started last is asked first
        self.origins: list[Any] = []  # from which each is forked
        suite = suites.read_suite("quick")

        def start(name: str, side: Side, start: WorkerStart) -> Any:
            origin: Any = start.origin
            self.first = start.first
            self.origins.append(origin)
            seconds = 0.01 * (HEAD_COSTS if side.name == "head" else 1)
            fake = worker(name, self.clock, partial(fault, side.name), lambda key: seconds)
            fake.protocol = protocol
            fake.is_forked = origin is not None and not origin.fault
            self.workers.append((side.name, start.layout, fake))
            return fake

        sides = [Side(name, f"the {name}", suite, **options) for name in ("base", "head")]
        self.settings = Settings(window_seconds=0.01)
        self._start = start
        self.folders = {name: RunFolder.create(parent, name) for name in ("base", "head")}
        for folder in self.folders.values():
            folder.write_info(INFO)
        self.runner = self.runner_of(CASES, sides)

    def runner_of(self, cases: Sequence[Case], sides: Sequence[Side]) -> PairedRunner:
        """A runner of these cases that writes into the folders."""
        runner = PairedRunner(sides, cases, self.settings, start_worker=self._start, now=self.clock, seed=1)
        runner.record(self.folders)
        for case in cases:
            observed = Measurement(case, "pending", parity=AGREES).to_json()
            for recorder in runner.recorders.values():
                recorder.note_observed(case, {"ok": True, "measurement": observed})
        return runner

    def close(self) -> None:
        self.runner.close()
        for folder in self.folders.values():
            folder.close()


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def make(*arguments: Any, **options: Any) -> Bench:
        benches.append(Bench(tmp_path, *arguments, **options))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


@pytest.mark.parametrize("mode", [0, 3])
def test_a_card_that_takes_one_process_is_refused_before_a_pair_starts(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: int
) -> None:
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    driver = Driver().install(monkeypatch)
    driver.cards[0].mode = mode
    bench = make_bench()
    runner = bench.runner_of([small.case("vanilla", device="cuda")], [*bench.runner.sides.values()])
    if mode:
        with pytest.raises(UserError, match="the compute mode of cuda is EXCLUSIVE_PROCESS"):
            runner.start()
        assert bench.workers == []
        return
    runner.start()
    assert [note for note in runner.notes if "half of its memory" in note] == [
        "both sides use cuda at once, so each has half of its memory: 42.9 of 85.9 GB"
    ]
    runner.close()


class OnlyStarted(FakeWorker):
    """A worker that can't use CUDA if it was forked, of which torch knows nothing."""

    cards = {"cuda": "aaaa"}  # noqa: RUF012 - as in the class it is of

    def request(self, message: dict[str, Any], deadline_seconds: float) -> dict[str, Any]:
        if self.is_forked and message["op"] == "device":
            return {"ok": False, "status": "failed", "reason": "AcceleratorError: CUDA error: initialization error"}
        return super().request(message, deadline_seconds)


@pytest.mark.parametrize("is_known", [False, True])
def test_a_pair_that_was_forked_and_can_not_use_its_card_is_started_again_and_no_other_one_is_forked(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, is_known: bool
) -> None:
    Driver().install(monkeypatch)
    bench = make_bench(worker=OnlyStarted)
    groups = [Group(small.workload(device="cuda"), (small.case("vanilla", device="cuda"),))]
    runner = bench.runner_of(groups[0].cases, [*bench.runner.sides.values()])
    if is_known:  # to the origin, which forks none then
        monkeypatch.setattr(Origin, "fault", "cuda was used", raising=False)
        monkeypatch.setattr(Origin, "__init__", lambda *_, **options: None)
        monkeypatch.setattr(Origin, "close", lambda _: None)
    for _ in range(2):
        runner.replicate(groups, BUDGET)
    forked = [worker.is_forked for _, _, worker in bench.workers]
    assert forked == ([False] * 4 if is_known else [True] * 2 + [False] * 4)
    assert all(worker.closed for _, _, worker in bench.workers)
    why = "cuda was used" if is_known else "a forked worker could not use cuda: AcceleratorError: CUDA error: init"
    [note] = [note for note in runner.notes if "takes seconds longer than a fork" in note]
    assert why in note
    assert len(runner.ratios[groups[0].cases[0].key]) == 2


def test_each_pair_is_fresh_with_a_layout_of_its_own_and_its_ratios_are_those_of_the_costs(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench()
    for _ in range(3):
        bench.runner.replicate(GROUPS, BUDGET)
    for case in CASES:
        ratios = bench.runner.ratios[case.key]
        assert [ratio.pair for ratio in ratios] == [0, 1, 2]
        assert [log for ratio in ratios for log in (ratio.low, ratio.mean)] == pytest.approx([math.log(HEAD_COSTS)] * 6)
    layouts = [layout for _, layout, _ in bench.workers]
    assert layouts[::2] == layouts[1::2]
    assert len(set(layouts)) == 3
    assert all(worker.closed for _, _, worker in bench.workers)


class PulseWorker(FakeWorker):
    """A worker that has seen pulses: the faster, the later it was started."""

    given: ClassVar[list[float | None]] = []

    def _visit(self, message: dict[str, Any]) -> dict[str, Any]:
        self.given.append(message["best_pulse"])
        return super()._visit(message) | {"best_pulse": 8e-6 if message["side"] == "base" else 5e-6}


@pytest.mark.parametrize(("pythons", "given"), [(("old", "new"), [5e-6, 8e-6]), (("one", "one"), [5e-6, 5e-6])])
def test_sides_that_run_the_same_interpreter_share_their_best_pulse_and_others_have_one_each(
    make_bench: Callable[..., Bench], pythons: tuple[str, str], given: list[float]
) -> None:
    bench = make_bench(worker=PulseWorker)
    suite = suites.read_suite("quick")
    sides = [Side(name, name, suite, python=python) for name, python in zip(("base", "head"), pythons, strict=True)]
    runner = bench.runner_of(CASES, sides)
    PulseWorker.given.clear()
    for _ in range(2):
        runner.replicate(GROUPS[:1], BUDGET)
    assert PulseWorker.given[:2] == [None, None]
    assert sorted(PulseWorker.given[2:], key=str) == sorted(given, key=str)
    runner.close()


def test_a_check_compares_pulses_with_the_best_one_of_earlier_checks(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(paired, "private_folder", lambda: tmp_path)
    bench = make_bench(worker=PulseWorker)
    first, later = (bench.runner_of(CASES, [*bench.runner.sides.values()]) for _ in range(2))
    for runner, given in ((first, [None, None]), (later, [5e-6, 5e-6])):
        PulseWorker.given.clear()
        runner.replicate(GROUPS[:1], BUDGET)
        assert PulseWorker.given == given
        runner.end()


def test_a_file_of_the_other_side_that_only_a_late_call_uses_stops_the_check(
    make_bench: Callable[..., Bench], tmp_path: Path
) -> None:
    for name in ("base", "head"):
        (tmp_path / "trees" / name).mkdir(parents=True)
        (tmp_path / "trees" / name / "mypkg.py").write_text(name)
    used: dict[str, Any] = {}

    class Late(FakeWorker):
        def request(self, message: dict[str, Any], deadline_seconds: float) -> dict[str, Any]:
            return super().request(message, deadline_seconds) | used

    bench = make_bench(worker=Late)
    sides = [replace(side, tree=tmp_path / "trees" / name) for name, side in bench.runner.sides.items()]
    bench.runner = bench.runner_of(CASES, sides)
    bench.runner.replicate(GROUPS, BUDGET)
    used["opened"] = [str(tmp_path / "trees/head/mypkg.py")]
    with pytest.raises(UserError, match=r"^base the base: .*head/mypkg\.py of the head was opened"):
        bench.runner.replicate(GROUPS, BUDGET)


def test_a_further_replicate_is_expected_to_take_as_long_as_the_last(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    for _ in range(2):  # before the first, nobody knows how long it takes to prepare a case
        bench.runner.replicate(GROUPS, BUDGET - bench.clock.seconds)
    expected, before = bench.runner.expected_seconds(GROUPS), bench.clock.seconds
    bench.runner.replicate(GROUPS, BUDGET - before)
    assert bench.clock.seconds - before == pytest.approx(expected, rel=0.05)
    assert bench.runner.expected_seconds(GROUPS[:1]) < bench.runner.expected_seconds(GROUPS)


@pytest.mark.parametrize(
    ("seconds_left", "timed"),
    [
        (100.0, 4.0),  # twenty pairs of five seconds
        (20.0, 1.0),  # ten pairs, half of whose time is clocked
        (10.0, 0.25),  # eight pairs
    ],
)
def test_half_of_a_pair_is_clocked_unless_it_may_be_more_or_there_would_be_fewer_than_eight(
    seconds_left: float, timed: float
) -> None:
    assert seconds_of_turns(1.0, seconds_left, 0) == pytest.approx(timed)
    assert seconds_of_turns(1.0, math.inf, 0) == math.inf


def test_a_base_that_speaks_another_protocol_is_refused_in_words(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(protocol=1)
    with pytest.raises(UserError, match=r"base \(the base\): the worker uses protocol 1, but this rnnbench uses"):
        bench.runner.start()


def test_a_worker_that_can_not_start_is_told_with_the_revision_in_place_of_the_temporary_folder(
    make_bench: Callable[..., Bench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = lost(f"the worker exited with 1: {tmp_path}/rnnbench/harness/worker/loop.py is broken")
    monkeypatch.setattr(FakeWorker, "wait_ready", lambda worker: reply)
    bench = make_bench(tree=tmp_path, revision="main")
    with pytest.raises(UserError, match=r"with 1: main:rnnbench/harness/worker/loop\.py is broken"):
        bench.runner.start()


def test_imports_that_a_worker_does_not_survive_are_left_to_the_cases_that_need_them(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ready(worker: FakeWorker) -> Reply:
        return lost("the worker was killed by SIGSEGV") if bench.first else {"protocol": PROTOCOL_VERSION}

    monkeypatch.setattr(FakeWorker, "wait_ready", ready)
    bench = make_bench()
    own = Case("mine.py:Mine", "loop", small.workload())
    bench.runner = bench.runner_of([own], [*bench.runner.sides.values()])
    bench.runner.start()
    assert [worker.closed for _, _, worker in bench.workers] == [True, True, False, False]


def test_a_pair_in_which_an_import_failed_ends_and_the_next_one_leaves_out_its_package(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ready(worker: FakeWorker) -> Reply:
        broken = [cell for cell in bench.first["cells"] if cell == "pkg.cells:Mine"]
        worker.first_reply = {"ok": True, "unimportable": "".join(broken)}
        return {"protocol": PROTOCOL_VERSION}

    monkeypatch.setattr(FakeWorker, "wait_ready", ready)
    bench = make_bench()
    cells = ("mine.py:Mine", "pkg.cells:Mine", "pkg.other:Mine")
    own = [Case(cell, "loop", small.workload()) for cell in cells]
    bench.runner = bench.runner_of(own, [*bench.runner.sides.values()])
    bench.runner.start()
    assert [worker.closed for _, _, worker in bench.workers] == [True, True, False, False]
    assert bench.first["cells"] == ["mine.py:Mine"]


def test_a_worker_ends_if_the_other_of_its_pair_can_not_start(make_bench: Callable[..., Bench]) -> None:
    class Second(FakeWorker):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            if bench.workers:
                raise UserError("no worker can start: Cannot allocate memory")

    bench = make_bench(worker=Second)
    with pytest.raises(UserError, match="Cannot allocate memory"):
        bench.runner.start()
    bench.runner.close()
    [(_, _, worker)] = bench.workers
    assert worker.closed


def test_reasons_name_the_revision_and_keep_the_kind_of_failure(
    make_bench: Callable[..., Bench], tmp_path: Path
) -> None:
    class Broken(FakeWorker):
        def request(self, message: dict[str, Any], deadline_seconds: float) -> dict[str, Any]:
            failed = {"ok": False, "status": "failed", "reason": f"{tmp_path}/a.py", "failure": "loading"}
            return failed | {"imported": {"a": f"{tmp_path}/a.py"}}

    bench = make_bench(tree=tmp_path, revision="main", worker=Broken)
    bench.runner.observe(GROUPS)
    recorder = bench.runner.recorders["base"]
    measurement = recorder.measurements[CASES[0].key]
    assert (measurement.status, measurement.reason, measurement.failure) == ("failed", "main:a.py", "loading")
    assert recorder.files.imported == {"a": f"{tmp_path}/a.py"}
    stored = bench.folders["base"].path / "measurements.jsonl"
    assert '"failure":"loading"' in stored.read_text()


def on(device: str) -> list[Group]:
    return [Group(small.workload(device=device), tuple(small.case(cell, device=device) for cell in CELLS))]


CELLS = ("vanilla", "combined", "deep", "deep-notebook")


def test_on_a_device_that_cases_need_alone_one_side_is_observed_after_the_other(
    make_bench: Callable[..., Bench],
) -> None:
    observed: list[str] = []
    bench = make_bench(lambda side, message: observed.append(side) if message["op"] == "observe" else None)
    groups = on("cuda")
    bench.runner = bench.runner_of(groups[0].cases, [*bench.runner.sides.values()])
    bench.runner.start()
    progress: list[tuple[int, int]] = []
    bench.runner.observe(groups, lambda done, total: progress.append((done, total)))
    assert observed == ["base"] * len(CELLS) + ["head"] * len(CELLS)
    assert [done for done, _ in progress] == [*range(9)]
    assert {total for _, total in progress} == {8}
    assert all(worker.closed for _, _, worker in bench.workers)
    assert len(bench.workers) == 2


class Asked(FakeWorker):
    """Tells of each case that it runs one file, and keeps what it was asked."""

    asked: ClassVar[list[tuple[str, str]]] = []

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        if message["op"] in ("reach", "observe"):
            self.asked.append((message["op"], Case.from_axes(message["case"]).key))
        code = {"ok": True, "code": ["mine.py:Mine 1"], "doubts": []}
        return code if message["op"] == "reach" else super()._answer(message)


@pytest.fixture
def changed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The files that differ, which the test may add to, and their kinds; no worker has used others."""
    files: dict[str, str] = {}
    monkeypatch.setattr(paired, "changed_files", lambda base, head: files)
    monkeypatch.setattr(paired, "used_files", lambda *_: Used(frozenset(), frozenset()))
    monkeypatch.setattr(paired, "with_used", lambda changed, *_: changed)
    return files


@pytest.mark.parametrize(("kind", "times"), [("data", 1), ("python", 2)])
def test_a_side_is_asked_about_half_of_the_cases_if_only_documents_have_changed(
    make_bench: Callable[..., Bench], changed: dict[str, str], kind: str, times: int
) -> None:
    bench = make_bench(worker=Asked)
    Asked.asked.clear()
    changed["README.md"] = kind
    bench.runner.start()
    bench.runner.find_same(CASES)
    assert Counter(key for _, key in Asked.asked) == {case.key: times for case in CASES}
    assert bench.runner.same.cases == {case.key for case in CASES}


class Unable(FakeWorker):
    """Fails where it is asked what a case runs, and not in a process apart."""

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        failed = {"ok": False, "status": "failed", "reason": "a case has ended the worker"}
        return failed if message["op"] == "reach" else super()._answer(message)


@pytest.mark.parametrize("kind", ["data", "python"])
def test_a_worker_that_failed_where_it_was_asked_is_ended_and_all_cases_are_timed(
    make_bench: Callable[..., Bench], changed: dict[str, str], kind: str
) -> None:
    bench = make_bench(worker=Unable)
    changed["file"] = kind
    bench.runner.start()
    bench.runner.find_same(CASES)
    assert bench.runner.same.cases == frozenset()
    assert all(worker.closed for _, _, worker in bench.workers)


def test_if_only_the_suite_has_changed_no_case_is_asked_but_each_side_tells_the_files_that_it_used(
    make_bench: Callable[..., Bench], changed: dict[str, str]
) -> None:
    asked: list[tuple[str, str]] = []
    bench = make_bench(lambda side, message: asked.append((side, message["op"])))
    assert bench.runner.same == SameCode()  # nobody was asked yet
    changed["mine.toml"] = "suite"
    bench.runner.start()
    asked.clear()
    bench.runner.find_same(CASES)
    assert sorted(asked) == [("base", "release"), ("head", "release")]
    assert bench.runner.same.cases == {case.key for case in CASES}


@pytest.mark.parametrize(("has_trees", "doubt"), [(False, ""), (True, ""), (True, "torch 3 is asked for")])
def test_requirements_that_changed_are_compared_if_both_sides_have_a_tree_and_may_leave_no_case_the_same(
    make_bench: Callable[..., Bench],
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, str],
    tmp_path: Path,
    has_trees: bool,
    doubt: str,
) -> None:
    compared: list[Any] = []

    def answer(*given: Any) -> SimpleNamespace:
        compared.append(given)
        return SimpleNamespace(notes=["scipy: 1.0 -> 1.1"], doubt=doubt)

    monkeypatch.setattr(paired, "compared", answer)
    bench = make_bench(worker=Asked, **({"tree": tmp_path} if has_trees else {}))
    changed |= {"requirements.txt": "packaging", "README.md": "data"}
    bench.runner.notes.append("an older note")
    bench.runner.start()
    bench.runner.find_same(CASES)
    assert [given[2] for given in compared] == ([["requirements.txt"]] if has_trees else [])
    assert bench.runner.notes == [*(["scipy: 1.0 -> 1.1"] if has_trees else []), "an older note"]
    assert bool(bench.runner.same.cases) is not bool(doubt)


def test_workers_that_count_are_started_on_each_side_in_a_layout_of_their_own(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    bench.runner.start()
    counters = bench.runner.counters()
    assert [*counters] == ["base", "head"]
    for start, building in counters.values():
        start()
        assert building.request("observe", CASES[0])["op"] == "observe"
    assert [side for side, _, _ in bench.workers[2:]] == ["base", "head"]
    assert len({layout for _, layout, _ in bench.workers}) == 2


@pytest.mark.parametrize(("pythons", "is_forked"), [(("one", "one"), True), (("old", "new"), False)])
def test_workers_of_one_interpreter_are_forked_from_one_origin_and_others_are_not(
    make_bench: Callable[..., Bench], pythons: tuple[str, str], is_forked: bool
) -> None:
    bench, suite = make_bench(), suites.read_suite("quick")
    sides = [Side(name, name, suite, python=python) for name, python in zip(("base", "head"), pythons, strict=True)]
    runner = bench.runner_of(CASES, sides)
    runner.start()
    first, second = bench.origins
    assert first is second
    assert (first is not None) is (is_forked and sys.platform == "linux")
    runner.close()


@pytest.mark.parametrize(("left", "observed"), [(0.0, 2), (100.0, 6)])
def test_of_cases_that_share_a_changed_definition_one_is_observed_and_the_others_if_there_is_time(
    make_bench: Callable[..., Bench], tmp_path: Path, left: float, observed: int
) -> None:
    bench = make_bench(worker=Asked)
    Asked.asked.clear()
    for recorder in bench.runner.recorders.values():
        for case in CASES:
            recorder.drop(case, "pending", "")
            recorder.measurements[case.key] = replace(recorder.measurements[case.key], parity=UNKNOWN)
    bench.runner.definitions = {case.key: frozenset({case.cell}) for case in CASES}
    bench.runner.observe(GROUPS, seconds_left=lambda: left)
    assert len({key for _, key in Asked.asked}) == observed
    not_reached = [case for case in CASES if bench.runner.recorders["head"].unobserved(case)]
    assert len(not_reached) == 6 - observed
    reasons = {bench.runner.recorders["head"].measurements[case.key].reason for case in not_reached}
    assert reasons <= {NOT_REACHED}


def test_before_the_first_pair_its_seconds_are_guessed(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    guessed = bench.runner.expected_seconds(GROUPS)
    assert 0.0 < guessed < bench.runner.expected_seconds([*GROUPS, *GROUPS])


def test_a_note_shows_once_by_which_call_a_cell_was_built(make_bench: Callable[..., Bench]) -> None:
    recorder = make_bench().runner.recorders["head"]
    for call in ("Mine(hidden_size=8)", "Mine(hidden_size=16)"):
        recorder.note_prepared(CASES[0], {"built_by": call, "warmup_windows": 1})
    assert [*recorder.notes] == [f"{CASES[0].cell} was built by Mine(hidden_size=8)"]
