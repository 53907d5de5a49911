import io
import json
from dataclasses import replace

import pandas as pd
import pytest
from pyarrow import parquet as reader

from rnnbench.report.export import parquet
from rnnbench.store.frames import QUANTILES
from tests.report.conftest import CEILING

from .conftest import FAILED, LOOP, OPERATORS, WHY, Run


def schema(data: bytes) -> dict[str, str]:
    arrow_schema = reader.read_schema(io.BytesIO(data))
    return {name: str(arrow_schema.field(name).type) for name in arrow_schema.names}


def test_pandas_reads_cases_with_their_types(run: Run) -> None:
    frame = pd.read_parquet(io.BytesIO(parquet.render(run.exported))).set_index("case")
    assert list(frame.index) == list(run.summary["case"])
    assert frame.loc[FAILED.key, "reason"] == WHY  # not guarded: nothing runs it here
    assert frame.loc[LOOP.key, "seconds"] == run.row(LOOP)["seconds"]
    assert frame.loc[LOOP.key, "operators"] == OPERATORS
    assert json.loads(str(frame.loc[LOOP.key, "missing"])) == {"macs": "=why"}


def test_windows_keep_their_quantiles(run: Run) -> None:
    frame = pd.read_parquet(io.BytesIO(parquet.render(run.of_windows)))
    rows = frame[frame["case"] == LOOP.key]
    assert rows[list(QUANTILES[:3])].iloc[0].tolist() == pytest.approx([0.0003] * 3)
    assert rows["cores"].iloc[0] == "0"
    assert list(rows["replicate"]) == list(range(6))


def test_the_types_are_those_of_every_run_whatever_is_known_in_this_one(run: Run) -> None:
    poor = run.summary[run.summary["case"] == FAILED.key]
    rich = run.summary.assign(ceiling=CEILING.to_text())
    known = [replace(run.exported, summary=summary) for summary in (run.summary, poor, rich)]
    schemas = [schema(parquet.render(exported)) for exported in known]
    assert schemas[0] == schemas[1] == schemas[2]
    assert not [kind for kind in schemas[0].values() if "null" in kind or "list" in kind or "struct" in kind]
