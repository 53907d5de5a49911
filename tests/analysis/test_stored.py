"""Two stored runs: what makes them incomparable."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rnnbench.analysis.stored import StoredRun, compare, differences, read
from rnnbench.store.folder import FLUSHED
from tests import workload as small
from tests.stored import INFO, folder

LOOP, REFERENCE = small.case("vanilla"), small.reference_case()


def stored(parent: Path, measure: dict[str, Any]) -> StoredRun:
    path = folder(parent, {LOOP: [[2.0]] * 6, REFERENCE: [[1.0]] * 6})
    return replace(read(path), info=replace(INFO, resolved={"measure": measure}))


def test_a_run_with_flushed_caches_is_not_compared_with_one_without(tmp_path: Path) -> None:
    comparison = compare(stored(tmp_path, {}), stored(tmp_path, {"cold_cache": True}), {LOOP.key: 0.025})
    [one] = comparison.findings
    assert (one.verdict, one.reason) == ("incomparable", "cold_cache was False and is True")


@pytest.mark.parametrize(("cold", "notes"), [(True, (FLUSHED,)), (False, ())])
def test_two_runs_with_flushed_caches_are_compared_and_it_is_said(
    tmp_path: Path, cold: bool, notes: tuple[str, ...]
) -> None:
    base, head = (stored(tmp_path, {"cold_cache": cold}) for _ in range(2))
    comparison = compare(base, head, {LOOP.key: 0.025})
    assert comparison.findings[0].verdict != "incomparable"
    assert comparison.notes == notes


def test_an_older_run_is_taken_for_what_it_was() -> None:
    older, newer = (replace(INFO, resolved={"measure": measure}) for measure in ({}, {"cold_cache": False}))
    assert differences(older, newer) == []
