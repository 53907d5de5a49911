"""How states of jobs are handled, with a queue whose answers the test sets."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from rnnbench import suites
from rnnbench.harness.slurm import queue, sweep, watch
from rnnbench.harness.slurm.job import UNLIKE
from rnnbench.harness.slurm.options import asked
from rnnbench.harness.slurm.parts import read_parts, split, write_parts
from rnnbench.harness.slurm.progress import JobsProgress
from rnnbench.harness.slurm.queue import JobState, Ticket
from rnnbench.store.folder import RunFolder


@pytest.fixture
def watching(suite: Path, tmp_path: Path) -> Iterator[Callable[[Callable[[JobsProgress], None]], watch.Watch]]:
    """Makes a watch over the parts of the suite, one group in each."""
    chosen = suites.read(str(suite))
    folder = RunFolder.create(tmp_path, "tiny")
    write_parts(folder.path, split(chosen.groups({}, None, most=None), 1))
    folder.close()
    (folder.path / watch.LOGS).mkdir()
    parts, settings = read_parts(folder.path), chosen.settings
    made: list[watch.Watch] = []

    def make(on_progress: Callable[[JobsProgress], None]) -> watch.Watch:
        made.append(watch.Watch(folder.path, parts, settings, asked(parts, settings, {}), tmp_path, on_progress))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("in_array", [None, 2])
def test_too_many_jobs_are_sent_in_smaller_arrays(
    watching: Any, monkeypatch: pytest.MonkeyPatch, in_array: int | None
) -> None:
    sent: list[int] = []

    def submit(_folder: Path, _name: str, _function: Any, arguments: Sequence[Any], _how: Any) -> None:
        if len(arguments) > 2:
            raise queue.JobRefused("sbatch: Batch job submission failed: Invalid job array specification")
        sent.append(len(arguments))

    def until_sent(_step: JobsProgress) -> None:
        if sum(sent) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(queue, "submit", submit)
    monkeypatch.setattr(queue, "max_in_array", lambda: in_array)
    monkeypatch.setattr(queue, "states", lambda names: {})
    with pytest.raises(KeyboardInterrupt):
        watching(until_sent).until_done()
    assert sent == ([2, 1] if in_array else [1, 1, 1])  # three are halved to one


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("sbatch: Job violates accounting/QOS policy (job submit limit)", watch.TooManyJobs),
        ("sbatch: invalid partition specified: nope", watch.NotTaken),
    ],
)
def test_a_refusal_of_a_single_job_is_told(
    watching: Any, monkeypatch: pytest.MonkeyPatch, words: str, kind: type[Exception]
) -> None:
    tries: list[int] = []

    def submit(_folder: Path, _name: str, _function: Any, arguments: Sequence[Any], _how: Any) -> None:
        tries.append(len(arguments))
        raise queue.JobRefused(words)

    monkeypatch.setattr(queue, "submit", submit)
    monkeypatch.setattr(queue, "max_in_array", lambda: None)
    monkeypatch.setattr(queue, "states", lambda names: {})
    with pytest.raises(watch.NotTaken) as fault:
        watching(lambda step: None).until_done()
    assert type(fault.value) is kind
    assert tries == ([3, 1] if kind is watch.TooManyJobs else [3])


@pytest.mark.parametrize(("state", "jobs"), [("FAILED", 3), ("CANCELLED", 1)])
def test_a_lost_job_is_sent_again_twice_unless_somebody_cancelled_it(
    watching: Any, monkeypatch: pytest.MonkeyPatch, state: str, jobs: int
) -> None:
    names: list[str] = []

    def submit(_folder: Path, name: str, _function: Any, _arguments: Any, _how: Any) -> None:
        names.append(name)

    def states(_asked: Sequence[str]) -> queue.JobStates:
        return {
            Ticket(name, index): JobState(f"1_{index}", state, "0:9", "a", "") for name in names for index in range(3)
        }

    monkeypatch.setattr(queue, "submit", submit)
    monkeypatch.setattr(queue, "max_in_array", lambda: None)
    monkeypatch.setattr(queue, "states", states)
    waiting = watching(lambda step: None)
    for index in range(3):
        queue.log(waiting._path / watch.LOGS, f"1_{index}").write_text("")
    waiting.until_done()
    assert len(names) == jobs
    assert {status.state for status in waiting.statuses} == {"given up"}
    assert {len(status.lost) for status in waiting.statuses} == {jobs}


def test_all_jobs_that_were_sent_to_an_unlike_node_at_once_are_lost_by_no_fault_of_theirs(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = suites.read(str(suite))
    folder = RunFolder.create(tmp_path, "tiny")
    write_parts(folder.path, split(chosen.groups({}, None, most=None), 1))
    folder.close()
    logs = folder.path / watch.LOGS
    logs.mkdir()
    excluded: list[str | None] = []  # one entry for each array of jobs

    def submit(_folder: Path, _name: str, _function: Any, _arguments: Any, how: dict[str, Any]) -> None:
        excluded.append(how["additional_parameters"].get("exclude"))

    def states(names: Sequence[str]) -> queue.JobStates:
        jobs = {
            Ticket(name, index): JobState(f"1_{index}", "FAILED", f"{UNLIKE}:0", "odd", "")
            for name in names
            for index in range(3)
        }
        for state in jobs.values():
            queue.log(logs, state.job).write_text("cpu was A and is B\n")
        return jobs

    def until_sent_again(_step: JobsProgress) -> None:
        if len(excluded) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(queue, "submit", submit)
    monkeypatch.setattr(queue, "states", states)
    parts, settings = read_parts(folder.path), chosen.settings
    waiting = watch.Watch(folder.path, parts, settings, asked(parts, settings, {}), tmp_path, until_sent_again)
    with pytest.raises(KeyboardInterrupt):
        waiting.until_done()
    waiting.close()
    assert excluded == [None, "odd"]
    assert waiting.left_out == {"odd": "it is unlike the first: cpu was A and is B"}
    assert [status.lost for status in waiting.statuses] == [[], [], []]


def test_a_job_that_ended_well_by_earlier_settings_is_not_lost(watching: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []

    def submit(_folder: Path, name: str, _function: Any, _arguments: Any, _how: Any) -> None:
        names.append(name)

    def states(asked_names: Sequence[str]) -> queue.JobStates:
        return {
            Ticket(name, index): JobState(f"1_{index}", "COMPLETED", "0:0", "a", "")
            for name in asked_names
            for index in range(3)
        }

    def until_sent_often(_step: JobsProgress) -> None:
        if len(names) > watch.MAX_LOST:
            raise KeyboardInterrupt

    monkeypatch.setattr(queue, "submit", submit)
    monkeypatch.setattr(queue, "max_in_array", lambda: None)
    monkeypatch.setattr(queue, "states", states)
    monkeypatch.setattr(watch, "MIN_WAIT", 0.0)
    waiting = watching(until_sent_often)
    for index in range(3):
        queue.log(waiting._path / watch.LOGS, f"1_{index}").write_text("")
    with pytest.raises(KeyboardInterrupt):
        waiting.until_done()
    assert {status.state for status in waiting.statuses} == {"open"}
    assert [status.lost for status in waiting.statuses] == [[], [], []]


def test_a_job_that_somebody_cancels_before_it_begins_is_given_up(
    watching: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm gives such a job the exit code of one that ended well."""
    names: list[str] = []

    def submit(_folder: Path, name: str, _function: Any, _arguments: Any, _how: Any) -> None:
        assert not names, "submitted again"
        names.append(name)

    monkeypatch.setattr(queue, "submit", submit)
    monkeypatch.setattr(queue, "max_in_array", lambda: None)
    cancelled = JobState("1", "CANCELLED", "0:0", "", "None")
    monkeypatch.setattr(queue, "states", lambda asked_names: {Ticket(name, None): cancelled for name in asked_names})
    monkeypatch.setattr(watch, "MIN_WAIT", 0.0)
    waiting = watching(lambda step: None)
    waiting.until_done()
    assert [(status.state, status.lost) for status in waiting.statuses] == [("given up", ["it was cancelled"])] * 3


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
