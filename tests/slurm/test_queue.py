import os
from pathlib import Path
from typing import Any

import pytest

from rnnbench.errors import UserError
from rnnbench.slurm import queue
from rnnbench.suite.file import Settings


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
        (["array-parallelism=0"], "array-parallelism=0: expected NAME=VALUE, .* or array-parallelism=N"),
    ],
)
def test_what_is_no_option_is_told(options: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        queue.parse(options)


def test_a_job_has_a_node_or_what_the_user_says_or_a_card_to_itself() -> None:
    whole, cores, card = requested(), requested(cpus_per_task="8", mem_per_cpu="4G"), requested(cards=1)
    assert (whole["exclusive"], whole["mem"]) == (True, "0")
    assert not {"exclusive", "mem"} & cores.keys()
    assert (card["gpus_per_node"], card["cpus_per_task"], "exclusive" in card) == (1, 4, False)
    assert "gpus_per_node" not in requested(cards=1, gres="gpu:a100:1")  # the same in other words


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
    with pytest.raises(queue.SlurmFault, match="Connection reset by peer"):
        queue.states("sweep")
