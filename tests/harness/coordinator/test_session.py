"""A run from start to end, also when the disk, the user or its budget ends it early."""

import errno
import json
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rnnbench.errors import Interrupted, UserError
from rnnbench.harness.coordinator import environment, session
from rnnbench.harness.coordinator.runner import Runner
from rnnbench.harness.coordinator.session import resume_run, run_suite, seldom_quiet, with_shortfall
from rnnbench.harness.machine import cores
from rnnbench.store.folder import RunFolder, last_measurements, read_info
from rnnbench.store.records import Group
from rnnbench.store.run_info import RunInfo
from rnnbench.suite import suites
from rnnbench.suite.file import Settings
from tests.doubles import workload as small
from tests.doubles.fakes import FakeWorkers, run_into

SUITE = """
name = "tiny"
[measure]
replicates = 1
max_replicates = 1
windows = 2
window_seconds = 0.001
[[sweep]]
cell = "gru"
batch_size = 1
seq_len = 2
hidden_size = 4
"""


def run(folder: Path, on_progress: Any = lambda step: None) -> Path:
    (folder / "tiny.toml").write_text(SUITE)
    suite = suites.read_suite(str(folder / "tiny.toml"))
    groups = suite.groups({}, None)
    return run_suite(suite, groups, suite.measure, out=folder / "out", command="x", on_progress=on_progress)


def test_a_full_disk_is_told_in_a_line_and_what_is_there_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: RunFolder, *windows: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "add_window", full)
        with pytest.raises(
            UserError, match=r"tiny-.*: can't be written: No space left on device; the run can be resumed"
        ):
            run(tmp_path)
    [path] = (tmp_path / "out").iterdir()
    assert read_info(path).status == "interrupted"
    suite = suites.read_suite(str(tmp_path / "tiny.toml"))
    resume_run(path, suite, suite.measure, command="y", on_progress=lambda step: None)
    assert read_info(path).status == "finished"


def test_ctrl_c_says_where_the_measurements_are_and_a_run_has_all_of_its_cases_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_info, counts = RunFolder.write_info, list[int]()

    def look(folder: RunFolder, info: RunInfo) -> None:
        counts.append(len(last_measurements(folder.path)))
        write_info(folder, info)

    monkeypatch.setattr(RunFolder, "write_info", look)

    def stop(step: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match=r"what was measured is in .*tiny-.*; the run can be resumed"):
        run(tmp_path, on_progress=stop)
    assert set(counts) == {2}


def test_no_device_is_told_before_a_folder_is_made(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(SUITE)
    suite = suites.read_suite(str(tmp_path / "tiny.toml"))
    groups = suite.groups({}, "tpu")
    with pytest.raises(session.NoDevice, match="no device 'tpu'"):
        run_suite(suite, groups, suite.measure, out=tmp_path / "out", command="x", on_progress=lambda step: None)
    assert not (tmp_path / "out").exists()


def test_nothing_is_left_of_a_run_that_can_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: RunFolder, info: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RunFolder, "write_info", full)
    with pytest.raises(UserError, match=r"out: can't be written: No space left on device; give another folder"):
        run(tmp_path)
    assert not list((tmp_path / "out").iterdir())


SETTINGS = Settings(replicates=5, windows=4, window_seconds=0.01)


SIZES = (1, 2, 3, 4)
GROUPS = [
    Group(
        small.workload(batch_size=size), (small.case("vanilla", batch_size=size), small.reference_case(batch_size=size))
    )
    for size in SIZES
]


def ran(parent: Path, seconds: Callable[[str], float] = lambda key: 0.05, **settings: Any) -> tuple[RunInfo, Runner]:
    """A finished run with workers on a fake clock."""
    noise = random.Random(1)
    workers = FakeWorkers(seconds=lambda key: seconds(key) * (1 + 0.02 * noise.random()))
    defaults = {"replicates": 6, "windows": 4, "window_seconds": 0.01, "precision": None, "max_replicates": 100}
    chosen = Settings(**(defaults | settings))
    folder = RunFolder.create(parent, "test")
    runner = run_into(folder, GROUPS, chosen, on_progress=lambda step: None, workers=workers, seed=1)
    folder.close()
    info = RunInfo("test", "", {"measure": chosen.model_dump()}, "", "", {}, seconds=runner.seconds)
    return replace(info, stage_seconds=runner.stage_seconds), runner


def needed(info: RunInfo) -> float:
    assert info.seconds_needed is not None
    return info.seconds_needed


@pytest.mark.parametrize("budget", [12.0, 15.0])
def test_a_budget_as_large_as_the_run_says_is_enough(tmp_path: Path, budget: float) -> None:
    info = with_shortfall(*ran(tmp_path, budget_seconds=budget))
    assert list(map(str, info.notes)) == ["budget: it ended the run before its last replicate"]
    info, runner = ran(tmp_path, budget_seconds=needed(info) + 1.0)
    assert runner.replicates == 6
    assert with_shortfall(info, runner) == info


def test_where_precision_is_the_aim_the_note_follows_from_the_spread_that_was_seen(tmp_path: Path) -> None:
    info, runner = ran(tmp_path, budget_seconds=25.0, precision=0.003)
    assert 3 <= runner.replicates < 15
    info = with_shortfall(info, runner)
    [note] = info.notes
    # How many depends on the order in which threads draw their noise.
    assert re.fullmatch(r"precision: ±0\.3% was not reached in [1-4] of 4 groups", str(note))
    _, longer = ran(tmp_path, budget_seconds=1.3 * needed(info), precision=0.003)
    assert len(longer.planner.missed()) < 4


def test_a_note_counts_the_cases_that_were_not_reached(tmp_path: Path) -> None:
    info = with_shortfall(*ran(tmp_path, lambda key: 0.5, budget_seconds=6.0))
    [note] = info.notes
    assert re.fullmatch(r"budget: \d of 8 cases were not reached", str(note))
    assert needed(info) > 6.0


def test_a_note_counts_the_groups_that_had_too_few_quiet_moments() -> None:
    assert seldom_quiet(0, 4) == []
    [note] = seldom_quiet(1, 4)
    assert str(note).startswith("shared core: 1 of 4 groups had too few quiet moments")


def test_the_environment_says_what_a_reader_needs_and_fits_into_json(tmp_path: Path) -> None:
    facts = environment.describe(tmp_path)
    assert json.loads(json.dumps(facts)) == facts
    assert facts["machine"]["cpu"]
    assert facts["machine"]["cores_allowed"] == cores.allowed_cores()
    assert facts["software"]["packages"]["torch"]
    assert facts["git"] is None
