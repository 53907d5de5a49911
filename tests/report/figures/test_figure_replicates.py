"""Replicates in the order of measuring."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rnnbench.report.figures import figure_replicates
from rnnbench.report.figures.figure_replicates import MANY, MAX_PANELS


def points(panels: int = 1, places: int = 6, cases: int = 1, **columns: float) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    rows = [
        {"panel": f"case {panel}", "at": place + 1, "ratio": 1.05 * np.exp(rng.normal(0, 0.01))}
        for panel in range(panels)
        for place in range(places)
        for _ in range(cases)
    ]
    return pd.DataFrame(rows).assign(**{"mean_ratio": np.nan} | columns)


def drawn(frame: pd.DataFrame) -> Figure:
    figure = figure_replicates.render(frame, "replicate")
    assert figure is not None
    return figure


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_every_point_is_drawn_and_the_mean_beside_the_low_quantile() -> None:
    figure = drawn(points(panels=3, mean_ratio=1.06, margin=0.025))
    assert [axes.get_title(loc="left") for axes in figure.axes[:3]] == ["case 0", "case 1", "case 2"]
    low, mean = (line for line in figure.axes[0].lines if line.get_linestyle() == "None")
    assert {np.size(line.get_xdata()) for line in (low, mean)} == {6}
    assert legend(figure) == ["typical call", "mean of the calls", "margin"]
    ticks = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert ticks == ["-5.0%", "0.0%", "+5.0%"]


def test_of_very_many_points_the_median_and_bands_are_drawn() -> None:
    figure = drawn(points(places=5, cases=MANY))
    assert legend(figure) == ["median of the cases", "half of them", "nine tenths"]
    assert len(figure.axes[0].collections) == 2
    assert all(float(tick).is_integer() for tick in figure.axes[0].get_xticks())


def test_a_stall_does_not_push_the_other_points_together() -> None:
    frame = points(places=60)
    frame.loc[3, "ratio"] = 40.0
    low, high = drawn(frame).axes[0].get_ylim()
    assert high < 1.2
    assert low < 1 < high


def test_there_are_no_more_panels_than_fit_and_none_for_a_single_place() -> None:
    shown = [axes for axes in drawn(points(panels=MAX_PANELS + 3)).axes if axes.axison]
    assert len(shown) == MAX_PANELS
    assert figure_replicates.render(points(places=1, cases=4), "replicate") is None
    assert figure_replicates.render(points().head(0), "replicate") is None
