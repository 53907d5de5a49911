from pathlib import Path

from rnnbench.report.screen import terminal
from rnnbench.report.tables import table_latency
from rnnbench.store.run_info import RunInfo
from tests.doubles import streams


def test_a_row_has_the_quantiles_with_intervals_and_the_late_steps(tmp_path: Path) -> None:
    table = table_latency.render(streams.summary(tmp_path))
    assert table.headers == ("caches", "cell", "p50", "p95", "p99", "p99.9", "later than 1.00 ms")
    rows = {row[:2]: row for row in table.rows}
    assert list(rows) == [
        ("warm", "torch.nn.LSTM"),
        ("warm", "lstm loop"),
        ("warm", "lstm compiled"),
        ("cold", "torch.nn.LSTM"),
        ("cold", "lstm loop"),
        ("cold", "lstm compiled"),
    ]
    row = rows["warm", "lstm loop"]
    assert row[2].startswith(("100 µs (", "99.9 µs (", "100.0 µs ("))
    assert row[6].startswith("1.00% (")
    assert rows["warm", "lstm compiled"][6].startswith("none (below 0.")
    assert {"latency_p50_low", "latency_p99_9_high", "late_share"} <= set(table.frame.columns)
    assert table.breaks == {0, 3}


def test_too_few_steps_are_a_dash_and_without_a_period_none_is_late(tmp_path: Path) -> None:
    table = table_latency.render(streams.summary(tmp_path, period=None, steps=50))
    assert table.headers[-1] == "p99.9"
    assert {row[-1] for row in table.rows} == {"—"}
    assert "fewer than ten steps are slower" in table.note


def test_a_terminal_has_the_values_alone(tmp_path: Path, info: RunInfo) -> None:
    text = terminal.text(streams.summary(tmp_path), info, 80)
    part = text[text.index("How long a step of a stream takes") :]
    assert "(" not in part.split("\n\n")[0]
    assert {"p50", "p99.9", "later"} <= set(part.split())
