import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnbench.report.colors import SIZES
from rnnbench.report.figures import figure_ratio
from rnnbench.report.words.units import ratio


@pytest.fixture
def by_batch(quick: pd.DataFrame) -> pd.DataFrame:
    """Training, in which batch 1 is three times as far from torch.nn as batch 32, whatever the other sizes are."""
    cases = quick[
        (quick["phase"] == "training") & (quick["cell"] != "deep") & (quick["cell"] != "deep-notebook")
    ].copy()
    own = cases["implementation"] != "torch.nn"
    far = np.where(cases["batch_size"] == 1, 3.0, 1.0) * (1 + cases["hidden_size"] / 1e4) * (1 + cases["seq_len"] / 1e5)
    for column, factor in (("ratio", 1.0), ("ratio_low", 0.999), ("ratio_high", 1.001)):
        cases.loc[own & cases["ratio"].notna(), column] = 1.1 * factor * far
    return cases


def drawn(summary: pd.DataFrame, **how: Any) -> Figure:
    figure = figure_ratio.render(summary, **how)
    assert figure is not None
    return figure


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def marked(axes: Axes) -> list[Line2D]:
    return [line for line in axes.lines if line.get_marker() == "o"]


def test_the_colour_is_the_size_that_explains_most_and_the_legend_names_it(by_batch: pd.DataFrame) -> None:
    figure = drawn(by_batch)
    assert legend(figure)[:2] == ["batch 1", "batch 32"]
    for line in marked(figure.axes[0]):
        is_far = np.min(np.asarray(line.get_xdata())) > 2
        assert line.get_color() == (SIZES[0] if is_far else SIZES[-1]).light


def test_the_worst_of_each_row_is_named_by_the_sizes_that_have_no_colour(by_batch: pd.DataFrame) -> None:
    worst = f"{ratio(float(by_batch['ratio'].max()))} length 64, hidden 256"
    assert texts(drawn(by_batch).axes[0]).count(worst) == 7  # one for each series


def test_a_single_case_has_a_median_but_no_worst(quick: pd.DataFrame) -> None:
    single = quick.query("phase == 'training' and batch_size == 1 and seq_len == 16 and hidden_size == 64")
    shown = texts(drawn(single).axes[0])
    assert "worst" not in shown
    assert "median" in shown


def test_intervals_lie_over_the_marks(by_batch: pd.DataFrame) -> None:
    axes = drawn(by_batch).axes[0]
    intervals = [collection for collection in axes.collections if isinstance(collection, LineCollection)]
    assert sum(len(collection.get_segments()) for collection in intervals) == sum(
        len(np.asarray(line.get_xdata())) for line in marked(axes)
    )
    assert min(collection.get_zorder() for collection in intervals) > max(line.get_zorder() for line in marked(axes))


def test_the_noise_floor_is_a_band_around_1(by_batch: pd.DataFrame) -> None:
    figure = drawn(by_batch, noise_floor=0.02)
    assert "noise floor ±2.0%" in legend(figure)
    low, _, width, _ = figure.axes[0].patches[0].get_bbox().bounds  # type: ignore[attr-defined]
    assert (low, low + width) == pytest.approx((1 / 1.02, 1.02))
    assert not any("noise" in text for text in legend(drawn(by_batch, noise_floor=math.nan)))


@pytest.mark.parametrize(("width", "rows"), [(3.35, 2), (7, 2), (14, 1)])
def test_panels_stand_below_each_other_where_there_is_no_room(quick: pd.DataFrame, width: float, rows: int) -> None:
    figure = drawn(quick, width=width)
    assert figure.get_figwidth() == width
    assert len({round(axes.get_position().y0, 3) for axes in figure.axes}) == rows
    figure.draw_without_rendering()  # pytest turns the warning of a layout without room into an error
    assert min(axes.get_window_extent().width / figure.dpi for axes in figure.axes) > 1


def test_very_many_workloads_are_boxes_for_each_size(by_batch: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure_ratio, "MANY", 3)
    figure = drawn(by_batch)
    assert not marked(figure.axes[0])
    assert len(figure.axes[0].patches) == 2 * 7  # two batch sizes, seven series
    assert {"half of the workloads", "all workloads"} <= set(legend(figure))
