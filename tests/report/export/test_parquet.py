import io

import pandas as pd
import pytest
from pyarrow import parquet as reader

from rnnbench.report.export import parquet
from tests.report.conftest import CEILING

from .conftest import FAILED, LOOP, OPERATORS, WHY, Run


def schema(data: bytes) -> dict[str, str]:
    arrow_schema = reader.read_schema(io.BytesIO(data))
    return {name: str(arrow_schema.field(name).type) for name in arrow_schema.names}


def test_pandas_reads_cases_with_their_types(run: Run) -> None:
    frame = pd.read_parquet(io.BytesIO(parquet.render(run.frame, run.summary, run.info))).set_index("case")
    assert list(frame.index) == list(run.summary["case"])
    assert frame.loc[FAILED.key, "reason"] == WHY  # not guarded: nothing runs it here
    assert frame.loc[LOOP.key, "seconds_per_call"] == run.row(LOOP)["seconds"]
    assert frame.loc[LOOP.key, "operators"] == OPERATORS
    assert list(frame["missing"][LOOP.key]) == [("macs", "=why")]


def test_windows_keep_their_lists(run: Run) -> None:
    data = parquet.render(run.frame, run.summary, run.info, windows=True)
    frame = pd.read_parquet(io.BytesIO(data))
    rows = frame[frame["case"] == LOOP.key]
    assert list(rows["quantiles_seconds_per_call"].iloc[0]) == pytest.approx([0.0003] * 3)
    assert list(rows["cores"].iloc[0]) == [0]
    assert list(rows["replicate"]) == list(range(6))
    assert schema(data)["cores"].startswith("list<")


def test_the_types_are_those_of_every_run_whatever_is_known_in_this_one(run: Run) -> None:
    poor = run.summary[run.summary["case"] == FAILED.key]
    rich = run.summary.assign(ceiling=pd.Series([CEILING] * len(run.summary), dtype=object))
    schemas = [schema(parquet.render(run.frame, summary, run.info)) for summary in (run.summary, poor, rich)]
    assert schemas[0] == schemas[1] == schemas[2]
    assert "null" not in schemas[0].values()
    assert schemas[0]["missing"].startswith("map<string, string")
