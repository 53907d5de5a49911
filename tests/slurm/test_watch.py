"""How states of jobs are handled, with a queue whose answers the test sets."""

import errno
from pathlib import Path
from typing import Any

import pytest

from rnnbench.errors import UserError
from rnnbench.slurm import queue, sweep, watch
from rnnbench.slurm.job import UNLIKE
from rnnbench.slurm.queue import JobState
from rnnbench.slurm.watch import JobsProgress, Watch
from rnnbench.store.folder import RunFolder, last_measurements
from rnnbench.suite import suites


class FakeQueue:
    """Takes all jobs; each gets the state `end` at once, and has written `log`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.end = ("RUNNING", "0:0")
        self.log: str | None = ""
        self.jobs: list[JobState] = []
        self.excluded: list[str | None] = []

    def submit(self, folder: Path, name: str, _function: Any, _arguments: Any, parameters: Any) -> str:
        self.excluded.append(parameters["additional_parameters"].get("exclude"))
        self.jobs.append(JobState(str(len(self.jobs)), name, *self.end, "odd", "None"))
        if self.log is not None:
            folder.mkdir(exist_ok=True)
            queue.log(folder, self.jobs[-1].job).write_text(self.log)
        return self.jobs[-1].job

    def until_sent(self, jobs: int) -> Watch:
        """Watch three parts until so many jobs were submitted, or the watch ends."""

        def look(_: JobsProgress) -> None:
            if len(self.jobs) >= jobs:
                raise KeyboardInterrupt

        watching = self.watch(look)
        with pytest.raises(KeyboardInterrupt):
            watching.until_done()
        return watching

    def watch(self, on_progress: Any = lambda step: None, most: int = 100) -> Watch:
        settings = suites.read(str(self.path.parent / "tiny.toml")).settings
        return Watch(self.path, settings, {"additional_parameters": {}}, self.path, most, on_progress)


@pytest.fixture
def fake(suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeQueue:
    """A run of three parts of one group each, and Slurm's place."""
    chosen = suites.read(str(suite))
    folder = RunFolder.create(tmp_path, "tiny")
    sweep.write_parts(folder.path, sweep.split(chosen.groups({}, None, most=None), 1))
    folder.close()
    fake = FakeQueue(folder.path)
    monkeypatch.setattr(queue, "submit", fake.submit)
    monkeypatch.setattr(queue, "states", lambda run: fake.jobs)
    monkeypatch.setattr(watch, "MIN_WAIT", 0.0)
    return fake


@pytest.mark.parametrize(
    ("state", "exit_code", "jobs", "why"),
    [
        ("FAILED", "0:9", 9, "it was killed by signal 9"),
        ("FAILED", "1:0", 9, "no cell"),
        ("TIMEOUT", "0:15", 9, "it came to its time limit"),
        ("CANCELLED", "0:0", 3, "it was cancelled"),
    ],
)
def test_a_lost_job_is_sent_again_twice_unless_somebody_cancelled_it(
    fake: FakeQueue, state: str, exit_code: str, jobs: int, why: str
) -> None:
    fake.end, fake.log = (state, exit_code), "at first\nno cell\n"
    waiting = fake.watch()
    waiting.until_done()
    assert len(fake.jobs) == jobs
    assert [(part.state, set(part.lost)) for part in waiting.parts] == [("given up", {why})] * 3


def test_a_resumed_run_tries_again_what_an_earlier_submitter_has_given_up(fake: FakeQueue) -> None:
    fake.end = ("CANCELLED", "0:0")
    fake.watch().until_done()
    reasons = {(each.status, each.reason) for each in last_measurements(fake.path).values()}
    assert reasons == {("failed", "its job was lost: it was cancelled")}
    fake.end = ("RUNNING", "0:0")
    fake.until_sent(6)
    reasons = {(each.status, each.reason) for each in last_measurements(fake.path).values()}
    assert reasons == {("pending", "no job came to it")}


def test_a_disk_that_is_full_is_told_in_one_line(
    fake: FakeQueue, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Watch) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    chosen = suites.read(str(suite))
    monkeypatch.setattr(queue, "require", lambda: None)
    monkeypatch.setattr(Watch, "until_done", refuse)
    options: dict[str, Any] = {"command": "", "options": [], "groups_per_job": 2, "on_progress": print}
    with pytest.raises(UserError, match=r"tiny-.*: can't be written: No space left on device; the run can be resumed"):
        sweep.run_by_slurm(chosen, chosen.groups({}, None, most=None), chosen.settings, out=tmp_path, **options)


def test_a_node_that_can_not_write_the_folder_is_named(fake: FakeQueue) -> None:
    fake.end, fake.log = ("FAILED", "0:53"), None  # as Slurm says where it can't open the log
    waiting = fake.watch()
    waiting.until_done()
    why = f"its node odd wrote no log into {fake.path}: give a folder that all nodes share"
    assert [part.lost for part in waiting.parts] == [[why] * 3] * 3


def test_a_job_on_an_unlike_node_is_not_lost_and_the_next_ones_go_elsewhere(fake: FakeQueue) -> None:
    fake.end, fake.log = ("FAILED", f"{UNLIKE}:0"), "cpu was A and is B\n"
    waiting = fake.until_sent(6)
    assert fake.excluded == [*[None] * 3, *["odd"] * 3]
    assert waiting.left_out == {"odd": "it is unlike the first: cpu was A and is B"}
    assert [part.lost for part in waiting.parts] == [[], [], []]


def test_a_job_that_ended_well_by_earlier_settings_is_not_lost(fake: FakeQueue) -> None:
    fake.end = ("COMPLETED", "0:0")
    waiting = fake.until_sent(12)
    assert [(part.state, part.lost) for part in waiting.parts] == [("open", [])] * 3


def test_a_job_that_slurm_has_forgotten_is_lost(fake: FakeQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "states", lambda run: [])
    waiting = fake.watch()
    waiting.until_done()
    assert [part.lost for part in waiting.parts] == [["it has gone from the queue"] * 3] * 3


@pytest.mark.parametrize(
    ("most", "jobs"), [(2, ["1", "old", None]), (1, [None, "old", None]), (0, [None, "old", None])]
)
def test_jobs_of_an_earlier_submitter_are_waited_for_and_of_the_others_as_many_are_sent_as_may_wait(
    fake: FakeQueue, most: int, jobs: list[str | None]
) -> None:
    steps: list[JobsProgress] = []

    def look(step: JobsProgress) -> None:
        steps.append(step)
        if len(steps) == 3:
            raise KeyboardInterrupt

    fake.jobs.append(JobState("old", f"{fake.path.name}.p00001", "RUNNING", "0:0", "odd", "None"))
    waiting = fake.watch(look, most=most)
    with pytest.raises(KeyboardInterrupt):
        waiting.until_done()
    assert [part.job for part in waiting.parts] == jobs
    running = 3 - jobs.count(None)
    assert (steps[-1].running, steps[-1].waiting, steps[-1].done, steps[-1].cases) == (running, 3 - running, 0, 6)


def test_a_refusal_is_told_and_ends_a_run_that_has_no_job(fake: FakeQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> str:
        raise queue.JobRefused("sbatch: Job violates accounting/QOS policy (job submit limit)")

    def look(step: JobsProgress) -> None:
        assert step.trouble.startswith("Slurm takes no such job: sbatch: Job violates accounting/QOS policy")
        raise KeyboardInterrupt

    monkeypatch.setattr(queue, "submit", refuse)
    with pytest.raises(watch.NotTaken, match="QOS policy"):
        fake.watch().until_done()
    fake.jobs.append(JobState("old", f"{fake.path.name}.p00001", "PENDING", "0:0", "", "None"))
    with pytest.raises(KeyboardInterrupt):  # others may be taken when this one has ended
        fake.watch(look).until_done()


def test_the_time_that_is_left_follows_from_the_jobs_that_are_done(fake: FakeQueue) -> None:
    waiting = fake.watch()
    waiting.parts[0].state = "given up"
    assert waiting.progress(50.0).seconds_left is None
    waiting.parts[1].running_since = 20.0
    (fake.path / "windows-p00001-0000.jsonl").touch()
    step = waiting.progress(50.0)
    assert (step.done, step.running, step.waiting, step.cases, step.cases_done) == (1, 1, 1, 6, 2 + 2 / 3)
    assert step.seconds_left == 2 * 60 - 30  # the budget of the suite is a minute


def test_a_run_that_is_resumed_keeps_its_settings_but_for_those_that_are_given(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = suites.read(str(suite))
    used: list[float | None] = []

    def go_on(folder: RunFolder, _info: Any, settings: Any, *_: Any) -> None:
        used.append(settings.budget_seconds)
        folder.close()

    settings = chosen.settings.model_copy(update={"budget_seconds": 25.0})
    monkeypatch.setattr(queue, "require", lambda: None)
    monkeypatch.setattr(sweep, "_go_on", go_on)
    options: dict[str, Any] = {"command": "", "options": [], "on_progress": lambda step: None}
    groups = chosen.groups({}, None, most=None)
    path = sweep.run_by_slurm(chosen, groups, settings, out=tmp_path, groups_per_job=1, **options)
    for changes in ({}, {"budget_seconds": 50.0}, {}):
        sweep.resume_by_slurm(path, chosen, changes, **options)
    assert used == [25.0, 25.0, 50.0, 50.0]


def test_groups_are_dealt_out_evenly_and_jobs_of_unlike_kinds_are_not_mixed(suite: Path) -> None:
    chosen = suites.read(str(suite))
    groups = chosen.groups({}, None, most=None)
    assert sweep.split(groups, 2) == [groups[:1], groups[1:]]
    with pytest.raises(UserError, match="cases on cpu and on cuda need different kinds of jobs"):
        sweep.split([*groups, *chosen.groups({}, "cuda", most=None)], 16)
