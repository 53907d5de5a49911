from pathlib import Path

import pandas as pd

from rnnbench.report.figures import all_figures, figure_latency
from tests.doubles import streams


def test_a_row_for_each_case_below_what_its_group_has_of_its_own(tmp_path: Path) -> None:
    summary = streams.summary(tmp_path)
    figure = figure_latency.render(summary)
    [axes] = figure.axes
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows == ["", "torch.nn.LSTM", "lstm loop", "lstm compiled"] * 2
    texts = [text.get_text() for text in axes.texts]
    assert {"warm caches", "cold caches", "period 1.00 ms"} <= set(texts)
    assert texts.count("p99.9") == 6
    low, high = axes.get_xlim()
    assert low < summary["latency_p50"].min()
    assert high > max(summary["latency_p99_9"].max(), streams.PERIOD)
    svg = all_figures.render(summary)["latency"].svg
    assert all(f'data-cases="{row}"' in svg for row in range(len(summary)))


def test_only_what_is_known_is_drawn(tmp_path: Path, quick: pd.DataFrame) -> None:
    figure = figure_latency.render(streams.summary(tmp_path, period=None, steps=50))
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert "p95" in texts
    assert not {"p99", "p99.9"} & set(texts)
    assert not [text for text in texts if text.startswith("period")]
    assert figure_latency.render(quick) is None
    assert figure_latency.render(streams.summary(tmp_path, steps=2)) is None  # too few for any quantile
