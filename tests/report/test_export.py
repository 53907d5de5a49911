"""A run in the formats of other tools: what pandas, spreadsheets, JSON readers and pytest-benchmark get."""

import csv
import io
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet as reader
from pytest_benchmark.stats import Stats

from rnnbench import load
from rnnbench.report.export import exported, frame_of_run, lines, parquet, plain, stats
from rnnbench.report.words.names import case_name
from rnnbench.store import ceilings
from rnnbench.store.folder import read_info
from rnnbench.store.metrics import METRICS
from rnnbench.store.parity import AGREES
from rnnbench.store.records import AXES, Measurement
from tests.doubles import checks, stored
from tests.doubles.workload import case, reference_case
from tests.report.conftest import CEILING
from tests.report.verdicts import samples

LOOP, HOISTED, REFERENCE = case("vanilla"), case("vanilla", "hoisted"), reference_case()
WIDE = case("vanilla", batch_size=16)  # its workload has no reference
SKIPPED, FAILED = case("combined", "hoisted"), case("gru")
WHY = "=1+1 is no reason"  # a spreadsheet would run it as a formula
OPERATORS = 67


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six replicates; the last was cut off before the hoisted case and does not count."""
    times = {
        LOOP: [[0.00030 + 0.00001 * number] * 3 for number in range(6)],
        HOISTED: [[0.00020 + 0.00002 * number] * 3 for number in range(5)],
        REFERENCE: [[0.00010 + 0.00001 * number] * 3 for number in range(6)],
        WIDE: [[0.0041], [0.0042]],
    }
    extra = [
        Measurement(LOOP, "measured", parity=AGREES, metrics={"operators": OPERATORS}, missing={"macs": "=why"}),
        Measurement(SKIPPED, "skipped", "nothing to hoist"),
        Measurement(FAILED, "failed", WHY),
    ]
    return stored.folder(tmp_path_factory.mktemp("export"), times, extra)


@pytest.fixture(scope="module")
def cases(run: Path) -> pd.DataFrame:
    """The summary of the run, by case."""
    frame: pd.DataFrame = load(run).frame
    return frame.set_index("case", drop=False)


@pytest.mark.parametrize("to", ["csv", "parquet"])
def test_pandas_reads_a_row_for_every_case_with_all_digits(run: Path, cases: pd.DataFrame, to: str) -> None:
    read_frame: Any = pd.read_parquet if to == "parquet" else pd.read_csv
    frame = read_frame(io.BytesIO(exported(run, to)[0])).set_index("case", drop=False)
    assert list(frame["case"]) == list(cases["case"])
    assert frame.loc[FAILED.key, "reason"] == (f"'{WHY}" if to == "csv" else WHY)  # nothing runs it in Parquet
    assert frame.loc[[SKIPPED.key, FAILED.key], "seconds"].isna().all()
    assert frame.loc[LOOP.key, "seconds"] == pytest.approx(cases.loc[LOOP.key, "seconds"], rel=1e-12)
    assert frame.loc[LOOP.key, "operators"] == OPERATORS
    assert json.loads(str(frame.loc[LOOP.key, "missing"])) == {"macs": "=why"}


def test_rows_of_many_runs_can_be_put_together_by_where_they_come_from(run: Path, cases: pd.DataFrame) -> None:
    environment = {
        "git": {"commit": "0123456789abcdef", "dirty": True},
        "machine": {"cpu": "AMD EPYC 7B13"},
        "slurm": {"nodes": ["n1", "n2"]},
        "worker": {"torch": "2.13.0"},
    }
    origin, info = ["commit", "processor", "node", "torch"], read_info(run)
    for frame in (cases, load(run).windows):
        known = frame_of_run(replace(info, environment=environment), frame)
        assert set(known[origin].itertuples(index=False, name=None)) == {
            ("0123456789abcdef+", "AMD EPYC 7B13", "n1, n2", "2.13.0")
        }
        assert frame_of_run(replace(info, environment={}), frame)[origin].isna().all(axis=None)


def test_the_types_are_those_of_every_run_whatever_is_known_in_this_one(run: Path, cases: pd.DataFrame) -> None:
    poor, rich = cases[cases["case"] == FAILED.key], cases.assign(ceiling=CEILING.to_text())
    files = [parquet(frame_of_run(read_info(run), each)) for each in (cases, poor, rich)]
    schemas = [reader.read_schema(io.BytesIO(data)) for data in files]
    kinds = [{name: str(schema.field(name).type) for name in schema.names} for schema in schemas]
    assert kinds[0] == kinds[1] == kinds[2]
    assert not [kind for kind in kinds[0].values() if "null" in kind or "list" in kind or "struct" in kind]
    assert ceilings.of_text(pd.read_parquet(io.BytesIO(files[2])).loc[0, "ceiling"]) == CEILING


def test_lines_of_json_have_all_digits_and_no_number_that_json_lacks() -> None:
    rows = [{"case": "a\u2028b", "seconds": 1.23456789012e-7, "parity_error": 3.1e-13, "count": 7, "ratio": math.nan}]
    text = lines(pd.DataFrame([*rows, {**rows[0], "ratio": math.inf}]))
    assert [json.loads(line) for line in text.splitlines()] == [{**rows[0], "ratio": None}] * 2
    values = plain({"a": np.float64(3.0), "b": [np.int64(7), math.nan], "c": np.bool_(True)})
    assert json.dumps(values) == '{"a": 3, "b": [7, null], "c": true}'


# For github-action-benchmark


def entries(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The list that this action reads of an export; each entry has a name, a unit and a number, and may have texts."""
    content, notes = exported(folder, "github-action-benchmark")
    found = json.loads(content)
    assert isinstance(found, list)
    for entry in found:
        assert {"name", "unit", "value"} <= set(entry) <= {"name", "unit", "value", "range", "extra"}
        assert type(entry["value"]) in (int, float)
        assert all(isinstance(entry[text], str) for text in entry if text != "value")
    assert len({entry["name"] for entry in found}) == len(found)  # by which it finds the last value
    return found, notes


def test_github_action_benchmark_gets_the_ratio_of_each_case_of_a_run_or_else_its_time(
    run: Path, cases: pd.DataFrame
) -> None:
    found, notes = entries(run)
    [loop, hoisted, wide] = found
    assert (loop["name"], loop["unit"]) == (case_name(LOOP), "times torch.nn.RNN")
    assert loop["value"] == pytest.approx(cases.loc[LOOP.key, "ratio"])
    assert hoisted["value"] == pytest.approx(cases.loc[HOISTED.key, "ratio"])
    low, high = map(float, loop["range"].split(" to "))
    assert low < loop["value"] < high
    assert wide["unit"] == "ms"
    assert wide["value"] == pytest.approx(4.15, rel=0.02)
    assert LOOP.key in loop["extra"]
    assert notes[0] == "3 cases left out: references, and cases without a compared time"


def test_github_action_benchmark_gets_what_each_case_of_a_check_takes_of_its_base(tmp_path: Path) -> None:
    same = samples.finding("unchanged", case=case("gru"), rule="same code", reason="runs the same code on both sides")
    accepted = replace(samples.SLOWER, accepted="it clips")
    check = checks.write(tmp_path, samples.comparison(accepted, samples.SAME, samples.FAILING, same), {})
    found, notes = entries(check)
    by_name = {entry["name"]: entry for entry in found}
    slower = by_name[case_name(accepted.case)]
    assert (slower["unit"], slower["value"], slower["range"]) == ("times the base", 1.051, "1.042 to 1.06")
    assert slower["extra"].startswith("accepted\naccepted: it clips; likely cause")
    assert by_name[case_name(case("gru"))]["value"] == 1
    assert notes == ["1 case left out: references, and cases without a compared time"]


# For pytest-benchmark


@pytest.fixture(scope="module")
def saved(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("consumer") / "exported.json"
    content, notes = exported(run, "pytest-benchmark")
    assert notes == ["2 cases left out, without a time (1 skipped: nothing to hoist; 1 failed: =1+1 is no reason)"]
    path.write_bytes(content)
    return path


def test_the_real_tool_compares_it(saved: Path, cases: pd.DataFrame) -> None:
    copy = saved.with_name("copy.json")  # it can't read one file twice
    copy.write_bytes(saved.read_bytes())
    columns = "--columns=min,max,mean,stddev,median,iqr,outliers,rounds,ops"
    options = ["--group-by=fullname", "--csv=out.csv", columns]
    command = [sys.executable, "-m", "pytest_benchmark", "compare", str(saved), str(copy), *options]
    done = subprocess.run(command, cwd=saved.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with (saved.parent / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 4
    [original, _] = [row for row in rows if row["name"] == LOOP.key]
    assert float(original["median"]) == pytest.approx(cases.loc[LOOP.key, "seconds"], rel=0.02)
    assert int(original["rounds"]) == 5


def test_each_benchmark_has_the_names_of_the_pytest_plugin_and_every_axis_and_metric(saved: Path) -> None:
    by_name = {benchmark["fullname"]: benchmark for benchmark in json.loads(saved.read_text())["benchmarks"]}
    assert by_name[LOOP.key]["name"] == case_name(LOOP)
    assert by_name[LOOP.key]["group"] == by_name[REFERENCE.key]["group"] != by_name[WIDE.key]["group"]
    extra = by_name[LOOP.key]["extra_info"]
    assert {name: extra[name] for name in AXES} == LOOP.axes()
    assert {metric.name for metric in METRICS} <= set(extra)
    assert (extra["operators"], extra["macs"]) == (OPERATORS, None)


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
