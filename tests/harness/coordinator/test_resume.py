"""A run that was cut off at any point goes on from there."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rnnbench.errors import UserError
from rnnbench.harness.coordinator.resume import (
    RunState,
    read_state,
    refuse_other_machine,
    refuse_other_suite,
)
from rnnbench.store.folder import RunFolder
from rnnbench.store.records import Measurement
from rnnbench.suite.file import Settings, Sweep
from tests.doubles import workload as small
from tests.doubles.fakes import FakeWorkers, run_into
from tests.doubles.stored import INFO, PROCESSOR, folder, on, rows, window
from tests.harness.coordinator.test_runner import GROUPS, measure

LOOP, REFERENCE = small.case("vanilla"), small.reference_case()


def test_a_visit_that_was_cut_off_is_left_out_and_its_worker_number_is_not_given_again(tmp_path: Path) -> None:
    path = folder(tmp_path, {LOOP: [[2.0], [2.0]], REFERENCE: [[1.0], [1.0]]})
    run = RunFolder(path)
    run.add_window(window(LOOP, 2, [2.0], turns=2))
    run.close()
    state = read_state(path)
    assert [len(visit.windows) for visit in state.visits] == [2, 2]
    assert (state.replicates, state.workers) == (3, 3)
    assert [group.cases for group in state.groups] == [(LOOP, REFERENCE)]


def test_the_state_of_an_empty_folder_is_empty(tmp_path: Path) -> None:
    assert read_state(tmp_path) == RunState()


def test_windows_of_an_unknown_case_are_refused(tmp_path: Path) -> None:
    path = folder(tmp_path, {LOOP: [[1.0]]})
    (path / "measurements.jsonl").unlink()
    with pytest.raises(UserError, match="windows of a case"):
        read_state(path)


@pytest.mark.parametrize("cut", [0.0, 0.1, 0.35, 0.5, 0.77, 0.99, 1.0])
def test_a_run_cut_anywhere_ends_with_the_same_cases_and_as_many_complete_visits(tmp_path: Path, cut: float) -> None:
    whole, *_ = measure(tmp_path / "whole")
    [path] = (tmp_path / "whole").iterdir()
    files = sorted(path.glob("windows-*.jsonl"))
    content = b"".join(file.read_bytes() for file in files)
    remaining = round(cut * len(content))
    for file in files:
        size = file.stat().st_size
        file.write_bytes(file.read_bytes()[:remaining])
        remaining = max(0, remaining - size)
        if not file.stat().st_size:
            file.unlink()

    settings = Settings(replicates=3, precision=None, window_seconds=0.01)
    state = read_state(path)
    run = RunFolder(path)
    run_into(run, state.groups, settings, state=state, workers=FakeWorkers())
    run.close()

    frame = rows(path)
    assert frame["case"].unique().tolist() == whole["case"].unique().tolist()
    assert not frame.duplicated(["case", "worker", "order"]).any()
    complete = frame[frame.groupby(["worker", "batch_size"])["order"].transform("size") == frame["turns"]]
    assert set(complete.groupby(["case", "worker"]).size()) == {2}
    assert complete.groupby("case")["worker"].nunique().tolist() == [3] * 6
    assert len(GROUPS) == 3


def test_two_writers_never_share_a_folder(tmp_path: Path) -> None:
    first = RunFolder.create(tmp_path, "test")
    with pytest.raises(UserError, match="another rnnbench is writing to this run"):
        RunFolder(first.path)
    first.close()
    RunFolder(first.path).close()


THERE = {"processor": PROCESSOR.to_json(), "cores_allowed": [0, 1]}
THEN = type(INFO)("s", "", {"sweep": []}, "", "", {"worker": {"torch": "1.0"}, "machine": THERE})


@pytest.mark.parametrize(
    ("suite", "words"),
    [
        ({"name": "t", "sweep": []}, "a run of the suite 's', not of 't'"),
        ({"name": "s", "sweep": [1]}, "the sweeps of 's' have changed"),
    ],
)
def test_another_suite_is_not_mixed_in(tmp_path: Path, suite: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        refuse_other_suite(tmp_path, THEN, suite)
    refuse_other_suite(tmp_path, THEN, {"name": "s", "sweep": []})


def test_a_run_from_before_an_axis_was_there_goes_on(tmp_path: Path) -> None:
    sweep = Sweep(cell=("gru",), batch_size=(1, 2)).model_dump(mode="json")
    older = {axis: values for axis, values in sweep.items() if axis not in ("nonlinearity", "arguments", "loss")}
    then = replace(THEN, resolved={"sweep": [older]})
    refuse_other_suite(tmp_path, then, {"name": "s", "sweep": [sweep]})
    for changed in (sweep | {"nonlinearity": ["relu"]}, sweep | {"batch_size": [1]}):
        with pytest.raises(UserError, match="the sweeps of 's' have changed"):
            refuse_other_suite(tmp_path, then, {"name": "s", "sweep": [changed]})


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


def test_a_run_of_an_unknown_machine_is_not_resumed(tmp_path: Path) -> None:
    older = replace(THEN, environment=on(None).environment)
    with pytest.raises(UserError, match="the run was made by an rnnbench that did not record the machine's identity; "):
        refuse_other_machine(tmp_path, older, THEN.environment)


def test_a_failed_case_stays_failed(tmp_path: Path) -> None:
    path = folder(tmp_path, {LOOP: [[1.0]]}, [Measurement(REFERENCE, "failed", "parity")])
    assert read_state(path).measurements[REFERENCE.key].status == "failed"
