"""A run that was cut off at any point goes on from there."""

import json
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rnnbench import load, summarize
from rnnbench.errors import UserError
from rnnbench.harness.coordinator.start import (
    NEW_RUN,
    EarlierRun,
    read_earlier_run,
    refuse_other_machine,
    refuse_other_suite,
)
from rnnbench.store.folder import RunFolder, last_measurements
from rnnbench.store.stored_record import append_lines
from rnnbench.suite.file import Settings, Sweep
from rnnbench.suite.suites import Suite
from tests.doubles import workload as small
from tests.doubles.fakes import FakeWorkers, run_into
from tests.doubles.stored import INFO, PROCESSOR, folder, window
from tests.harness.coordinator import test_runner

LOOP, REFERENCE = small.case("vanilla"), small.reference_case()


def test_a_visit_that_was_cut_off_is_left_out_and_its_worker_number_is_not_given_again(tmp_path: Path) -> None:
    path = folder(tmp_path, {LOOP: [[2.0], [2.0]], REFERENCE: [[1.0], [1.0]]})
    run = RunFolder(path)
    run.add_window(window(LOOP, 2, [2.0], turns=2))
    run.close()
    earlier = read_earlier_run(path)
    assert [len(windows) for _, windows, _ in earlier.visits] == [2, 2]
    assert (earlier.replicates, earlier.workers) == (3, 3)
    assert [group.cases for group in earlier.groups] == [(LOOP, REFERENCE)]


THERE = {"processor": PROCESSOR.to_json(), "cores_allowed": [0, 1]}
THEN = type(INFO)("s", "", {"sweep": []}, "", "", {"worker": {"torch": "1.0"}, "machine": THERE})


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"name": "t"}, "this run is of the suite 's', not of 't'"),
        ({"sweep": [Sweep(cell=("lstm",))]}, "the sweeps of 's' have changed"),
    ],
)
def test_another_suite_is_not_mixed_in(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    suite = Suite(file=tmp_path / "s.toml", name="s", sweep=[Sweep(cell=("gru",))])
    info = replace(THEN, resolved=suite.model_dump(mode="json"))
    with pytest.raises(UserError, match=words):
        refuse_other_suite(tmp_path, info, suite.model_copy(update=changed))
    refuse_other_suite(tmp_path, info, suite)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"worker": {"torch": "2.0"}}, "torch was '1.0' and is '2.0'"),
        ({"machine": THERE | {"processor": replace(PROCESSOR, stepping="2").to_json()}}, "stepping was 1 and is 2"),
        ({"machine": THERE | {"cores_allowed": [2, 3]}}, r"allowed cores were \[0, 1\] and are \[2, 3\]"),
    ],
)
def test_another_machine_is_not_mixed_in(tmp_path: Path, environment: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        refuse_other_machine(tmp_path, THEN, THEN.environment | environment)
    refuse_other_machine(tmp_path, THEN, THEN.environment)


GROUPS = test_runner.GROUPS[:2]
SETTINGS = Settings(replicates=2, max_replicates=2, windows=2, precision=None)
CASES = {case.key for group in GROUPS for case in group.cases}


def measure(folder: RunFolder, earlier: EarlierRun = NEW_RUN) -> None:
    """Measure as `rnnbench run` does, or after an earlier run as `--resume` does."""
    run_into(folder, GROUPS, SETTINGS, earlier=earlier, workers=FakeWorkers(), seed=2)
    folder.close()


@pytest.fixture
def moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, list[str]]]:
    """The folder that a kill would leave before, after and in the middle of each write, and the windows kept so far."""
    copies: list[tuple[Path, list[str]]] = []
    kept: list[str] = []
    folder = RunFolder.create(tmp_path, "test")

    def copy() -> Path:
        copies.append((tmp_path / f"moment-{len(copies)}", list(kept)))
        return Path(shutil.copytree(folder.path, copies[-1][0]))

    def watched(path: Path, records: Iterable[dict[str, Any]]) -> None:
        for record in records:
            copy()
            append_lines(path, [record])
            torn = copy() / path.name
            torn.write_bytes(torn.read_bytes()[: -1 - len(copies) % 200])
            if path.name.startswith("windows-"):
                kept.append(json.dumps(record, separators=(",", ":")))

    with monkeypatch.context() as patch:
        patch.setattr("rnnbench.store.folder.append_lines", watched)
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
        measure(RunFolder(path), read_earlier_run(path))
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
