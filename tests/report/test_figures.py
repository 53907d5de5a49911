"""The figures of a run, which of them its page has, and the tables of predictions and of streams."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnbench.report.colors import SIZES
from rnnbench.report.growth import growth, table_of_predictions
from rnnbench.report.latency import latency, table_of_latency
from rnnbench.report.page import run as figures
from rnnbench.report.ratios import pooled, ratio, ratio_by_size
from rnnbench.report.words.names import is_reference, with_series
from rnnbench.report.words.units import ratio_box
from tests.analysis import made_up as predictable
from tests.doubles import streams
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


# Growth


def test_every_prediction_is_called_one() -> None:
    sizes = {"batch_size": [8, 500], "seq_len": [32], "hidden_size": [100]}
    table = table_of_predictions(predictable.summary(predictable.BOTH, noise=0.01), sizes)
    assert table.title == "Predicted, not measured"
    second = dict(zip(table.headers, table.rows[1], strict=True))
    assert second["notes"].startswith("not predicted; batch_size was measured from 1 to 64")
    assert second["predicted time"] == "—"
    assert set(table.frame["status"]) == {"predicted", "not predicted"}


def test_all_cells_are_in_one_panel_of_each_phase_and_the_held_sizes_stand_below(quick: pd.DataFrame) -> None:
    for cases in (quick, without_reference(quick)):
        figure = drawn(growth, cases, value="seconds", along="seq_len")
        assert titles(figure) == ["inference", "training"]
        assert {"lstm hoisted", "gru hoisted"} <= set(legend(figure))
    assert figure.axes[0].get_xlabel() == "length\n(batch 1, hidden 64)"
    assert {"torch.nn.LSTM", "torch.nn.GRU"} <= set(legend(drawn(growth, quick, value="seconds")))
    assert not any(name.startswith("torch.nn") for name in legend(drawn(growth, quick)))


def test_a_line_goes_through_measured_cases_alone(quick: pd.DataFrame) -> None:
    figure = drawn(growth, quick.query("reference == 'lstm' and phase == 'inference'"), along="hidden_size")
    own = quick.query("cell == 'lstm' and phase == 'inference' and batch_size == 1 and seq_len == 16")
    expected = {tuple(cases.sort_values("hidden_size")["ratio"]) for _, cases in own.groupby("implementation")}
    shown = [tuple(np.asarray(line.get_ydata())) for line in marked(figure.axes[0])]
    assert len(shown) == 2
    assert set(shown) <= expected


def test_a_size_that_is_too_seldom_varied_has_no_panel(made_up: Summaries) -> None:
    quick = made_up("quick")
    third = quick[quick["hidden_size"] == 64].assign(hidden_size=128)
    assert growth(quick, least=3) is None
    assert growth(pd.concat([quick, third.assign(ratio=float("nan"))], ignore_index=True), least=3) is None
    assert drawn(growth, pd.concat([quick, third], ignore_index=True), least=3)
    figure = drawn(growth, made_up("cpu").query("reference == 'lstm'"), least=3)
    assert {axes.get_xlabel().partition("\n")[0] for axes in figure.axes} == {"batch", "length", "hidden"}
    assert len({axes.get_ylim() for axes in figure.axes}) == 1


# Streams


def test_a_stream_has_the_quantiles_with_intervals_and_the_late_steps(tmp_path: Path) -> None:
    table = table_of_latency(streams.summary(tmp_path))
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
    table = table_of_latency(streams.summary(tmp_path, period=None, steps=50))
    assert table is not None
    assert table.headers[-1] == "p99.9"
    assert {row[-1] for row in table.rows} == {"—"}
    assert table_of_latency(quick) is None


def test_each_stream_has_a_row_with_its_highest_known_quantile(tmp_path: Path) -> None:
    summary = streams.summary(tmp_path)
    figure = drawn(latency, summary)
    shown = words(figure)
    assert {"lstm loop, warm caches", "lstm compiled, cold caches"} <= set(shown)
    assert sum(text.startswith("p99.9 ") for text in shown) == 6
    assert "period 1.00 ms" in legend(figure)
    few = drawn(latency, streams.summary(tmp_path, period=None, steps=50))
    assert any(text.startswith("p95 ") for text in words(few))
    assert not any(text.startswith("period") for text in legend(few))
    assert latency(streams.summary(tmp_path, steps=2)) is None  # too few for any quantile
