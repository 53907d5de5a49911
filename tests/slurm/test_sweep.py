"""Runs on a real Slurm, with faults; and with a queue whose answers the test sets."""

import errno
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rnnbench.analysis.run_times import read_run_times
from rnnbench.errors import Interrupted, UserError
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.slurm import queue, sweep
from rnnbench.slurm.job import MACHINE, UNLIKE
from rnnbench.slurm.queue import JobState
from rnnbench.slurm.sweep import Watch
from rnnbench.store.folder import RunFolder, last_measurements, parts, read_info
from rnnbench.store.records import Case, Group
from rnnbench.store.run_info import Note, RunInfo
from rnnbench.suite import suites
from tests.doubles import workload as small
from tests.doubles.slurm_cluster import WAIT_SECONDS, Cluster, kill_a_job, wait_until
from tests.doubles.stored import INFO, rows
from tests.slurm.conftest import NEVER, ONE_CORE, Run

real = pytest.mark.needs("slurm")


def start(suite: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start `rnnbench run` on Slurm as a separate process."""
    command = [sys.executable, "-m", "rnnbench", "run", str(suite), "--executor", "slurm", *arguments]
    return subprocess.Popen(
        [*command, "--out", str(suite.parent / "results"), "--slurm-option", ONE_CORE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def the_run(suite: Path) -> Path:
    """The run's folder, once the process has submitted its jobs."""
    wait_until(lambda: any(suite.parent.glob("results/*/slurm/*_submission.sh")), "the run")
    return next(suite.parent.glob("results/*"))


def measured_once(path: Path, replicates: int = 2) -> pd.DataFrame:
    """Check that each case was measured in each replicate and no window appears twice; return the run's frame."""
    frame = rows(path)
    assert set(frame["status"]) == {"measured"}
    assert not frame.duplicated(["case", "worker", "order"]).any()
    assert not frame.duplicated(["case", "replicate", "order"]).any()
    whole = read_run_times(path).replicates
    assert set(whole.groupby("case")["replicate"].nunique()) == {replicates}
    return frame


@real
def test_a_killed_job_and_a_restarted_controller_lose_nothing_and_double_nothing(slurm: Cluster, suite: Path) -> None:
    process = start(suite, "--only", "batch_size=1,2")
    path = the_run(suite)
    wait_until(lambda: any(path.glob("slurm/*_log.err")), "a job")
    slurm.stop_controller()
    assert process.stderr is not None
    assert any("Unable to contact slurm controller" in line for line in process.stderr)  # reads until that line
    slurm.start_controller()
    kill_a_job(path)
    out, errors = process.communicate(timeout=3 * WAIT_SECONDS)
    assert process.returncode == 0, errors
    assert "4 cases in " in out
    assert "2 of 2 jobs done, 1 lost" in errors
    frame = measured_once(path)
    assert frame["case"].nunique() == 4
    assert frame["worker"].str.match(r"p0000[01]-000\d$").all()
    info = read_info(path)
    assert info.status == "finished"
    assert info.environment["slurm"] == {"options": {"cpus_per_task": "1"}, "nodes": ["a"]}
    assert any(note.words.startswith("1 job lost, since it ended as FAILED (") for note in info.notes)


@real
def test_resume_after_the_submitter_was_killed_waits_for_its_job_and_submits_none(slurm: Cluster, suite: Path) -> None:
    suite.write_text(suite.read_text().replace("replicates = 2", "replicates = 1"))
    process = start(suite, "--only", "batch_size=1")
    path = the_run(suite)
    wait_until(lambda: any(path.glob("slurm/*_log.err")), "the job")
    process.send_signal(signal.SIGSTOP)  # or the run might end before the other one begins
    other = start(suite, "--resume", str(path))
    assert "another rnnbench is writing to this run" in other.communicate()[1]
    process.kill()
    process.communicate()
    goes_on = start(suite, "--resume", str(path))
    out, errors = goes_on.communicate(timeout=2 * WAIT_SECONDS)
    assert goes_on.returncode == 0, errors
    assert "2 cases in " in out
    assert len(list(path.glob("slurm/*_submission.sh"))) == 1
    measured_once(path, replicates=1)


@real
@pytest.mark.weekly
def test_jobs_that_are_preempted_four_times_measure_all_parts_on_the_kind_of_node_that_is_named(
    slurm: Cluster, suite: Path
) -> None:
    if len(allowed_cores()) < 2:
        pytest.skip("one core: both nodes are of one kind")
    options = ("--slurm-option", "partition=both", "--slurm-option", "reference-node=b")
    process = start(suite, "--only", "batch_size=1,2", *options)
    assert process.stderr is not None
    for line in process.stderr:
        if "1 running" in line and "4 preempted" not in line:
            slurm.preempt()
    out, _ = process.communicate(timeout=WAIT_SECONDS)
    assert (process.returncode, "4 cases in " in out) == (0, True)
    path = the_run(suite)
    measured_once(path)
    info = read_info(path)
    assert Note("4 jobs preempted and sent again") in info.notes
    assert info.environment["slurm"]["nodes"] == ["b"]
    [left_out] = [note.words for note in info.notes if "left out" in note.words]
    assert left_out.startswith(
        "node a was left out, since its machine differs from the first job's: cores was 1 and is "
    )


@real
def test_ctrl_c_cancels_the_jobs_which_asked_for_a_gpu_with_memory_and_exits_with_130_in_one_line(
    slurm: Cluster, suite: Path
) -> None:
    options = ("--slurm-option", "partition=both", "--slurm-option", NEVER)
    process = start(suite, "--only", "batch_size=1", "--device", "cuda", *options)
    path = the_run(suite)
    wait_until(lambda: path.name in slurm.tell("squeue", "-h", "-o", "%j"), "the jobs")
    assert slurm.tell("squeue", "-h", "-O", "tres-per-node,MinMemory,wckey").split() == ["gres/gpu:1", "16G", "(null)"]
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    [*_, last] = errors.splitlines()
    message = "rnnbench: interrupted; its jobs are cancelled; what was measured is in"
    assert last == f"{message} {path}; the run can be resumed with `rnnbench run --resume`"
    assert path.name not in slurm.tell("squeue", "-h", "-o", "%j")
    assert read_info(path).status == "interrupted"
    assert set(rows(path)["reason"]) == {"no job measured it"}


@real
@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("partition=nope", r"invalid partition specified: nope|Invalid partition name"),
        ("partitoin=main", "unrecognized option '--partitoin=main'"),
        ("gpus=1", "refuses this job: "),
    ],
)
def test_what_slurm_does_not_take_is_told_and_leaves_nothing(run: Run, tmp_path: Path, option: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as fault:
        run(option)
    assert len(str(fault.value).splitlines()) == 1
    assert not (tmp_path / "results").exists() or not list((tmp_path / "results").iterdir())


@real
def test_without_slurm_or_submitit_it_is_said_what_is_missing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "submitit", None)
        with pytest.raises(UserError, match=r"needs submitit: pip install submitit"):
            run()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="sbatch is not on PATH"):
        run()


class FakeQueue:
    """Takes all jobs; each gets the state `end` at once, and has written `log`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.end = ("RUNNING", "0:0")
        self.log: str | None = ""
        self.jobs: list[JobState] = []
        self.excluded: list[str | None] = []
        self.nodes: list[str | None] = []
        self.most_jobs = 100

    def submit(self, folder: Path, name: str, _function: Any, _arguments: Any, parameters: Any) -> str:
        if len(self.jobs) >= self.most_jobs:
            raise KeyboardInterrupt
        self.excluded.append(parameters["additional_parameters"].get("exclude"))
        self.nodes.append(parameters["additional_parameters"].get("nodelist"))
        self.jobs.append(JobState(str(len(self.jobs)), name, *self.end, "odd"))
        if self.log is not None:
            folder.mkdir(exist_ok=True)
            (folder / f"{self.jobs[-1].job}_0_log.err").write_text(self.log)
        return self.jobs[-1].job

    def until_sent(self, jobs: int) -> Watch:
        """Watch three parts until so many jobs were submitted, or the watch ends."""
        self.most_jobs, watching = jobs, self.watch()
        with pytest.raises(KeyboardInterrupt):
            watching.wait()
        return watching

    def watch(self, on_progress: Any = lambda *step: None, most: int = 100, **more: str) -> Watch:
        options = {"array_parallelism": str(most), **more}
        info = replace(INFO, resolved={"measure": {}}, environment={"slurm": {"options": options}})
        return Watch(self.path, info, self.path, on_progress)


@pytest.fixture
def fake(suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeQueue:
    """A run of three parts of one group each, and Slurm's place."""
    chosen = suites.read_suite(str(suite))
    folder = RunFolder.create(tmp_path, "tiny")
    sweep.write_parts(folder.path, chosen.groups({}, None))
    folder.close()
    fake = FakeQueue(folder.path)
    monkeypatch.setattr(queue, "submit", fake.submit)
    monkeypatch.setattr(queue, "states", lambda run: [job for job in fake.jobs if job.state != "FORGOTTEN"])
    monkeypatch.setattr(sweep, "MIN_WAIT", 0.0)
    return fake


@pytest.mark.parametrize(
    ("state", "exit_code", "jobs", "why"),
    [
        ("FAILED", "1:0", 9, "it ended as FAILED (1:0): no cell"),
        ("TIMEOUT", "0:15", 9, "it ended as TIMEOUT (0:15)"),
        ("CANCELLED", "0:0", 3, "it ended as CANCELLED (0:0)"),
        ("FORGOTTEN", "", 9, "it is no longer in the queue"),
        ("FAILED", "0:53", 9, "it ended as FAILED (0:53): its node odd wrote no log into"),  # it can't open the log
    ],
)
def test_a_lost_job_is_sent_again_twice_unless_somebody_cancelled_it(
    fake: FakeQueue, state: str, exit_code: str, jobs: int, why: str
) -> None:
    fake.end, fake.log = (state, exit_code), None if exit_code == "0:53" else "at first\nno cell\n"
    waiting = fake.watch()
    waiting.wait()
    assert len(fake.jobs) == jobs
    for part in waiting.parts:
        assert part.state == "done"
        assert all(each.startswith(why) for each in part.lost)


def test_a_disk_that_is_full_is_told_in_one_line(
    fake: FakeQueue, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Watch) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    chosen = suites.read_suite(str(suite))
    monkeypatch.setattr(queue, "require", lambda: None)
    monkeypatch.setattr(Watch, "until_done", refuse)
    with pytest.raises(UserError, match=r"tiny-.*: can't be written: No space left on device; the run can be resumed"):
        sweep.run_by_slurm(
            chosen,
            chosen.groups({}, None),
            chosen.measure,
            slurm_options=(),
            out=tmp_path,
            command="",
            on_progress=print,
        )


@pytest.mark.parametrize(
    ("end", "elsewhere", "left_out"),
    [
        (("FAILED", f"{UNLIKE}:0"), "odd", {"odd": "its machine differs from the first job's: cpu was A and is B"}),
        (("COMPLETED", "0:0"), None, {}),  # by settings that the run has no more
        (("PREEMPTED", "0:0"), None, {}),
    ],
)
def test_a_job_on_an_unlike_node_or_that_ended_well_is_not_lost(
    fake: FakeQueue, end: tuple[str, str], elsewhere: str | None, left_out: dict[str, str]
) -> None:
    fake.end, fake.log = end, "cpu was A and is B\n"
    waiting = fake.until_sent(6)
    assert fake.excluded == [*[None] * 3, *[elsewhere] * 3]
    assert waiting.left_out == left_out
    assert [(part.state, part.lost) for part in waiting.parts] == [("waiting", [])] * 3


def test_a_part_that_is_preempted_again_and_again_is_not_given_up(fake: FakeQueue) -> None:
    fake.end = ("PREEMPTED", "0:0")
    waiting = fake.until_sent(15)
    assert [part.state for part in waiting.parts] == ["waiting"] * 3
    assert waiting.preempted == 15
    assert Note("15 jobs preempted and sent again") in waiting.summed_up("interrupted").notes


def test_the_first_job_runs_on_the_node_that_is_named_and_the_others_wait_for_its_description(
    fake: FakeQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    def describe(_: str) -> list[JobState]:
        nonlocal looks
        looks += 1
        if looks == 4:
            (fake.path / MACHINE).write_text("{}")
        if looks == 6:
            raise KeyboardInterrupt
        return fake.jobs

    monkeypatch.setattr(queue, "states", describe)
    with pytest.raises(KeyboardInterrupt):
        fake.watch(reference_node="cpu07").wait()
    assert fake.nodes == ["cpu07", None, None]


@pytest.mark.parametrize(
    ("most", "jobs"), [(2, ["1", "old", None]), (1, [None, "old", None]), (0, [None, "old", None])]
)
def test_jobs_of_an_earlier_submitter_are_waited_for_and_of_the_others_as_many_are_sent_as_may_wait(
    fake: FakeQueue, most: int, jobs: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def ask(run: str, looks: list[None]) -> list[JobState]:
        looks.append(None)
        if len(looks) == 4:
            raise KeyboardInterrupt
        return fake.jobs

    fake.jobs.append(JobState("old", f"{fake.path.name}.p00001", "RUNNING", "0:0", "odd"))
    monkeypatch.setattr(queue, "states", partial(ask, looks=[]))
    waiting = fake.watch(steps.append, most=most)
    with pytest.raises(KeyboardInterrupt):
        waiting.wait()
    assert [part.job for part in waiting.parts] == jobs
    left = jobs.count(None)
    words = f"0 of 3 jobs done, {3 - left} running{f', {left} waiting' if left else ''}"
    assert steps[-1] == words
    assert len(steps) == len(set(steps))  # only changes are told


def test_a_second_ctrl_c_while_jobs_are_cancelled_tells_that_some_may_go_on(
    fake: FakeQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(queue, "cancel", interrupted)
    fake.most_jobs = 0
    with pytest.raises(Interrupted, match=r"^some of its jobs \(tiny-.*\.\*\) may go on, since cancelling them"):
        fake.watch().until_done()


def test_a_refusal_is_told_and_ends_a_run_that_has_no_job(fake: FakeQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> str:
        raise queue.SlurmFault("sbatch: Job violates accounting/QOS policy (job submit limit)")

    def look(words: str) -> None:
        assert "3 waiting; Slurm refuses this job: sbatch: Job violates accounting/QOS policy" in words
        raise KeyboardInterrupt

    monkeypatch.setattr(queue, "submit", refuse)
    with pytest.raises(UserError, match="QOS policy"):
        fake.watch().wait()
    fake.jobs.append(JobState("old", f"{fake.path.name}.p00001", "PENDING", "0:0", ""))
    with pytest.raises(KeyboardInterrupt):  # others may be taken when this one has ended
        fake.watch(look).wait()


def test_a_run_that_is_resumed_keeps_its_settings_but_for_those_that_are_given(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = suites.read_suite(str(suite))
    used: list[float | None] = []

    def go_on(folder: RunFolder, info: RunInfo, *_: Any) -> None:
        used.append(info.resolved["measure"]["budget_seconds"])
        folder.write_info(info)
        folder.close()

    settings = chosen.measure.model_copy(update={"budget_seconds": 25.0})
    monkeypatch.setattr(queue, "require", lambda: None)
    monkeypatch.setattr(sweep, "_go_on", go_on)
    options: dict[str, Any] = {
        "slurm_options": (),
        "command": "",
        "on_progress": lambda *step: None,
    }
    path = sweep.run_by_slurm(chosen, chosen.groups({}, None), settings, out=tmp_path, **options)
    for changes in ({}, {"budget_seconds": 50.0}, {}):
        sweep.resume_by_slurm(path, chosen, changes=changes, **options)
    assert used == [25.0, 25.0, 50.0, 50.0]


def test_groups_are_dealt_out_evenly_and_jobs_of_unlike_kinds_are_not_mixed(suite: Path, tmp_path: Path) -> None:
    chosen = suites.read_suite(str(suite))
    groups = chosen.groups({}, None)
    for number, expected in ((1, [1]), (3, [1] * 3), (12, [1, 2] * 4), (129, [14, 14, 15] * 3)):
        workloads = [small.workload(batch_size=size) for size in range(1, number + 1)]
        many = [Group(workload, (Case("gru", "loop", workload),)) for workload in workloads]
        folder = tmp_path / str(number)
        folder.mkdir()
        sweep.write_parts(folder, many)
        assert [len(last_measurements(folder, part)) for part in parts(folder)] == expected
    with pytest.raises(UserError, match="cases on cpu and on cuda need different kinds of jobs"):
        sweep.write_parts(tmp_path, [*groups, *chosen.groups({}, "cuda")])
