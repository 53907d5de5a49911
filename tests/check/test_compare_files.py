"""Two stored runs against each other, by the margins of the suite."""

from pathlib import Path

import pytest

from rnnbench.check.compare_files import compare_files
from rnnbench.errors import UserError
from tests.doubles.stored import folder, several


def test_two_runs_are_compared_by_the_suites_margins(tmp_path: Path) -> None:
    suite = {"check": {"margins": [{"only": "batch_size=1", "margin": 0.3}]}}
    base, head = (
        folder(tmp_path / name, several([slow] * 6), resolved=suite) for name, slow in (("runs", 2.0), ("others", 2.2))
    )
    found = {each.case.axes()["batch_size"]: each for each in compare_files(base, head, margin=None).findings}
    assert {size: each.margin for size, each in found.items()} == {1: 0.3} | dict.fromkeys(range(2, 7), 0.025)
    assert (found[1].verdict, found[2].verdict) == ("unchanged", "regressed")
    assert {each.margin for each in compare_files(base, head, margin=0.5).findings} == {0.5}
    with pytest.raises(UserError, match="are the same"):
        compare_files(base, base, margin=None)
