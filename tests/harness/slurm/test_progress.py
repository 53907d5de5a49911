from dataclasses import replace
from pathlib import Path

from rnnbench.harness.slurm.jobs import PartStatus
from rnnbench.harness.slurm.parts import JobPart
from rnnbench.harness.slurm.progress import progress
from rnnbench.store.folder import RunFolder
from rnnbench.suite_file import Settings
from tests.doubles import workload as small
from tests.doubles.stored import INFO

SETTINGS = Settings(replicates=3, budget_seconds=100)


def statuses() -> list[PartStatus]:
    return [
        PartStatus(JobPart(f"p{number:05d}", (small.case("vanilla", batch_size=number + 1),) * 4))
        for number in range(4)
    ]


def test_before_a_job_is_done_those_at_work_say_how_long_it_takes_up_to_the_budget(tmp_path: Path) -> None:
    parts = statuses()
    assert progress(tmp_path, parts, SETTINGS, 50.0).seconds_left is None
    parts[0].running_since = parts[1].running_since = 20.0
    assert progress(tmp_path, parts, SETTINGS, 50.0).seconds_left is None
    for number in range(2):
        (tmp_path / f"windows-p00001-000{number}.jsonl").touch()
    # Half of a job takes 30 s: four jobs of 60 s, two at a time, both 30 s old.
    assert progress(tmp_path, parts, SETTINGS, 50.0).seconds_left == (4 * 60 - 60) / 2
    assert progress(tmp_path, parts, SETTINGS, 110.0).seconds_left == (4 * 100 - 180) / 2


def test_jobs_that_are_done_say_how_long_the_others_take(tmp_path: Path) -> None:
    parts = statuses()
    folder = RunFolder(tmp_path, "p00000")
    folder.write_info(replace(INFO, seconds=40.0))
    folder.close()
    parts[0].state = "finished"
    parts[1].running_since = 20.0
    assert progress(tmp_path, parts, SETTINGS, 30.0).seconds_left == 3 * 40 - 10
    assert progress(tmp_path, parts, SETTINGS, 30.0, ran=2).seconds_left == (3 * 40 - 10) / 2


def test_cases_of_a_job_at_work_count_by_the_replicates_that_it_has_begun(tmp_path: Path) -> None:
    parts = statuses()
    parts[0].state = "given up"
    parts[1].running_since = 20.0
    for number in range(2):
        (tmp_path / f"windows-p00001-000{number}.jsonl").touch()
    found = progress(tmp_path, parts, SETTINGS, 30.0)
    assert (found.done, found.running, found.waiting, found.cases, found.cases_done) == (1, 1, 2, 16, 4 + 4 * 2 / 4)
