"""Jobs on the cards of one machine, which NVML's fake driver lists: which card and cores each gets, and how it ends."""

import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pynvml  # type: ignore[import-untyped]
import pytest

from rnnbench.errors import Interrupted, UserError
from rnnbench.harness.machine import cores
from rnnbench.slurm import cards, queue, sweep
from rnnbench.slurm.cards import Cards
from rnnbench.slurm.job import UNLIKE, measure_part
from rnnbench.slurm.sweep import JobRequest, Watch, refuse_numbers, run_by_slurm
from rnnbench.store.folder import RunFolder, parts, read_info
from rnnbench.store.records import Group
from rnnbench.suite import suites
from rnnbench.suite.file import Settings
from tests.doubles import workload as small
from tests.doubles.fake_nvml import FIRST, SECOND, Driver
from tests.doubles.stored import INFO, rows

CARDS = [f"GPU-{FIRST}", f"GPU-{SECOND}"]


class FakeProcess:
    """A job that ends when the test says so; told to end, it does, unless it hangs."""

    def __init__(self, command: Sequence[str], env: dict[str, str], hangs: bool) -> None:
        self.command, self.env, self.hangs = command, env, hangs
        self.code: int | None = None
        self.signals: list[str] = []

    def poll(self) -> int | None:
        return self.code

    def wait(self, seconds: float | None = None) -> int | None:
        if self.code is None and seconds is not None:
            raise subprocess.TimeoutExpired(self.command, seconds)
        return self.code

    def terminate(self) -> None:
        self._told("terminate", None if self.hangs else 1)

    def kill(self) -> None:
        self._told("kill", -9)

    def _told(self, how: str, code: int | None) -> None:
        if self.code is None:
            self.signals.append(how)
            self.code = code


class Machine:
    """Starts fake processes on a machine with two cards."""

    def __init__(self) -> None:
        self.started: list[FakeProcess] = []
        self.hangs = False
        self.at_start: Callable[[FakeProcess], None] = lambda process: None

    def start(self, command: Sequence[str], *, env: dict[str, str], **_: Any) -> Any:
        self.started.append(FakeProcess(command, env, self.hangs))
        self.at_start(self.started[-1])
        return self.started[-1]


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    driver = Driver().install(monkeypatch)
    cores._grades.cache_clear()
    monkeypatch.setattr(cores, "allowed_cores", lambda: list(range(8)))
    monkeypatch.setattr(cores, "SYSTEM", Path("/nowhere"))
    driver.cards[0].near, driver.cards[1].near = range(4), range(4, 8)
    return driver


@pytest.fixture
def machine(driver: Driver) -> Machine:
    return Machine()


@pytest.fixture
def jobs(machine: Machine) -> Cards:
    jobs = Cards(machine.start)
    jobs.require()
    return jobs


NO_OPTIONS: dict[str, Any] = {"additional_parameters": {}}


def submit(jobs: Cards, folder: Path, part: str = "p00000", **options: str) -> str:
    return jobs.submit(folder, f"run.{part}", measure_part, ("run", part, "."), {"additional_parameters": options})


def test_each_card_runs_one_job_at_a_time_which_sees_no_other_card_and_has_the_cores_near_it(
    jobs: Cards, machine: Machine, tmp_path: Path
) -> None:
    assert [submit(jobs, tmp_path, part) for part in ("p00000", "p00001")] == ["0", "1"]
    with pytest.raises(queue.Busy, match="no card is free"):
        submit(jobs, tmp_path, "p00002")
    with pytest.raises(queue.SlurmFault, match="no card is left"):
        submit(jobs, tmp_path, "p00002", exclude=",".join(CARDS))
    assert [process.env["CUDA_VISIBLE_DEVICES"] for process in machine.started] == CARDS
    assert [process.command[-2:] for process in machine.started] == [[CARDS[0], "0,1,2,3"], [CARDS[1], "4,5,6,7"]]
    machine.started[1].code = 0
    assert submit(jobs, tmp_path, "p00002") == "2"
    assert machine.started[2].env["CUDA_VISIBLE_DEVICES"] == CARDS[1]
    assert [(state.job, state.state, state.node) for state in jobs.states("run")] == [
        ("0", "RUNNING", CARDS[0]),
        ("1", "COMPLETED", CARDS[1]),
        ("2", "RUNNING", CARDS[1]),
    ]


@pytest.mark.parametrize(
    ("near", "shares"),
    [
        (([0, 1, 2, 3], [4, 5, 6, 7]), [[0, 1, 2, 3], [4, 5, 6, 7]]),
        (([0, 1, 2, 3], range(8)), [[0, 1, 2, 3], [4, 5, 6, 7]]),  # what is near one alone is not taken by the other
        (([], []), [[1, 3, 5, 7], [0, 2, 4, 6]]),  # nothing is known
        ((range(8), [0, 1]), [[3, 5, 6, 7], [0, 1, 2, 4]]),
        (([0], [1], [2]), [[0, 7], [1, 6], [2, 5]]),  # equally many
    ],
)
def test_jobs_get_equally_many_cores_that_no_other_one_has(
    driver: Driver, near: Sequence[Sequence[int]], shares: list[list[int]]
) -> None:
    assert cores.divided_cores(near, Path("/nowhere")) == shares


def test_both_threads_of_a_physical_core_go_to_one_job(driver: Driver, tmp_path: Path) -> None:
    for core in range(8):
        file = tmp_path / f"cpu{core}" / "topology" / "thread_siblings_list"
        file.parent.mkdir(parents=True)
        file.write_text(f"{core % 4},{core % 4 + 4}")
    for share in cores.divided_cores([range(8), range(8)], tmp_path):
        assert {core % 4 for core in share} == {core % 4 for core in share if core < 4}
        assert len(share) == 4


def test_what_can_not_be_measured_on_cards_is_refused_before_anything_is_written(
    driver: Driver, jobs: Cards, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="no case of this run uses a card, so it needs no jobs on cards"):
        jobs.job_parameters(0, 1, Settings(), {})
    with pytest.raises(UserError, match="each job needs 5 cores, and 2 cards share too few: 4 for one of them"):
        jobs.job_parameters(1, 4, Settings(), {})
    assert jobs.job_parameters(1, 3, Settings(), {}) == NO_OPTIONS
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UserError, match="CUDA shows no card to this process"):
        Cards().require()
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: driver._ask(driver.cards[0], "open"))
    driver.lose(0)
    with pytest.raises(UserError, match="the cards of this machine are not known"):
        Cards().require()


@pytest.mark.parametrize(
    ("device", "options", "is_refused"),
    [
        ("cuda", {}, False),
        ("cuda:0", {}, False),
        ("cuda:1", {"partition": "gpu"}, True),
        ("cuda:1", {"gres": "gpu:2"}, False),
        ("cuda:1", {"gpus": "2"}, False),
    ],
)
def test_a_numbered_card_is_refused_for_a_job_that_sees_one(
    device: str, options: dict[str, str], is_refused: bool
) -> None:
    groups = [Group(small.workload(device=device), (small.case("vanilla", device=device),))]
    if not is_refused:
        refuse_numbers(groups, options)
        return
    with pytest.raises(
        UserError, match="cases on cuda:1: each job sees one card, whatever its number; choose the device cuda"
    ):
        refuse_numbers(groups, options)


@pytest.fixture
def watch(jobs: Cards, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Watches a run of three parts on the two cards."""
    chosen = suites.read(str(suite))
    folder = RunFolder.create(tmp_path, "tiny")
    sweep.write_parts(folder.path, chosen.groups({}, "cuda"), 1)
    folder.close()
    monkeypatch.setattr(sweep, "MIN_WAIT", 0.0)
    environment = {"cards": {"options": jobs.parse([])}}
    info = replace(INFO, resolved={"measure": {}}, environment=environment)
    return Watch(folder.path, info, folder.path, lambda words: None, jobs)


def test_a_card_unlike_the_first_is_left_out_and_its_part_goes_to_another_one(watch: Watch, machine: Machine) -> None:
    def start(process: FakeProcess) -> None:
        if process.env["CUDA_VISIBLE_DEVICES"] == CARDS[1]:
            process.code = UNLIKE
        elif len(machine.started) == 3:
            raise KeyboardInterrupt

    def tell(words: str) -> None:
        if "no card is free" in words:
            machine.started[0].code = 0

    machine.at_start = start
    watch._on_progress = tell
    with pytest.raises(Interrupted, match="its jobs are cancelled"):
        watch.until_done()
    assert [*watch.left_out] == [CARDS[1]]
    assert [process.env["CUDA_VISIBLE_DEVICES"] for process in machine.started] == [*CARDS, CARDS[0]]


def test_a_job_that_goes_on_for_a_moment_when_its_part_is_measured_does_not_end_the_run(
    watch: Watch, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its card is not free, and no other job is waited for."""
    measured: set[str] = set()
    told: list[str] = []

    def start(process: FakeProcess) -> None:
        measured.add(process.command[4])

    def tell(words: str) -> None:
        told.append(words)
        if words.endswith("; no card is free"):
            for process in machine.started:
                process.code = 0

    monkeypatch.setattr(sweep, "is_finished", lambda path, part, settings: part in measured)
    machine.at_start = start
    watch._on_progress = tell
    watch.wait()
    assert "2 of 3 jobs done, 1 waiting; no card is free" in told
    assert told[-1] == "3 of 3 jobs done"


def test_ctrl_c_ends_all_jobs_and_kills_one_that_hangs(
    watch: Watch, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(process: FakeProcess) -> None:
        machine.hangs = True
        if len(machine.started) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(cards, "JOB_END_SECONDS", 0.0)
    machine.at_start = interrupt
    machine.hangs = True
    with pytest.raises(Interrupted, match="its jobs are cancelled; what was measured is in"):
        watch.until_done()
    assert machine.started[0].signals == ["terminate", "kill"]


@pytest.mark.slow
def test_the_cards_of_a_machine_measure_the_parts_of_one_run(suite: Path, driver: Driver, tmp_path: Path) -> None:
    """Real jobs, which find no CUDA here: each case is skipped with the reason, and the run is whole."""
    chosen = suites.read(str(suite))
    groups = chosen.groups({}, "cuda")
    driver.cards[0].near = driver.cards[1].near = ()
    jobs = Cards()
    own = sorted(os.sched_getaffinity(0))
    jobs.require()
    jobs._cores = dict.fromkeys(CARDS, own if len(own) > 1 else own * 2)
    jobs.require = lambda: None  # type: ignore[method-assign]
    path = run_by_slurm(
        chosen,
        groups,
        chosen.measure,
        request=JobRequest(jobs),
        out=tmp_path / "results",
        command="rnnbench run tiny.toml --executor cards",
        on_progress=print,
    )
    assert parts(path) == ["p00000", "p00001"]
    frame = rows(path)
    assert set(frame["status"]) == {"skipped"}
    assert len(frame) == 6
    info = read_info(path)
    assert info.status == "finished"
    assert info.environment["cards"]["cards"] == CARDS
    assert {read_info(path, part).environment["node"] for part in parts(path)} == {*CARDS}
