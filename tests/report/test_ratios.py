"""The figures of a run: its ratios, and which figures its page has."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnbench.report.colors import SIZES
from rnnbench.report.growth import growth
from rnnbench.report.page import run as figures
from rnnbench.report.ratios import pooled, ratio, ratio_by_size
from rnnbench.report.words.names import is_reference, with_series
from rnnbench.report.words.units import ratio_box
from tests.report.conftest import (
    Summaries,
    renamed,
    with_one_replicate,
    without_reference,
)

Draw = Callable[..., Figure | None]


def drawn(draw: Draw, summary: pd.DataFrame, **how: Any) -> Figure:
    figure = draw(summary, **how)
    assert figure is not None
    return figure


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for box in figure.legends for text in box.get_texts()]


def words(figure: Figure) -> list[str]:
    """All texts of a figure beside its legend."""
    figure.draw_without_rendering()
    shown = [text.get_text() for axes in figure.axes for text in axes.texts]
    for axes in figure.axes:
        shown += [axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()]
        shown += [label.get_text() for label in (*axes.get_yticklabels(), *axes.get_xticklabels())]
    return shown


def titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible() and axes.get_title(loc="left")]


def marked(axes: Axes) -> list[Line2D]:
    """The lines with a mark at each point."""
    return [line for line in axes.lines if line.get_marker() not in ("None", "_", "|", "")]


# All of them


@pytest.mark.usefixtures("svg_alone")
def test_a_page_has_the_figures_that_answer_something(quick: pd.DataFrame, made_up: Summaries) -> None:
    training = made_up("cpu").query("phase == 'training' and reference == 'lstm' and threads == 1")
    assert list(figures.render_figures(quick)) == ["ratio", "ratio_by_size"]  # growth needs three values of a size
    assert list(figures.render_figures(training)) == ["ratio", "ratio_by_size", "scaling"]
    assert list(figures.render_figures(with_one_replicate(training))) == ["ratio", "ratio_by_size", "scaling"]
    assert list(figures.render_figures(without_reference(training))) == ["scaling"]
    single = quick[quick["case"].str.contains("batch_size=1 seq_len=16 input_size=64 hidden_size=64")]
    assert list(figures.render_figures(single)) == ["ratio"]


@pytest.mark.parametrize("name", ["_x$\\frac$.py:<script>", "日本.py:Cell", "a\x00b:C"])
def test_any_name_can_be_drawn(notebook: pd.DataFrame, name: str) -> None:
    one_cell = notebook.query("phase == 'step' and cell in ('vanilla', 'torch.nn.RNN') and num_layers == 1")
    for picture in figures.render_figures(renamed(one_cell, "vanilla", name)).values():
        assert "<script>" not in picture.svg
        assert "\x00" not in picture.svg


def test_long_names_leave_the_figures_their_room(made_up: Summaries) -> None:
    names = [f"some.package.of_mine.{'x' * 150}.{end}" for end in ("cells:First", "cells:Second")]
    summary = made_up("quick").query("phase == 'training' and reference != 'rnn'")
    long = renamed(renamed(summary, "lstm", names[0]), "gru", names[1])
    for draw in (ratio, ratio_by_size, growth):
        figure = drawn(draw, long)
        figure.draw_without_rendering()  # pytest turns the warning of a layout without room into an error
        assert any("cells:First" in text for text in (*words(figure), *legend(figure)))
        assert max(len(line) for text in (*words(figure), *legend(figure)) for line in text.splitlines()) < 60


# The ratios


@pytest.fixture
def by_batch(quick: pd.DataFrame) -> pd.DataFrame:
    """Training, in which batch 1 is three times as far from torch.nn as batch 32, whatever the other sizes are."""
    cases = quick[(quick["phase"] == "training") & ~quick["cell"].str.startswith("deep")].copy()
    own = cases["implementation"] != "torch.nn"
    far = np.where(cases["batch_size"] == 1, 3.0, 1.0) * (1 + cases["hidden_size"] / 1e4) * (1 + cases["seq_len"] / 1e5)
    for column, factor in (("ratio", 1.0), ("ratio_low", 0.999), ("ratio_high", 1.001)):
        cases.loc[own & cases["ratio"].notna(), column] = 1.1 * factor * far
    return cases


def test_a_panel_for_each_phase_with_the_median_of_each_row(notebook: pd.DataFrame) -> None:
    figure = drawn(ratio, notebook)
    assert set(titles(figure)) == {"inference", "training", "step"}
    ratios = notebook.query("cell == 'vanilla' and implementation == 'loop' and phase == 'step'")["ratio"]
    assert f"{ratios.median():.2f}×" in words(figure)


def test_the_colour_is_the_size_that_explains_most_and_the_legend_names_it(by_batch: pd.DataFrame) -> None:
    figure = drawn(ratio, by_batch)
    assert legend(figure)[:2] == ["batch 1", "batch 32"]
    for line in marked(figure.axes[0]):
        is_far = np.min(np.asarray(line.get_xdata())) > 2
        assert line.get_color() == (SIZES[0] if is_far else SIZES[-1]).light


def test_a_page_names_the_worst_of_each_row_by_the_sizes_that_have_no_colour(by_batch: pd.DataFrame) -> None:
    worst = [text for text in words(drawn(ratio, by_batch)) if "up to" in text]
    assert len(worst) == 7  # one for each series
    assert all(text.endswith("length 64, hidden 256") for text in worst)
    assert not [text for text in words(drawn(ratio, by_batch, width=3.35)) if "up to" in text]
    assert not [text for text in words(drawn(ratio, by_batch.assign(ratio=1.5))) if "up to" in text]  # none is worse


def test_the_noise_floor_is_a_band_around_1(by_batch: pd.DataFrame) -> None:
    figure = drawn(ratio, by_batch, noise_floor=0.02)
    assert "noise floor ±2.0%" in legend(figure)
    low, _, width, _ = figure.axes[0].patches[0].get_bbox().bounds  # type: ignore[attr-defined]
    assert (low, low + width) == pytest.approx((1 / 1.02, 1.02))
    assert not any("noise" in text for text in legend(drawn(ratio, by_batch, noise_floor=math.nan)))


def test_an_interval_that_tells_nothing_pushes_no_marks_together(quick: pd.DataFrame) -> None:
    row = quick.index[quick["ratio"].notna() & (quick["ratio"] > 1)][0]
    quick.loc[row, ["ratio_low", "ratio_high"]] = [1e-6, 1e6]
    low, high = drawn(ratio, quick).axes[0].get_xlim()
    marks = quick["ratio"].dropna()
    assert min(1.0, marks.min()) / 4 < low < marks.min()
    assert marks.max() < high < 4 * marks.max()


def test_devices_and_types_are_never_pooled_into_one_median(made_up: Summaries) -> None:
    figure = drawn(ratio, made_up("cuda-full").query("reference == 'gru'"))
    named = {title for title in titles(figure) if title.startswith("training")}
    assert named == {f"training, {dtype}" for dtype in ("float32", "bfloat16", "tf32", "float16")}


# The heat map


def test_the_heat_map_holds_every_ratio_with_the_undecided_in_brackets(quick: pd.DataFrame) -> None:
    shown = words(drawn(ratio_by_size, quick))
    ratios = quick.loc[quick["implementation"] != "torch.nn", "ratio"].dropna()
    expected = sorted(ratio_box(ratio) for ratio in ratios)
    assert sorted(text for text in (text.strip("()") for text in shown) if text in expected) == expected
    measured = ratios.index
    quick.loc[measured, ["ratio", "ratio_low", "ratio_high"]] = [1.2, 1.1, 1.3]
    quick.loc[measured[0], ["ratio", "ratio_low", "ratio_high"]] = [1.04, 0.98, 1.1]
    quick.loc[measured[1], ["ratio", "ratio_low", "ratio_high"]] = [0.97, 0.95, 0.99]
    shown = words(drawn(ratio_by_size, quick))
    assert [shown.count(text) for text in ("(1.04)", "0.97", "(1.20)")] == [1, 1, 0]


def test_very_many_sizes_are_medians_over_some_and_settings_have_panels(made_up: Summaries) -> None:
    figure = drawn(ratio_by_size, made_up("cpu").query("reference == 'gru'"))
    assert {"inference, 1 thread", "training, 2 threads"} <= set(titles(figure))
    assert "median over length" in figure.get_supxlabel()
    frame = with_series(made_up("cuda-full"))
    few, told = pooled(frame[~is_reference(frame)], lambda cases: False)
    assert told.startswith("median over length and batch")
    assert few["dtype"].nunique() == 4
    assert few["ratio_low"].isna().all()
