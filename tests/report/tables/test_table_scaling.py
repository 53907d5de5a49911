import pandas as pd
import pytest

from rnnbench.report.tables import table_crossings, table_predicted, table_scaling
from rnnbench.report.tables.table import Table
from tests.analysis.scaling import made_up


def column(table: Table | None, header: str) -> list[str]:
    return [row[table.headers.index(header)] for row in table.rows]


@pytest.fixture
def measured() -> pd.DataFrame:
    return made_up.summary(made_up.BOTH, noise=0.01)


def test_what_time_is_made_of_is_told_for_each_series_with_its_error() -> None:
    table = table_scaling.render(made_up.summary(made_up.BOTH))
    assert column(table, "cell") == ["torch.nn.LSTM", "lstm loop"]
    assert column(table, "a step") == ["1.00 µs", "20.0 µs"]
    assert column(table, "arithmetic") == ["50.0 GMAC/s", "60.0 GMAC/s"]
    assert column(table, "points") == ["48", "48"]
    assert column(table, "mostly spent on, smallest sizes to largest")[1].startswith("dispatch 9")
    assert "Nothing is predicted beyond 2 times that range." in table.note


def test_series_that_are_not_fitted_are_counted_with_the_reason(measured: pd.DataFrame) -> None:
    few = made_up.summary({("gru", "loop"): made_up.loop}, batches=[1], steps=[4])
    table = table_scaling.render(pd.concat([measured, few], ignore_index=True))
    assert "1 series is not fitted: fewer than 6 sizes were measured" in table.note
    assert table_scaling.render(few) is None
    assert table_crossings.render(few) is None


def test_crossings_are_told_in_words_with_an_interval_for_programs_too() -> None:
    table = table_crossings.render(made_up.summary(made_up.BOTH, noise=0.003))
    [over_length] = column(table, "over length")
    assert over_length.startswith("faster, then slower: ")
    row = table.frame.set_index("axis").loc["seq_len"]
    assert row["crossing_low"] < row["crossing"] < row["crossing_high"]
    assert row["status"] == "predicted" or 4 <= row["crossing"] <= 64
    assert ("predicted" in over_length) == (row["status"] == "predicted")


def test_every_prediction_is_called_one(measured: pd.DataFrame) -> None:
    sizes = {"batch_size": [8, 500], "seq_len": [32], "hidden_size": [100]}
    table = table_predicted.render(measured, sizes)
    assert table.title == "Predicted, not measured"
    assert {"predicted time", "predicted ratio"} <= set(table.headers)
    assert column(table, "note")[1].startswith("not predicted; batch_size was measured from 1 to 64")
    assert column(table, "predicted time")[1] == "—"
    assert set(table.frame["status"]) == {"predicted", "not predicted"}
