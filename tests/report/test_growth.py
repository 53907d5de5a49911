"""Which runs have a section on growth or on streams, and what its tables say."""

from pathlib import Path

import pandas as pd

from rnnbench.report import growth, latency
from rnnbench.report.drawing.sheet import Picture
from tests.analysis import made_up
from tests.doubles import streams

PICTURES = {"scaling": Picture("scaling", "", "", "", b""), "latency": Picture("latency", "", "", "", b"")}


def test_only_a_run_of_three_sizes_has_a_curve(quick: pd.DataFrame) -> None:
    assert growth.section(quick, None, PICTURES) is None
    third = quick[quick["hidden_size"] == 64].assign(hidden_size=128)
    grown = growth.section(pd.concat([quick, third], ignore_index=True), None, PICTURES)
    assert grown is not None
    assert grown.pictures == [PICTURES["scaling"]]
    skipped = pd.concat([quick, third.assign(status="skipped", ratio=float("nan"))], ignore_index=True)
    assert growth.section(skipped, None, PICTURES) is None


def test_every_prediction_is_called_one() -> None:
    sizes = {"batch_size": [8, 500], "seq_len": [32], "hidden_size": [100]}
    table = growth.table_of_predictions(made_up.summary(made_up.BOTH, noise=0.01), sizes)
    assert table.title == "Predicted, not measured"
    second = dict(zip(table.headers, table.rows[1], strict=True))
    assert second["notes"].startswith("not predicted; batch_size was measured from 1 to 64")
    assert second["predicted time"] == "—"
    assert set(table.frame["status"]) == {"predicted", "not predicted"}


def test_a_stream_has_the_quantiles_with_intervals_and_the_late_steps(tmp_path: Path) -> None:
    section = latency.section(streams.summary(tmp_path), PICTURES)
    assert section is not None
    assert section.pictures == [PICTURES["latency"]]
    [table] = section.tables
    assert table.headers == ("cell", "caches", "p50", "p95", "p99", "p99.9", "later than 1.00 ms")
    rows = {row[:2]: row for row in table.rows}
    assert list(rows) == [
        (cell, caches) for caches in ("warm", "cold") for cell in ("torch.nn.LSTM", "lstm loop", "lstm compiled")
    ]
    row = rows["lstm loop", "warm"]
    assert row[2].startswith(("100 µs (", "99.9 µs (", "100.0 µs ("))
    assert row[6].startswith("1.00% (")
    assert rows["lstm compiled", "warm"][6].startswith("none (below 0.")
    assert {"latency_p50_low", "latency_p99_9_high", "late_share"} <= set(table.frame.columns)


def test_too_few_steps_are_a_dash_and_without_a_period_none_is_late(tmp_path: Path, quick: pd.DataFrame) -> None:
    table = latency.table_of_latency(streams.summary(tmp_path, period=None, steps=50))
    assert table is not None
    assert table.headers[-1] == "p99.9"
    assert {row[-1] for row in table.rows} == {"—"}
    assert latency.section(quick, PICTURES) is None
