"""Streams: the table and the figure of how long a step takes."""

from pathlib import Path

import pandas as pd

from rnnbench.report import latency
from tests.doubles import streams
from tests.report.test_ratios import drawn, legend, words


def test_a_stream_has_the_quantiles_with_intervals_and_the_late_steps(tmp_path: Path) -> None:
    table = latency.table_of_latency(streams.summary(tmp_path))
    assert table is not None
    assert table.headers == ("cell", "caches", "p50", "p95", "p99", "p99.9", "later than 1.00 ms")
    rows = {row[:2]: row for row in table.rows}
    assert list(rows) == [
        (cell, caches) for caches in ("warm", "cold") for cell in ("torch.nn.LSTM", "lstm loop", "lstm compiled")
    ]
    row = rows["lstm loop", "warm"]
    assert row[2].startswith(("100 µs (", "99.9 µs (", "100.0 µs ("))
    assert row[6].startswith("1% (")
    assert rows["lstm compiled", "warm"][6].startswith("none (below 0.")
    assert {"latency_p50_low", "latency_p99_9_high", "late_share"} <= set(table.frame.columns)


def test_too_few_steps_are_a_dash_and_without_a_period_none_is_late(tmp_path: Path, quick: pd.DataFrame) -> None:
    table = latency.table_of_latency(streams.summary(tmp_path, period=None, steps=50))
    assert table is not None
    assert table.headers[-1] == "p99.9"
    assert {row[-1] for row in table.rows} == {"—"}
    assert latency.table_of_latency(quick) is None


def test_each_stream_has_a_row_with_its_highest_known_quantile(tmp_path: Path) -> None:
    summary = streams.summary(tmp_path)
    figure = drawn(latency.latency, summary)
    shown = words(figure)
    assert {"lstm loop, warm caches", "lstm compiled, cold caches"} <= set(shown)
    assert sum(text.startswith("p99.9 ") for text in shown) == 6
    assert "period 1.00 ms" in legend(figure)
    few = drawn(latency.latency, streams.summary(tmp_path, period=None, steps=50))
    assert any(text.startswith("p95 ") for text in words(few))
    assert not any(text.startswith("period") for text in legend(few))
    assert latency.latency(streams.summary(tmp_path, steps=2)) is None  # too few for any quantile
