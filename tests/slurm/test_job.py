"""What a job of Slurm requests and does, and what its node is compared with."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rnnbench.errors import UserError
from rnnbench.slurm import queue
from rnnbench.slurm.job import MACHINE, is_finished, unlike_the_first
from rnnbench.slurm.sweep import refuse_numbers
from rnnbench.store.folder import RunFolder
from rnnbench.store.records import Group
from rnnbench.store.run_info import RunInfo, read_info_file
from rnnbench.suite.file import Settings
from tests.doubles import workload as small
from tests.doubles.stored import INFO, PROCESSOR

MEASURE = {"windows": 4}


def on(cpu: str, gpus: tuple[str, ...] = (), cores: tuple[int, ...] = (0, 1), stepping: str = "1") -> RunInfo:
    processor = replace(PROCESSOR, model=cpu, stepping=stepping).to_json()
    machine = {"cpu": cpu, "processor": processor, "cores_allowed": list(cores)}
    cards = {f"cuda:{number}": [{"name": name}] for number, name in enumerate(gpus)}
    environment: dict[str, Any] = {"machine": machine, "worker": {"devices": cards}}
    return replace(INFO, environment=environment, resolved={"measure": MEASURE})


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (on("EPYC"), "processor model was Xeon and is EPYC"),
        (on("Xeon", stepping="2"), "processor stepping was 1 and is 2"),
        (on("Xeon", ("L4",)), r"gpus was \[\] and is \['L4'\]"),
        (replace(on("Xeon"), resolved={"measure": {"windows": 8}}), "windows was 4 and is 8"),
    ],
)
def test_machines_like_the_first_are_taken_and_others_refused_with_what_differs(
    tmp_path: Path, other: RunInfo, words: str
) -> None:
    assert unlike_the_first(tmp_path, on("Xeon")) == unlike_the_first(tmp_path, on("Xeon", cores=(6, 7))) == ""
    assert re.fullmatch(words, unlike_the_first(tmp_path, other))
    assert [file.name for file in tmp_path.iterdir()] == [MACHINE]
    assert read_info_file(tmp_path / MACHINE).environment["machine"]["cores_allowed"] == [0, 1]


def test_of_many_jobs_at_once_one_is_the_first(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        accepted = list(pool.map(lambda number: not unlike_the_first(tmp_path, on(f"kind {number % 8}")), range(64)))
    assert sum(accepted) == 8
    assert accepted[int(read_info_file(tmp_path / MACHINE).environment["machine"]["cpu"].split()[1])]


def test_a_part_is_finished_by_the_settings_of_now_or_not_at_all(tmp_path: Path) -> None:
    assert not is_finished(tmp_path, "p00000", MEASURE)
    folder = RunFolder(tmp_path, "p00000")
    for status in ("running", "interrupted", "finished"):
        folder.write_info(replace(on("Xeon"), status=status))
        assert is_finished(tmp_path, "p00000", MEASURE) == (status == "finished")
    assert not is_finished(tmp_path, "p00000", {"windows": 8})
    folder.close()


def requested(cards: int = 0, settings: Settings | None = None, **given: str) -> dict[str, Any]:
    """What sbatch gets for jobs of three threads."""
    parameters = queue.job_parameters(cards, 3, settings or Settings(), given)
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
        (["array-parallelism=0"], "array-parallelism=0: expected NAME=VALUE, .* array-parallelism=N or reference-node"),
        (["reference-node=a b"], "reference-node=a b: expected NAME=VALUE"),
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
    assert (card["mem"], "mem" in requested(cards=1, mem_per_gpu="32G")) == ("16G", False)
    assert "gpus_per_node" not in requested(cards=1, gres="gpu:a100:1")  # the same in other words


def test_the_time_limit_leaves_room_for_the_start_and_a_case_that_hangs() -> None:
    assert requested(settings=Settings(budget_seconds=600))["time"] == 14
    assert requested()["time"] is None
    assert requested(time="30")["time"] == "30"


def test_a_job_has_no_accounting_key_of_submitit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "script"
    commands = {"sbatch": f"cat $1 > {script}\necho Submitted batch job 12", "srun": "exit 1"}  # submitit needs both
    for name, text in commands.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    parameters = queue.job_parameters(0, 1, Settings(), {})
    assert queue.submit(tmp_path / "logs", "mine", print, [], parameters) == "12"
    assert "#SBATCH --job-name=mine" in script.read_text()
    assert "wckey" not in script.read_text()
    queue.submit(tmp_path / "logs", "mine", print, [], queue.job_parameters(0, 1, Settings(), {"wckey": "ours"}))
    assert "#SBATCH --wckey=ours" in script.read_text()


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
