"""A run that is killed between two writes or in the middle of one, and resumed."""

import json
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from rnnbench import load, summarize
from rnnbench.harness.coordinator.resume import RunState, read_state
from rnnbench.store import jsonlines
from rnnbench.store.folder import RunFolder, last_measurements
from rnnbench.suite.file import Settings
from tests.doubles.fakes import FakeWorkers, run_into
from tests.harness.coordinator import test_runner

GROUPS = test_runner.GROUPS[:2]
SETTINGS = Settings(replicates=2, max_replicates=2, windows=2, precision=None)
CASES = {case.key for group in GROUPS for case in group.cases}


def measure(folder: RunFolder, state: RunState | None = None) -> None:
    """Measure as `rnnbench run` does, or with a state as `--resume` does."""
    run_into(folder, GROUPS, SETTINGS, state=state, workers=FakeWorkers(), seed=2)
    folder.close()


@pytest.fixture
def moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, list[str]]]:
    """The folder that a kill would leave before, after and in the middle of each write, and the windows kept so far."""
    copies: list[tuple[Path, list[str]]] = []
    kept: list[str] = []
    folder = RunFolder.create(tmp_path, "test")
    append = jsonlines.append

    def copy() -> Path:
        copies.append((tmp_path / f"moment-{len(copies)}", list(kept)))
        return Path(shutil.copytree(folder.path, copies[-1][0]))

    def watched(path: Path, records: Iterable[dict[str, Any]]) -> None:
        for record in records:
            copy()
            append(path, [record])
            torn = copy() / path.name
            torn.write_bytes(torn.read_bytes()[: -1 - len(copies) % 200])
            if path.name.startswith("windows-"):
                kept.append(json.dumps(record, separators=(",", ":")))

    with monkeypatch.context() as patch:
        patch.setattr(jsonlines, "append", watched)
        measure(folder)
    copy()
    return copies


def lines(folder: Path) -> Counter[str]:
    """The complete lines of all windows' files."""
    return Counter(line for file in folder.glob("windows-*.jsonl") for line in file.read_text().split("\n")[:-1])


def test_wherever_a_run_is_killed_no_window_is_lost_or_doubled_and_it_ends_with_all_cases(moments) -> None:
    assert len(moments) > 50
    for number, (path, kept) in enumerate(moments):
        if not (path / "run.json").exists():
            assert not lines(path)  # this run never began
            continue
        assert lines(path) == Counter(kept)
        assert set(last_measurements(path)) == CASES
        measure(RunFolder(path), read_state(path))
        after = lines(path)
        assert not Counter(kept) - after
        assert set(after.values()) == {1}
        keys = Counter((line["worker"], line["order"], line["case"]) for line in map(json.loads, after))
        assert set(keys.values()) == {1}
        assert {measurement.status for measurement in last_measurements(path).values()} == {"measured"}
        if number % 10 == 0:
            summary = summarize(load(path))
            assert set(summary["case"]) == CASES
            assert (summary["replicates"] >= 2).all()
