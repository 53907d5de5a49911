from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.harness.slurm.job import MACHINE, UnlikeMachine, first_machine, is_finished, nodes, refuse_unlike
from rnnbench.store.folder import RunFolder
from rnnbench.store.run_info import RunInfo
from tests.doubles.stored import INFO, PROCESSOR

MEASURE = {"windows": 4}


def on(cpu: str, gpus: tuple[str, ...] = ()) -> RunInfo:
    machine = {"cpu": cpu, "processor": replace(PROCESSOR, model=cpu).to_json(), "cores_allowed": [0, 1]}
    environment: dict[str, Any] = {"machine": machine, "worker": {"gpus": list(gpus)}}
    return replace(INFO, environment=environment, resolved={"measure": MEASURE})


def of_stepping(stepping: str) -> RunInfo:
    info = on("Xeon")
    info.environment["machine"]["processor"]["stepping"] = stepping
    return info


def test_machines_like_the_first_are_taken_wherever_they_are(tmp_path: Path) -> None:
    refuse_unlike(tmp_path, on("Xeon"))
    other_cores = on("Xeon")
    other_cores.environment["machine"]["cores_allowed"] = [6, 7]
    refuse_unlike(tmp_path, other_cores)
    first = first_machine(tmp_path)
    assert first.environment["machine"]["cores_allowed"] == [0, 1]


@pytest.mark.parametrize(
    "other",
    [
        on("EPYC"),
        of_stepping("2"),
        on("Xeon", ("L4",)),
        replace(on("Xeon"), resolved={"measure": {"windows": 8}}),
    ],
)
def test_other_machines_are_refused_with_what_differs(
    tmp_path: Path, other: RunInfo, snapshot: SnapshotAssertion
) -> None:
    refuse_unlike(tmp_path, on("Xeon"))
    with pytest.raises(UnlikeMachine) as raised:
        refuse_unlike(tmp_path, other)
    assert str(raised.value) == snapshot
    assert [file.name for file in tmp_path.iterdir()] == [MACHINE]


def test_of_many_jobs_at_once_one_is_the_first(tmp_path: Path) -> None:
    def come(number: int) -> bool:
        try:
            refuse_unlike(tmp_path, on(f"kind {number % 8}"))
        except UnlikeMachine:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        accepted = list(pool.map(come, range(64)))
    assert sum(accepted) == 8
    first = first_machine(tmp_path)
    assert accepted[int(first.environment["machine"]["cpu"].split()[1])]


def test_the_nodes_of_a_part_are_those_whose_windows_count(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "p00000")
    jobs = [{"node": node, "first_worker": first} for node, first in (("a", 0), ("lost", 2), ("b", 2), ("idle", 3))]
    folder.write_info(replace(INFO, environment={"jobs": jobs}))
    folder.close()
    for worker, text in {"p00000-0000": "{}", "p00000-0001": "", "p00000-0002": "{}", "p00001-0003": "{}"}.items():
        (tmp_path / f"windows-{worker}.jsonl").write_text(text)
    assert nodes(tmp_path, "p00000") == {"a", "b"}
    assert nodes(tmp_path, "p00001") == set()  # which no job has begun


def test_a_part_is_finished_by_the_settings_of_now_or_not_at_all(tmp_path: Path) -> None:
    assert not is_finished(tmp_path, "p00000", MEASURE)
    folder = RunFolder(tmp_path, "p00000")
    for status in ("running", "interrupted", "finished"):
        folder.write_info(replace(on("Xeon"), status=status))
        assert is_finished(tmp_path, "p00000", MEASURE) == (status == "finished")
    assert not is_finished(tmp_path, "p00000", {"windows": 8})
    folder.close()
