"""A run that was cut off at any point goes on from there."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rnnbench.errors import UserError
from rnnbench.harness.coordinator.resume import (
    read_state,
    refuse_other_machine,
    refuse_other_suite,
)
from rnnbench.store.folder import RunFolder
from rnnbench.suite.file import Sweep
from rnnbench.suite.suites import Suite
from tests.doubles import workload as small
from tests.doubles.stored import INFO, PROCESSOR, folder, window

LOOP, REFERENCE = small.case("vanilla"), small.reference_case()


def test_a_visit_that_was_cut_off_is_left_out_and_its_worker_number_is_not_given_again(tmp_path: Path) -> None:
    path = folder(tmp_path, {LOOP: [[2.0], [2.0]], REFERENCE: [[1.0], [1.0]]})
    run = RunFolder(path)
    run.add_window(window(LOOP, 2, [2.0], turns=2))
    run.close()
    state = read_state(path)
    assert [len(windows) for _, windows, _ in state.visits] == [2, 2]
    assert (state.replicates, state.workers) == (3, 3)
    assert [group.cases for group in state.groups] == [(LOOP, REFERENCE)]


THERE = {"processor": PROCESSOR.to_json(), "cores_allowed": [0, 1]}
THEN = type(INFO)("s", "", {"sweep": []}, "", "", {"worker": {"torch": "1.0"}, "machine": THERE})


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"name": "t"}, "a run of the suite 's', not of 't'"),
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
