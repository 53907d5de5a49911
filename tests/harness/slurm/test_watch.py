"""How states of jobs are handled, with a queue whose answers the test sets."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rnnbench import suites
from rnnbench.harness.slurm import queue, watch
from rnnbench.harness.slurm.job import UNLIKE
from rnnbench.harness.slurm.options import asked
from rnnbench.harness.slurm.parts import read_parts, split, write_parts
from rnnbench.harness.slurm.progress import JobsProgress
from rnnbench.harness.slurm.queue import JobState, Ticket
from rnnbench.store.folder import RunFolder


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
    assert waiting.left_out == {"odd": "cpu was A and is B"}
    assert [standing.lost for standing in waiting.standings] == [[], [], []]
