"""`rnnbench.compare(...)` of stored runs."""

from pathlib import Path

import pytest

import rnnbench
from tests.doubles import workload as small
from tests.doubles.stored import folder
from tests.report.notebook.test_live import measured


def test_stored_runs_are_compared_by_their_folders(tmp_path: Path) -> None:
    base, head = (
        folder(tmp_path, {small.case("vanilla"): [[2.0]] * 4, small.reference_case(): [[1.0]] * 4}) for _ in range(2)
    )
    by_path = rnnbench.compare(base, str(head))
    loaded = rnnbench.compare(rnnbench.load(base), rnnbench.load(head))
    assert by_path.frame.equals(loaded.frame)
    assert "case=" not in repr(by_path)
    with pytest.raises(ValueError, match="head: expected 1 stored run, found 2"):
        rnnbench.compare(base, rnnbench.load([base, head]))
    with pytest.raises(ValueError, match=r"base: expected 1 stored run, found 0; rnnbench.measure compares live"):
        rnnbench.compare(measured(), head)
