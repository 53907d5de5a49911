"""The export to pytest-benchmark, read by the real tool and by rnnbench."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_benchmark.stats import Stats

from rnnbench.report.as_pytest_benchmark import stats
from rnnbench.report.export import FORMATS
from rnnbench.store.metrics import METRICS
from rnnbench.store.records import AXES
from tests.report.test_export import LOOP, OPERATORS, REFERENCE, WIDE, Run, run

__all__ = ["run"]  # a fixture


def exported(run: Run) -> str:
    return FORMATS["pytest-benchmark"].render(run.exported).decode()


def content(run: Run) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(exported(run))
    return document


@pytest.fixture(scope="module")
def file(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("consumer") / "exported.json"
    path.write_text(exported(run), encoding="utf-8")
    return path


def compare(file: Path, *arguments: str) -> str:
    """The output of `pytest-benchmark compare` for the file and a copy of it (it can't read one file twice)."""
    copy = file.with_name("copy.json")
    copy.write_bytes(file.read_bytes())
    command = [sys.executable, "-m", "pytest_benchmark", "compare", str(file), str(copy), *arguments]
    done = subprocess.run(command, cwd=file.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_the_real_tool_compares_it_by_every_grouping_it_has(file: Path, run: Run) -> None:
    compare(
        file, "--group-by=fullname", "--csv=out.csv", "--columns=min,max,mean,stddev,median,iqr,outliers,rounds,ops"
    )
    with (file.parent / "out.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 2 * 4
    [original, _] = [row for row in rows if row["name"] == LOOP.key]
    assert float(original["median"]) == pytest.approx(run.row(LOOP)["seconds"], rel=0.02)
    assert int(original["rounds"]) == 5


def test_extra_info_has_every_axis_and_metric_under_its_own_name(run: Run) -> None:
    by_name = {benchmark["fullname"]: benchmark for benchmark in content(run)["benchmarks"]}
    extra = by_name[LOOP.key]["extra_info"]
    assert {name: extra[name] for name in AXES} == LOOP.axes()
    assert {metric.name for metric in METRICS} <= set(extra)
    assert extra["operators"] == OPERATORS
    assert extra["macs"] is None
    assert by_name[LOOP.key]["group"] == by_name[REFERENCE.key]["group"] != by_name[WIDE.key]["group"]


@given(st.lists(st.floats(1e-7, 10.0), min_size=1, max_size=30))
def test_every_field_is_there_and_agrees_with_pytest_benchmarks(rounds: list[float]) -> None:
    theirs = Stats()
    for seconds in rounds:
        theirs.update(seconds)
    expected, ours = theirs.as_dict(), stats(rounds)
    assert set(ours) == set(expected) | {"data"}
    # For 4 k + 1 values, pytest-benchmark 5.3 swaps the weights of the third quartile's two neighbours. With as few
    # rounds as a run has, the difference shows.
    of_quartiles = {"q3", "iqr", "iqr_outliers", "outliers", "ld15iqr", "hd15iqr"}
    compared = set(expected) - (of_quartiles if len(rounds) % 4 == 1 and len(rounds) > 1 else set())
    # A value on a fence may fall on either side of it, because sums in another order round differently.
    for name in compared - {"outliers", "iqr_outliers", "stddev_outliers", "ld15iqr", "hd15iqr"}:
        assert ours[name] == pytest.approx(expected[name], rel=1e-9, abs=1e-12), name
