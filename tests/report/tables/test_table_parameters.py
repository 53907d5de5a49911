import math

import pandas as pd
import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.report.tables import table_parameters
from rnnbench.report.tables.table_parameters import agreement
from tests.report.conftest import of_an_older_version

ROWS = [
    ("lstm", 33_408.0, 0.0),
    ("torch.nn.LSTM", 100.0, 12_900.0),
    ("gru", 100.0, 6_000.0),
    ("gru", 200.0, 25_800.0),
    ("combined", 100.0, 101.0),
    ("deep", 100.0, 96.0),
]


def counts(*rows: tuple[str, float, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["cell", "step_macs", "mult_adds"])


def test_cells_of_which_torchinfo_counts_otherwise_are_named_with_how_much(snapshot: SnapshotAssertion) -> None:
    told = {"some differ": agreement(counts(*ROWS)), "all agree": agreement(counts(*ROWS[-2:]))}
    told["of another name"] = agreement(counts(("x\ny.py:Z", 1.0, 3.0)))
    assert told == snapshot


@pytest.mark.parametrize("rows", [[], [("gru", math.nan, 3.0)], [("gru", 3.0, math.nan)]])
def test_what_is_not_known_is_not_judged(rows: list[tuple[str, float, float]]) -> None:
    assert agreement(counts(*rows)) == ""


def test_an_older_run_has_no_column_of_macs(quick: pd.DataFrame) -> None:
    assert "MACs (M)" in table_parameters.render(quick).headers
    older = table_parameters.render(of_an_older_version(quick))
    assert "MACs (M)" not in older.headers
    assert "formula" not in older.note
