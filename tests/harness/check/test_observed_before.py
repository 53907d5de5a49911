"""What an earlier check observed counts only for the same commit, suite, machine and versions."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rnnbench.harness.check.observed_before import CHECKED_OUT, NOTHING, ObservedBefore, observed_before
from rnnbench.store.folder import RunFolder
from rnnbench.store.records import ENDED_BEFORE, Case, Measurement
from rnnbench.store.run_info import RunInfo
from tests.doubles import workload as small
from tests.doubles.stored import INFO, MACHINE

CASES = [small.case(cell, batch_size=size) for cell in ("gru", "lstm") for size in (1, 2, 3)]
SUITE = {"name": "test", "sweep": [{"cell": ["gru", "lstm"]}], "measure": {"compiled_steps": 32}, "check": {}}
ENVIRONMENT = {
    "machine": MACHINE,
    "software": {"packages": {"torch": "2.9", "numpy": "2.0"}, "variables": {}},
    "worker": {"torch": "2.9"},
    CHECKED_OUT: {"commit": "abc", "suite": "test.toml"},
}
BASE = replace(INFO, resolved=SUITE, environment=ENVIRONMENT)


def works(case: Case, **values: Any) -> Measurement:
    metrics = {"operators": 7, "parameters": 5, "compile_seconds": 0.1} | values
    return Measurement(case, "measured", parity="agrees", warmup_windows=3, metrics=metrics)


def earlier(
    out: Path, info: RunInfo, *measurements: Measurement, name: str = "test-check-20260101T000000Z-aaaa"
) -> None:
    with closing(RunFolder(_made(out / name / "base"))) as folder:
        folder.write_info(info)
        for measurement in measurements:
            folder.add_measurement(measurement)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def test_cases_of_the_same_base_are_known_as_they_were_before_their_timing(tmp_path: Path) -> None:
    earlier(tmp_path, BASE, works(CASES[0], instructions=10**6), Measurement(CASES[1], "failed", "no"))
    before = observed_before(tmp_path, replace(BASE, resolved=SUITE | {"check": {"budget_seconds": 5}}))
    assert before.check == "test-check-20260101T000000Z-aaaa"
    expected = replace(works(CASES[0]), status="pending", reason=ENDED_BEFORE, warmup_windows=None)
    assert before.measurements == {CASES[0].key: expected}  # a case that failed is tried again


@pytest.mark.parametrize(
    "other",
    [
        {"environment": ENVIRONMENT | {CHECKED_OUT: {"commit": "abd", "suite": "test.toml"}}},
        {"environment": ENVIRONMENT | {CHECKED_OUT: {"commit": "abc", "suite": "other/test.toml"}}},
        {"environment": ENVIRONMENT | {"worker": {"torch": "2.10"}}},
        {"environment": ENVIRONMENT | {"software": {"packages": {"torch": "2.9", "numpy": "2.1"}, "variables": {}}}},
        {"environment": ENVIRONMENT | {"software": {**ENVIRONMENT["software"], "variables": {"ONEDNN_VERBOSE": "1"}}}},  # type: ignore[dict-item]
        {"environment": ENVIRONMENT | {"machine": {"processor": MACHINE["processor"] | {"stepping": "2"}}}},
        {"resolved": SUITE | {"sweep": [{"cell": ["gru"]}]}},
        {"resolved": SUITE | {"measure": {"compiled_steps": 16}}},
    ],
)
def test_another_commit_suite_machine_or_version_is_observed(tmp_path: Path, other: dict[str, Any]) -> None:
    earlier(tmp_path, BASE, works(CASES[0]))
    assert observed_before(tmp_path, replace(BASE, **other)) == NOTHING


def test_a_folder_that_is_no_checked_out_commit_is_observed(tmp_path: Path) -> None:
    environment = {key: value for key, value in ENVIRONMENT.items() if key != CHECKED_OUT}
    earlier(tmp_path, replace(BASE, environment=environment), works(CASES[0]))
    assert observed_before(tmp_path, replace(BASE, environment=environment)) == NOTHING


def test_the_newest_check_that_can_be_read_counts(tmp_path: Path) -> None:
    for number, day in enumerate((1, 3, 2)):
        earlier(tmp_path, BASE, works(CASES[0], operators=number), name=f"test-check-2026010{day}T000000Z-aaaa")
    earlier(tmp_path, BASE, name="test-check-20260104T000000Z-aaaa")  # it was interrupted before any case
    earlier(tmp_path, BASE, works(CASES[0]), name="test-check-20260105T000000Z-aaaa")
    (tmp_path / "test-check-20260105T000000Z-aaaa" / "base" / "run.json").write_text("{")
    assert observed_before(tmp_path, BASE).check == "test-check-20260103T000000Z-aaaa"
    assert observed_before(tmp_path / "none", BASE) == NOTHING


def test_one_case_of_each_cell_is_observed_again_and_all_that_are_new() -> None:
    before = ObservedBefore("earlier", {case.key: works(case) for case in (*CASES[1:3], *CASES[3:5])})
    assert before.known(CASES) == [CASES[2], CASES[4]]


@pytest.mark.parametrize(
    ("again", "confirmed"),
    [
        ({}, True),
        ({"compile_seconds": 0.2}, True),  # no verdict uses it
        ({"operators": 8}, False),
    ],
)
def test_earlier_values_are_confirmed_by_those_that_verdicts_use(again: dict[str, Any], confirmed: bool) -> None:
    before = ObservedBefore("earlier", {case.key: works(case) for case in CASES[:2]})
    new = [works(CASES[0], **again), works(CASES[5], operators=9)]
    assert before.is_confirmed(new) is confirmed


def test_a_case_that_fails_now_confirms_nothing() -> None:
    before = ObservedBefore("earlier", {CASES[0].key: works(CASES[0])})
    assert not before.is_confirmed([replace(works(CASES[0]), status="failed")])
