import os
import time
from pathlib import Path
from typing import Any

import pytest

from rnnbench.errors import UserError
from rnnbench.slurm import queue
from rnnbench.suite.file import Settings
from tests.doubles.slurm_cluster import Cluster, wait_until


def requested(cards: int = 0, settings: Settings | None = None, **given: str) -> dict[str, Any]:
    """What sbatch gets for jobs of three threads."""
    parameters = queue.requested(cards, 3, settings or Settings(), given)
    return {"time": parameters["time"], **parameters["additional_parameters"]}


def test_options_are_those_of_sbatch_however_they_are_spelled() -> None:
    options = queue.parse(["partition=gpu", "--mem-per-cpu=4G", "comment=a=b"])
    assert options == {"partition": "gpu", "mem_per_cpu": "4G", "comment": "a=b"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["partition"], "partition: expected NAME=VALUE, an option of sbatch such as partition=gpu"),
        (["partition="], "partition=: expected NAME=VALUE"),
        (["comment=a\n#SBATCH --wrap=b"], "expected NAME=VALUE"),
        (["job-name=mine"], "job-name=mine: job-name is set by rnnbench itself"),
        (["array-parallelism=0"], "array-parallelism=0: expected a whole number"),
        (["time=5", "time=6"], "time=6: time is given twice"),
    ],
)
def test_what_is_no_option_is_told(options: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        queue.parse(options)


def test_a_job_has_a_node_or_the_cores_that_the_user_says_or_a_card_to_itself() -> None:
    assert requested()["exclusive"] is True
    assert "exclusive" not in requested(cpus_per_task="8")
    card = requested(cards=1)
    assert (card["gpus_per_node"], card["cpus_per_task"], "exclusive" in card) == (1, 4, False)


def test_what_the_user_says_takes_the_place_of_the_same_in_other_words() -> None:
    assert "mem" in requested()
    assert "mem" not in requested(mem_per_cpu="4G")
    assert "gpus_per_node" not in requested(cards=1, gres="gpu:a100:1")


def test_the_time_limit_leaves_room_for_the_start_and_a_case_that_hangs() -> None:
    assert requested(settings=Settings(budget_seconds=600))["time"] == 14
    assert requested()["time"] is None
    assert requested(time="30")["time"] == "30"


def test_a_question_that_slurm_does_not_answer_is_to_be_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restarting controller once answered `Connection reset by peer`, and that ended the sweep."""
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Connection reset by peer' >&2\nexit 1\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(queue.ControllerDown, match="Connection reset by peer"):
        queue.states("sweep")


def note_card(folder: str, number: int) -> None:
    """A job: write its card into a file, then wait for the file `end`."""
    file = Path(folder) / f"job-{number}"
    file.with_suffix(".new").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
    file.with_suffix(".new").replace(file)
    while not (Path(folder) / "end").exists():
        time.sleep(0.02)


@pytest.mark.needs("slurm")
def test_jobs_that_run_at_the_same_time_have_cards_of_their_own_and_can_be_cancelled(
    slurm: Cluster, tmp_path: Path
) -> None:
    def states(run: str) -> list[str]:
        return sorted(state.state for state in queue.states(run))

    for number in range(3):
        parameters = queue.requested(1, 1, Settings(), {})
        queue.submit(tmp_path / "slurm", f"cards.{number}", note_card, (str(tmp_path), number), parameters)
    wait_until(lambda: len(list(tmp_path.glob("job-?"))) == 2, "two jobs")
    assert states("cards") == ["PENDING", "RUNNING", "RUNNING"]
    assert states("card") == []
    assert sorted(file.read_text() for file in tmp_path.glob("job-?")) == ["0", "1"]
    jobs = [state.job for state in queue.states("cards")]
    queue.cancel(jobs)
    wait_until(lambda: states("cards") == ["CANCELLED"] * 3, "their ends")
    queue.cancel(jobs)  # a second time does no harm
