import os
import time
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.harness.slurm import queue
from rnnbench.harness.slurm.options import asked
from rnnbench.harness.slurm.parts import JobPart
from rnnbench.harness.slurm.queue import JobState, Ticket
from rnnbench.suite_file import Settings
from tests.doubles import workload as small
from tests.doubles.slurm_cluster import Cluster, wait_until


@pytest.mark.parametrize(
    ("job", "elements"),
    [
        ("12", [("12", None)]),
        ("12_3", [("12_3", 3)]),
        ("12_[3]", [("12_3", 3)]),
        ("12_[0-2,5%4]", [("12_0", 0), ("12_1", 1), ("12_2", 2), ("12_5", 5)]),
    ],
)
def test_a_job_of_squeue_is_each_of_the_jobs_it_stands_for(job: str, elements: list[tuple[str, int | None]]) -> None:
    assert queue.elements(job) == elements


@pytest.mark.parametrize(
    ("state", "exit_code"),
    [
        ("CANCELLED", "0:15"),
        ("TIMEOUT", "0:15"),
        ("NODE_FAIL", "0:0"),
        ("OUT_OF_MEMORY", "0:125"),
        ("PREEMPTED", "0:0"),
        ("FAILED", "137:0"),
        ("FAILED", "0:9"),
        ("FAILED", "1:0"),
    ],
)
def test_how_a_job_ended_is_said_in_words(state: str, exit_code: str, snapshot: SnapshotAssertion) -> None:
    assert JobState("12_3", state, exit_code, "n7", "None").how_it_ended == snapshot


@pytest.mark.parametrize("words", ["Connection reset by peer", "something that no version has said before"])
def test_a_question_that_slurm_does_not_answer_is_to_be_asked_again(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restarting controller once answered `Connection reset by peer`, and that ended the sweep."""
    squeue = tmp_path / "squeue"
    squeue.write_text(f"#!/bin/sh\necho 'slurm_load_jobs error: {words}' >&2\nexit 1\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(queue.ControllerDown, match=words):
        queue.states(["sweep"])


def note_card(folder: str, number: int) -> None:
    """A job: write its card into a file, then wait for the file `end`."""
    file = Path(folder) / f"job-{number}"
    file.with_suffix(".new").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
    file.with_suffix(".new").replace(file)
    while not (Path(folder) / "end").exists():
        time.sleep(0.02)


@pytest.mark.needs("slurm")
def test_jobs_that_run_at_the_same_time_have_cards_of_their_own(slurm: Cluster, tmp_path: Path) -> None:
    part = JobPart("p00000", (small.case("vanilla", device="cuda"),))
    arguments = [(str(tmp_path), number) for number in range(3)]
    queue.submit(tmp_path / "slurm", "cards", note_card, arguments, asked([part], Settings(), {}))
    wait_until(lambda: len(list(tmp_path.glob("job-?"))) == 2, "two jobs")
    states = queue.states(["cards"])
    assert sorted(state.state for state in states.values()) == ["PENDING", "RUNNING", "RUNNING"]
    assert sorted(file.read_text() for file in tmp_path.glob("job-?")) == ["0", "1"]
    (tmp_path / "end").touch()
    wait_until(lambda: not any(state.alive for state in queue.states(["cards"]).values()), "their ends")
    assert sorted(file.read_text() for file in tmp_path.glob("job-?")) in (["0", "0", "1"], ["0", "1", "1"])


@pytest.mark.needs("slurm")
def test_cancelled_jobs_are_no_longer_alive(slurm: Cluster, tmp_path: Path) -> None:
    part = JobPart("p00000", (small.case("vanilla"),))
    options = asked([part], Settings(), {"begin": "now+1hour"})
    queue.submit(tmp_path / "slurm", "waiting", note_card, [(str(tmp_path), 0), (str(tmp_path), 1)], options)
    alive = queue.states(["waiting"])
    assert {state.state for state in alive.values()} == {"PENDING"}
    queue.cancel([state.job for state in alive.values()])
    ended = queue.states(["waiting"])
    for index in (0, 1):
        state = queue.state_of(Ticket("waiting", index), ended)
        assert state.state == "CANCELLED"
    assert queue.state_of(Ticket("other", 0), ended) is None
    queue.cancel([state.job for state in alive.values()])  # a second time does no harm
    assert queue.states([]) == {}


@pytest.mark.parametrize(
    ("shown", "most"),
    [
        ("MaxArraySize            = 1001\nMaxJobCount             = 100\n", 100),
        ("MaxArraySize            = 50\n", 50),
        ("MaxArraySize            = 0\n", 1),
        ("nothing of it\n", None),
        (queue.ControllerDown("no answer"), None),
    ],
)
def test_the_size_of_an_array_is_read_from_slurms_configuration(
    monkeypatch: pytest.MonkeyPatch, shown: str | Exception, most: int | None
) -> None:
    def ask(*command: str) -> str:
        assert command == ("scontrol", "show", "config")
        if isinstance(shown, Exception):
            raise shown
        return shown

    monkeypatch.setattr(queue, "_ask", ask)
    assert queue.max_in_array() == most


@pytest.mark.needs("slurm")
def test_a_real_slurm_tells_its_limit(slurm: Cluster) -> None:
    assert queue.max_in_array() == 1001
