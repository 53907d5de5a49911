import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.errors import UserError
from rnnbench.harness.slurm.options import asked, minutes, parse
from rnnbench.harness.slurm.parts import JobPart
from rnnbench.suite_file import Settings
from tests.doubles import workload as small

CPU = JobPart("p00000", (small.case("vanilla", threads=3),))
CARD = JobPart("p00000", (small.case("vanilla", device="cuda"),))


def test_options_are_those_of_sbatch_however_they_are_spelled() -> None:
    assert parse(["partition=gpu", "--mem-per-cpu=4G", "comment=a=b"]) == {
        "partition": "gpu",
        "mem_per_cpu": "4G",
        "comment": "a=b",
    }


@pytest.mark.parametrize(
    "options",
    [
        ["partition"],
        ["=gpu"],
        ["partition="],
        ["a b=c"],
        ["comment=a\n#SBATCH --wrap=b"],
        ["job-name=mine"],
        ["array-parallelism=some"],
        ["array-parallelism=0"],
        ["array-parallelism=²"],
        ["time=5", "time=6"],
    ],
)
def test_what_is_no_option_is_told(options: list[str], snapshot: SnapshotAssertion) -> None:
    with pytest.raises(UserError) as raised:
        parse(options)
    assert str(raised.value) == snapshot


def test_a_job_has_a_node_or_the_cores_that_the_user_says_or_a_card_to_itself() -> None:
    node = asked([CPU], Settings(), {})["additional_parameters"]
    assert node["exclusive"] is True
    cores = asked([CPU], Settings(), {"cpus_per_task": "8"})["additional_parameters"]
    assert "exclusive" not in cores
    assert cores["cpus_per_task"] == "8"
    card = asked([CARD], Settings(), {})["additional_parameters"]
    assert (card["gpus_per_node"], card["cpus_per_task"], "exclusive" in card) == (1, 2, False)


def test_the_time_limit_leaves_room_for_the_start_and_a_case_that_hangs() -> None:
    assert minutes(Settings(budget_seconds=600)) == 14
    assert minutes(Settings()) is None
    assert asked([CPU], Settings(), {"time": "30"})["additional_parameters"]["time"] == "30"


def test_the_user_says_how_many_jobs_run_at_once() -> None:
    assert asked([CPU], Settings(), {"array_parallelism": "4"})["array_parallelism"] == 4


@pytest.mark.parametrize(
    ("part", "options", "dropped"),
    [(CPU, {"mem_per_cpu": "4G"}, "mem"), (CARD, {"gres": "gpu:a100:1"}, "gpus_per_node")],
)
def test_what_the_user_says_in_other_words_takes_the_place_of_the_same(
    part: JobPart, options: dict[str, str], dropped: str
) -> None:
    assert dropped in asked([part], Settings(), {})["additional_parameters"]
    assert dropped not in asked([part], Settings(), options)["additional_parameters"]
