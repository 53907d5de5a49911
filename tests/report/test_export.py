"""A run in the formats of other tools: what pandas, spreadsheets and JSON readers get."""

import io
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet as reader

from rnnbench import load
from rnnbench.analysis import run_times
from rnnbench.analysis.summary import summarize
from rnnbench.report.as_pytest_benchmark import plain
from rnnbench.report.export import FORMATS, ExportedRun, left_out, lines
from rnnbench.store import ceilings
from rnnbench.store.folder import read_info
from rnnbench.store.records import Case, Measurement
from tests.doubles import stored
from tests.doubles.workload import case, reference_case
from tests.report.conftest import CEILING

LOOP, HOISTED, REFERENCE = case("vanilla"), case("vanilla", "hoisted"), reference_case()
WIDE = case("vanilla", batch_size=16)  # its workload has no reference
SKIPPED, FAILED = case("combined", "hoisted"), case("gru")
WHY = "=1+1 is no reason"  # a spreadsheet would run it as a formula
OPERATORS = 67


@dataclass(frozen=True)
class Run:
    path: Path
    exported: ExportedRun

    @property
    def summary(self) -> pd.DataFrame:
        return self.exported.summary

    @property
    def of_windows(self) -> ExportedRun:
        return replace(self.exported, windows=load(self.path).windows)

    def row(self, case: Case) -> dict[Any, Any]:
        return self.summary[self.summary["case"] == case.key].iloc[0].to_dict()


def read(path: Path) -> Run:
    times = run_times.read(path)
    return Run(path, ExportedRun(read_info(path), times, summarize(times)))


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Six replicates; the last was cut off before the hoisted case and does not count."""
    times = {
        LOOP: [[0.00030 + 0.00001 * number] * 3 for number in range(6)],
        HOISTED: [[0.00020 + 0.00002 * number] * 3 for number in range(5)],
        REFERENCE: [[0.00010 + 0.00001 * number] * 3 for number in range(6)],
        WIDE: [[0.0041], [0.0042]],
    }
    extra = [
        Measurement(LOOP, "measured", parity="agrees", metrics={"operators": OPERATORS}, missing={"macs": "=why"}),
        Measurement(SKIPPED, "skipped", "nothing to hoist"),
        Measurement(FAILED, "failed", WHY),
    ]
    return read(stored.folder(tmp_path_factory.mktemp("export"), times, extra))


def frame_of(to: str, run: ExportedRun) -> pd.DataFrame:
    data = io.BytesIO(FORMATS[to].render(run))
    read_frame = pd.read_parquet if to == "parquet" else pd.read_csv
    return read_frame(data).set_index("case", drop=False)


@pytest.mark.parametrize("to", ["csv", "parquet"])
def test_pandas_reads_a_row_for_every_case_with_all_digits(run: Run, to: str) -> None:
    frame = frame_of(to, run.exported)
    assert list(frame["case"]) == list(run.summary["case"])
    assert frame.loc[FAILED.key, "reason"] == (f"'{WHY}" if to == "csv" else WHY)  # nothing runs it in Parquet
    assert frame.loc[[SKIPPED.key, FAILED.key], "seconds"].isna().all()
    assert frame.loc[LOOP.key, "seconds"] == pytest.approx(run.row(LOOP)["seconds"], rel=1e-12)
    assert frame.loc[LOOP.key, "operators"] == OPERATORS
    assert json.loads(str(frame.loc[LOOP.key, "missing"])) == {"macs": "=why"}


def test_rows_of_many_runs_can_be_put_together_by_where_they_come_from(run: Run) -> None:
    environment = {
        "git": {"commit": "0123456789abcdef", "dirty": True},
        "machine": {"cpu": "AMD EPYC 7B13"},
        "slurm": {"nodes": ["n1", "n2"]},
        "worker": {"torch": "2.13.0"},
    }
    origin = ["commit", "processor", "node", "torch"]
    for exported in (run.exported, run.of_windows):
        known = replace(exported, info=replace(exported.info, environment=environment))
        assert set(frame_of("csv", known)[origin].itertuples(index=False, name=None)) == {
            ("0123456789abcdef+", "AMD EPYC 7B13", "n1, n2", "2.13.0")
        }
    unknown = replace(run.exported, info=replace(run.exported.info, environment={}))
    assert frame_of("csv", unknown)[origin].isna().all(axis=None)


def test_the_types_are_those_of_every_run_whatever_is_known_in_this_one(run: Run) -> None:
    poor = run.summary[run.summary["case"] == FAILED.key]
    rich = run.summary.assign(ceiling=CEILING.to_text())
    files = [FORMATS["parquet"].render(replace(run.exported, summary=each)) for each in (run.summary, poor, rich)]
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


@pytest.mark.parametrize("to", FORMATS)
def test_every_format_has_the_case_and_only_one_that_lacks_others_says_so(run: Run, to: str) -> None:
    assert (LOOP.key if FORMATS[to].suffix not in ("md", "tex") else "vanilla loop").encode() in FORMATS[to].render(
        run.exported
    )
    words = "2 cases left out, without a time (1 skipped: nothing to hoist; 1 failed: =1+1 is no reason)"
    assert left_out(to, run.summary) == ("" if FORMATS[to].keeps_all else words)
