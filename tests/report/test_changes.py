"""The change of every case of a check, drawn from the frame of its verdicts."""

import pandas as pd
import pytest
from matplotlib.figure import Figure

from rnnbench.analysis.comparison import Comparison
from rnnbench.report.changes import MAX_ROWS, changes
from rnnbench.report.verdicts.verdicts import of
from tests.report.test_ratios import legend
from tests.report.verdicts import samples


def findings(compared: Comparison) -> pd.DataFrame:
    return of(compared).frame


def drawn(frame: pd.DataFrame) -> tuple[Figure, list[str], list[str]]:
    """The figure, the names of its rows, and what stands beside them."""
    figure = changes(frame)
    assert figure is not None
    names, texts = ([label.get_text() for label in axes.get_yticklabels()] for axes in figure.axes)
    return figure, names, texts


def test_each_case_has_a_row_with_its_verdict_by_glyph_and_word_the_worst_on_top() -> None:
    compared = samples.every_verdict()
    figure, names, texts = drawn(findings(compared))
    assert names[:2] == ["vanilla loop inference, batch 16", "lstm loop training, batch 16"]
    assert len(names) == sum(finding.verdict is not None for finding in compared.findings)
    assert [text[0] for text in texts] == ["▲"] * 4 + ["✕"] + ["◇"] * 2 + ["▼", "●"]
    assert texts[0] == "▲  regressed  without a time"
    assert texts[1] == "▲  regressed  +5.1%  [+4.2%, +6.0%]"
    assert "▲  regressed  in the mean  +5.1%  [+3.9%, +6.3%]" in texts
    assert "▲  regressed  by counts  +0.1%  [-0.8%, +1.0%]" in texts
    assert {"regressed", "undecided", "unchanged", "margin 2.5%"} <= set(legend(figure))
    low, high = figure.axes[0].get_xlim()
    assert low == pytest.approx(1 / high)
    assert high > 1.09  # the mark that is farthest from no change is on the axis


def test_any_order_of_rows_gives_the_same_figure() -> None:
    frame = findings(samples.realistic())
    assert drawn(frame.iloc[::-1])[1][0] == drawn(frame)[1][0] == frame["name"].iloc[0]


def test_of_many_cases_the_worst_are_drawn_and_the_others_counted() -> None:
    _, names, _ = drawn(findings(samples.large(5, 200)))
    assert len(names) == MAX_ROWS
    assert names[-1] == f"{200 - MAX_ROWS + 1} unchanged not drawn"


def test_one_case_with_a_huge_change_or_interval_leaves_the_others_legible() -> None:
    wide = samples.finding("undecided", samples.estimate(1.0, 0.01, 90.0), mean=samples.estimate(1.0, 0.01, 90.0))
    figure, _, _ = drawn(findings(samples.comparison(samples.SLOWER, wide)))
    assert figure.axes[0].get_xlim()[1] < 1.1
    huge = samples.finding("regressed", samples.estimate(30.0, 25.0, 35.0), mean=samples.estimate(30.0, 25.0, 35.0))
    figure, _, _ = drawn(findings(samples.comparison(samples.SLOWER, huge)))
    assert figure.axes[0].get_xlim()[1] > 30


def test_without_a_time_there_is_no_figure() -> None:
    assert changes(findings(samples.comparison())) is None
    assert changes(findings(samples.comparison(samples.FAILING, samples.SKIPPED))) is None
