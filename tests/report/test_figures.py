"""The figures of a run, which of them its page has, and the table of streams."""

import io
import math
import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from syrupy.assertion import SnapshotAssertion

from rnnbench import plot
from rnnbench.analysis.summary import SHARED
from rnnbench.report import reports as figures
from rnnbench.report.drawing.marks import SIZE_SHADES
from rnnbench.report.growth import scaling
from rnnbench.report.latency import latency, table_of_latency
from rnnbench.report.ratio_by_size import pooled
from rnnbench.report.verdicts.verdicts import verdicts_of
from rnnbench.report.words.names import is_reference, with_series
from rnnbench.report.words.units import ratio_box
from tests.doubles import streams
from tests.doubles.pages import contrast
from tests.doubles.screens import told
from tests.report.conftest import (
    Summaries,
    renamed,
    with_one_replicate,
    without_reference,
)
from tests.report.verdicts import samples

MIN_LETTERS = 7.0
ONE_PANEL: dict[str, dict[str, Any]] = {"scaling": {"along": "hidden_size"}}


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for box in figure.legends for text in box.get_texts()]


def letters(figure: Figure) -> list[Text]:
    """All texts that are seen; numbers of an axis beyond its ends are not."""
    figure.draw_without_rendering()
    unseen: set[int] = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(map(float, axis.get_view_interval()))
            unseen |= {id(tick.label1) for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high}
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    return [text for text in texts if id(text) not in unseen]


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in letters(figure)]


def titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible() and axes.get_title(loc="left")]


def marked(axes: Axes) -> list[Line2D]:
    """The lines with a mark at each point."""
    return [line for line in axes.lines if line.get_marker() not in ("None", "_", "|", "")]


def vertical(axes: Axes) -> list[LineCollection]:
    """The vertical lines of a panel, such as bars at medians."""
    lines = [part for part in axes.collections if isinstance(part, LineCollection)]
    return [part for part in lines if all(np.ptp(np.asarray(path.vertices)[:, 0]) == 0 for path in part.get_paths())]


# All of them


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
        for panel in picture.panels:
            assert "<script>" not in panel.svg
            assert "\x00" not in panel.svg


def test_long_names_leave_the_figures_their_room(made_up: Summaries) -> None:
    names = [f"some.package.of_mine.{'x' * 150}.{end}" for end in ("cells:First", "cells:Second")]
    summary = made_up("quick").query("phase == 'training' and reference != 'rnn'")
    long = renamed(renamed(summary, "lstm", names[0]), "gru", names[1])
    for draw in (plot.ratio, plot.ratio_by_size, plot.scaling):
        figure = draw(long)
        figure.draw_without_rendering()  # pytest turns the warning of a layout without room into an error
        assert any("First" in text for text in (*words(figure), *legend(figure)))
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
    figure = plot.ratio(notebook)
    assert set(titles(figure)) == {"inference", "training", "step"}
    ratios = notebook.query("cell == 'vanilla' and implementation == 'loop' and phase == 'step'")["ratio"]
    assert f"{ratios.median():.2f}×" in words(figure)


def test_the_colour_is_the_size_that_explains_most_and_the_legend_names_it(by_batch: pd.DataFrame) -> None:
    figure = plot.ratio(by_batch)
    assert legend(figure)[:2] == ["batch 1", "batch 32"]
    for line in marked(figure.axes[0]):
        is_far = np.min(np.asarray(line.get_xdata())) > 2
        assert line.get_color() == (SIZE_SHADES[0] if is_far else SIZE_SHADES[-1]).light


def test_a_page_names_the_worst_of_each_row_by_the_sizes_that_have_no_colour(by_batch: pd.DataFrame) -> None:
    shown = words(plot.ratio(by_batch))
    worst = [text for text in shown if "up to" in text]
    assert len(worst) == 7  # one for each series
    assert "median   worst, at batch 1, length 64, hidden 256" in shown  # what they share is said once
    assert all(re.fullmatch(r"[\d.]+×   up to [\d.]+×", text) for text in worst)
    first = by_batch.index[(by_batch["cell"] == "gru") & (by_batch["seq_len"] == 16) & (by_batch["hidden_size"] == 64)][
        0
    ]
    by_batch.loc[first, ["ratio", "ratio_high"]] = 9.0
    shown = words(plot.ratio(by_batch))
    assert "median   worst, at batch 1" in shown
    assert [text for text in shown if text.endswith("up to 9.00×, length 16, hidden 64")]
    assert not [text for text in words(plot.ratio(by_batch, width=3.35)) if "up to" in text]
    assert not [text for text in words(plot.ratio(by_batch.assign(ratio=1.5))) if "up to" in text]  # none is worse


def test_a_row_has_one_mark_for_each_colour_the_median_and_a_line_over_all_intervals(by_batch: pd.DataFrame) -> None:
    own = by_batch[(by_batch["cell"] == "gru") & (by_batch["implementation"] == "loop")]
    axes = plot.ratio(own).axes[0]
    medians = own.groupby("batch_size")["ratio"].median()
    assert sorted(float(x) for line in marked(axes) for x in np.asarray(line.get_xdata())) == sorted(medians)
    [lines] = [part for part in axes.collections if isinstance(part, LineCollection) and part not in vertical(axes)]
    ends = sorted(tuple(np.asarray(path.vertices)[:, 0]) for path in lines.get_paths())
    hull = own.groupby("batch_size")[["ratio_low", "ratio_high"]].agg({"ratio_low": "min", "ratio_high": "max"})
    assert ends == sorted(map(tuple, hull.to_numpy()))


def test_a_mark_of_several_cases_leads_to_the_one_nearest_to_their_median(by_batch: pd.DataFrame) -> None:
    own = by_batch[(by_batch["cell"] == "gru") & (by_batch["implementation"] == "loop")]
    [panel] = figures.render_figures(own)["ratio"].panels
    [marks] = {match for match in re.findall(r'data-cases="([^"]*)"', panel.svg) if len(match.split()) == 2}
    for group in marks.split():
        nearest, *others = map(int, group.split("."))
        cases = own.loc[[nearest, *others]]
        assert cases["batch_size"].nunique() == 1
        apart = cases["ratio"].sub(cases["ratio"].median()).abs()
        assert apart.iloc[0] == apart.min()


def test_a_cell_has_its_short_name_in_figures_if_no_other_has_it(quick: pd.DataFrame) -> None:
    one = quick[quick["cell"].isin(["gru", "lstm"])]
    named = one.replace({"cell": {"gru": "models/a.py:Mine", "lstm": "b.py:Other"}})
    assert {"Mine loop", "Other loop"} <= set(words(plot.ratio(named)))
    alike = one.replace({"cell": {"gru": "models/a.py:Mine", "lstm": "b.py:Mine"}})
    assert {"models/a.py:Mine loop", "b.py:Mine loop"} <= set(words(plot.ratio(alike)))


def test_the_noise_floor_is_a_band_around_1(by_batch: pd.DataFrame) -> None:
    figure = plot.ratio(by_batch, noise_floor=0.02)
    assert "noise floor ±2.0%" in legend(figure)
    low, _, width, _ = figure.axes[0].patches[0].get_bbox().bounds
    assert (low, low + width) == pytest.approx((1 / 1.02, 1.02))
    assert not any("noise" in text for text in legend(plot.ratio(by_batch, noise_floor=math.nan)))


def test_an_interval_that_tells_nothing_pushes_no_marks_together(quick: pd.DataFrame) -> None:
    row = quick.index[quick["ratio"].notna() & (quick["ratio"] > 1)][0]
    quick.loc[row, ["ratio_low", "ratio_high"]] = [1e-6, 1e6]
    low, high = plot.ratio(quick).axes[0].get_xlim()
    marks = quick["ratio"].dropna()
    assert min(1.0, marks.min()) / 4 < low < marks.min()
    assert marks.max() < high < 4 * marks.max()


def test_devices_and_types_are_never_pooled_into_one_median(made_up: Summaries) -> None:
    figure = plot.ratio(made_up("cuda-full").query("reference == 'gru'"))
    named = {title for title in titles(figure) if title.startswith("training")}
    assert named == {f"training, {dtype}" for dtype in ("float32", "bfloat16", "tf32", "float16")}


@pytest.fixture
def mixed(quick: pd.DataFrame) -> pd.DataFrame:
    """A run in which the cases of 64 steps were measured on a shared core, and are twice as far from torch.nn."""
    is_long = quick["seq_len"] == 64
    quick["state"] = np.where(is_long, SHARED, "undisturbed")
    for column in ("ratio", "ratio_low", "ratio_high"):
        quick[column] *= np.where(is_long & ~is_reference(quick), 2.0, 1.0)
    return quick


def test_marks_of_a_shared_core_are_hollow_and_in_no_median_of_others(mixed: pd.DataFrame) -> None:
    cases = mixed.query("phase == 'inference' and reference == 'lstm'")
    figure = plot.ratio(cases)
    hollow = {
        value
        for line in marked(figure.axes[0])
        if to_hex(line.get_markerfacecolor()) == "#ffffff"
        for value in np.asarray(line.get_xdata())
    }
    own = cases[cases["implementation"] != "torch.nn"]
    assert hollow
    assert min(hollow) >= own.loc[own["state"] == SHARED, "ratio"].min()
    assert f"hollow: {SHARED}" in legend(figure)
    bars = {float(np.asarray(path.vertices)[0, 0]) for lines in vertical(figure.axes[0]) for path in lines.get_paths()}
    assert bars == set(own[own["state"] != SHARED].groupby("implementation")["ratio"].median())


def test_a_run_of_one_state_has_no_key_for_the_other(quick: pd.DataFrame) -> None:
    assert not [text for text in legend(plot.ratio(quick)) if SHARED in text]
    alone = plot.ratio(quick.assign(state=SHARED))
    assert f"hollow: {SHARED}" in legend(alone)
    assert {to_hex(line.get_markerfacecolor()) for line in marked(alone.axes[0])} == {"#ffffff"}
    assert not [text for text in words(alone) if SHARED in text and "hollow" not in text]


def test_boxes_of_a_shared_core_are_dashed_and_in_no_median_of_others(mixed: pd.DataFrame) -> None:
    figure = plot.ratio_by_size(mixed)
    assert f"dashed: {SHARED}" in figure.get_supxlabel()
    dashed = [len(boxes.get_paths()) for boxes in figure.axes[0].collections if boxes.get_linestyle()[0][1]]
    is_shown = mixed["phase"].eq("inference") & mixed["ratio"].notna() & ~is_reference(mixed)
    assert dashed == [(mixed.loc[is_shown, "state"] == SHARED).sum()]
    pooled_figure = plot.ratio_by_size(mixed, width=5)
    assert "median over length" in pooled_figure.get_supxlabel()
    undisturbed = plot.ratio_by_size(mixed[mixed["state"] != SHARED], width=5)
    numbers = [text for text in words(pooled_figure) if not text.startswith("time over")]
    assert numbers == [text for text in words(undisturbed) if not text.startswith("time over")]
    assert f"dashed: {SHARED}" not in plot.ratio_by_size(mixed.assign(state="undisturbed")).get_supxlabel()


def test_points_of_a_line_that_were_measured_on_a_shared_core_have_a_ring(mixed: pd.DataFrame) -> None:
    figure = plot.scaling(mixed.query("reference == 'lstm' and phase == 'inference'"), along="seq_len")
    [ring] = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "none"]
    assert set(np.asarray(ring.get_xdata())) == {64}
    assert f"ring: {SHARED}" in legend(figure)
    assert not [name for name in legend(plot.scaling(mixed.assign(state=""))) if "ring" in name]


# The heat map


def test_the_heat_map_holds_every_ratio_with_the_undecided_in_brackets(quick: pd.DataFrame) -> None:
    shown = words(plot.ratio_by_size(quick))
    ratios = quick.loc[quick["implementation"] != "torch.nn", "ratio"].dropna()
    expected = sorted(ratio_box(ratio) for ratio in ratios)
    assert sorted(text for text in (text.strip("()") for text in shown) if text in expected) == expected
    measured = ratios.index
    quick.loc[measured, ["ratio", "ratio_low", "ratio_high"]] = [1.2, 1.1, 1.3]
    quick.loc[measured[0], ["ratio", "ratio_low", "ratio_high"]] = [1.04, 0.98, 1.1]
    quick.loc[measured[1], ["ratio", "ratio_low", "ratio_high"]] = [0.97, 0.95, 0.99]
    shown = words(plot.ratio_by_size(quick))
    assert [shown.count(text) for text in ("(1.04)", "0.97", "(1.20)")] == [1, 1, 0]


def test_a_phase_has_columns_for_its_own_sizes_alone(quick: pd.DataFrame) -> None:
    figure = plot.ratio_by_size(quick[(quick["phase"] == "inference") | (quick["seq_len"] == 16)])
    inference, training = (axes for axes in figure.axes if axes.get_visible())
    assert [len(axes.get_xticks()) for axes in (inference, training)] == [8, 4]
    figure.draw_without_rendering()
    assert inference.get_position().width == pytest.approx(2 * training.get_position().width, rel=0.1)


def test_very_many_sizes_are_medians_over_some_and_settings_have_panels(made_up: Summaries) -> None:
    figure = plot.ratio_by_size(made_up("cpu").query("reference == 'gru'"))
    assert {"inference, 1 thread", "training, 2 threads"} <= set(titles(figure))
    assert "median over length" in figure.get_supxlabel()
    frame = with_series(made_up("cuda-full"))
    few, told = pooled(frame[~is_reference(frame)], lambda cases: False)
    assert told.startswith("median over length and batch")
    assert few["dtype"].nunique() == 4
    assert few["ratio_low"].isna().all()


# Growth


def test_all_cells_are_in_one_panel_of_each_phase_and_the_held_sizes_stand_below(quick: pd.DataFrame) -> None:
    for cases in (quick, without_reference(quick)):
        figure = plot.scaling(cases, value="seconds", along="seq_len")
        assert titles(figure) == ["inference", "training"]
        assert {"lstm hoisted", "gru hoisted"} <= set(legend(figure))
    assert figure.axes[0].get_xlabel() == "length, two values only\n(batch 1, hidden 64)"
    assert {"torch.nn.LSTM", "torch.nn.GRU"} <= set(legend(plot.scaling(quick, value="seconds")))
    assert not any(name.startswith("torch.nn") for name in legend(plot.scaling(quick)))


def test_a_line_goes_through_measured_cases_alone(quick: pd.DataFrame) -> None:
    figure = plot.scaling(quick.query("reference == 'lstm' and phase == 'inference'"), along="hidden_size")
    own = quick.query("cell == 'lstm' and phase == 'inference' and batch_size == 1 and seq_len == 16")
    expected = {tuple(cases.sort_values("hidden_size")["ratio"]) for _, cases in own.groupby("implementation")}
    shown = [tuple(np.asarray(line.get_ydata())) for line in marked(figure.axes[0])]
    assert len(shown) == 2
    assert set(shown) <= expected


def test_a_size_that_is_too_seldom_varied_has_no_panel(made_up: Summaries) -> None:
    quick = made_up("quick")
    third = quick[quick["hidden_size"] == 64].assign(hidden_size=128)
    assert scaling(quick, least=3) is None
    assert scaling(pd.concat([quick, third.assign(ratio=float("nan"))], ignore_index=True), least=3) is None
    assert scaling(pd.concat([quick, third], ignore_index=True), least=3)
    figure = plot.scaling(made_up("cpu").query("reference == 'lstm'"))
    assert {re.split("[,\n]", axes.get_xlabel())[0] for axes in figure.axes} == {"batch", "length", "hidden"}
    assert len({axes.get_ylim() for axes in figure.axes}) == 1


def test_each_measured_size_has_a_tick_and_a_line_between_two_says_that_it_shows_no_trend(quick: pd.DataFrame) -> None:
    one = quick.query("reference == 'lstm' and phase == 'inference' and hidden_size == 64 and seq_len == 16")
    first = one[one["batch_size"] == 1]
    sizes = [2**power for power in range(9)]
    many = pd.concat([first.assign(batch_size=size) for size in sizes], ignore_index=True)
    [panel] = plot.scaling(many, width=3.35).axes
    assert list(panel.get_xticks()) == sizes
    assert panel.get_xlabel() == "batch"
    assert {line.get_linestyle() for line in marked(panel)} == {"-"}
    wide = pd.concat([first.assign(batch_size=size) for size in range(1, 30)], ignore_index=True)
    [panel] = plot.scaling(wide, width=3.35).axes
    assert set(panel.get_xticks()) < set(range(1, 30))
    assert {*panel.get_xticks(), *panel.get_xticks(minor=True)} == set(range(1, 30))
    [panel] = plot.scaling(one, width=3.35).axes
    assert panel.get_xlabel() == "batch, two values only"
    assert {line.get_linestyle() for line in marked(panel)} == {"--"}


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
    assert rows["lstm compiled", "warm"][6].startswith("0% (0–0.")
    assert {"latency_p50_low", "latency_p99_9_high", "late_share"} <= set(table.frame.columns)


def test_too_few_steps_are_a_dash_and_without_a_period_none_is_late(tmp_path: Path, quick: pd.DataFrame) -> None:
    table = table_of_latency(streams.summary(tmp_path, period=None, steps=50))
    assert table is not None
    assert table.headers[-1] == "p99.9"
    assert {row[-1] for row in table.rows} == {"—"}
    assert table_of_latency(quick) is None


def test_each_stream_has_a_row_with_its_highest_known_quantile(tmp_path: Path) -> None:
    summary = streams.summary(tmp_path)
    figure = plot.latency(summary)
    shown = words(figure)
    assert {"lstm loop, warm caches", "lstm compiled, cold caches"} <= set(shown)
    assert sum(text.startswith("p99.9 ") for text in shown) == 6
    assert "period 1.00 ms" in legend(figure)
    few = plot.latency(streams.summary(tmp_path, period=None, steps=50))
    assert any(text.startswith("p95 ") for text in words(few))
    assert not any(text.startswith("period") for text in legend(few))
    assert latency(streams.summary(tmp_path, steps=2)) is None  # too few for any quantile


# On axes of its own and of the caller


@pytest.fixture(scope="module")
def frames(made_up: Summaries, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[pd.DataFrame]]:
    """For each figure, what it shows: a few cases at three sizes of each axis, many of one phase, many of two."""
    grid = made_up("cpu").query("reference == 'lstm' and threads == 1 and phase == 'inference'")
    ladder = made_up("ladder").query("reference == 'lstm' or cell == 'combined'")
    others = {
        "changes": [verdicts_of(samples.realistic()).frame],
        "latency": [streams.summary(tmp_path_factory.mktemp("run"))],
    }
    return {name: others.get(name, [grid, ladder.query("phase == 'training'"), ladder]) for name in plot.__all__}


@pytest.fixture
def grid(frames: dict[str, list[pd.DataFrame]]) -> pd.DataFrame:
    return frames["ratio"][0].copy()


@pytest.fixture
def ax() -> Iterator[Axes]:
    figure, axes = plt.subplots(figsize=(7, 5), layout="constrained")
    yield axes
    plt.close(figure)


def overlaps(texts: list[Text], figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that lie on one another by more than a point."""
    point = figure.dpi / 72
    boxes = [(text.get_text(), text.get_window_extent().padded(-point)) for text in texts]
    return [(one, other) for (one, box), (other, beside) in combinations(boxes, 2) if box.overlaps(beside)]


def is_within(part: Any, figure: Figure) -> bool:
    """Whether something lies within the figure, to a few points."""
    box, edge, whole = part.get_window_extent(), figure.dpi * 0.06, figure.bbox
    ends = min(box.x0, box.y0) >= -edge and box.x1 <= whole.x1 + edge and box.y1 <= whole.y1 + edge
    return bool(ends)


@pytest.mark.parametrize("width", [3.35, 7])
@pytest.mark.parametrize("name", plot.__all__)
def test_at_the_widths_of_papers_letters_are_legible_and_nothing_overlaps(
    name: str, width: float, frames: dict[str, list[pd.DataFrame]]
) -> None:
    for frame in frames[name]:
        figure = getattr(plot, name)(frame, width=width)
        texts = letters(figure)  # pytest turns the warning of a layout without room into an error
        assert figure.get_figwidth() == width
        if width < 5:
            assert figure.get_figheight() <= 4
        assert min(float(text.get_fontsize()) for text in texts) >= MIN_LETTERS
        assert not [text.get_text() for text in texts if not is_within(text, figure)]
        assert overlaps(texts, figure) == []


@pytest.mark.parametrize("layout", ["constrained", None])
@pytest.mark.parametrize("name", plot.__all__)
def test_on_small_axes_of_the_caller_nothing_overlaps(
    name: str, layout: Any, frames: dict[str, list[pd.DataFrame]]
) -> None:
    for frame in frames[name][:2]:
        figure, axes = plt.subplots(figsize=(3.35, 2.6), layout=layout)
        getattr(plot, name)(frame, axes, **ONE_PANEL.get(name, {}))
        texts = letters(figure)
        assert min(float(text.get_fontsize()) for text in texts) >= MIN_LETTERS
        assert overlaps(texts, figure) == []
        plt.close(figure)


@pytest.mark.parametrize(
    ("name", "style"),
    [("ratio", "ggplot"), *((name, "dark_background") for name in plot.__all__)],
)
def test_axes_of_the_caller_are_drawn_on_in_the_callers_style(
    name: str, style: str, frames: dict[str, list[pd.DataFrame]]
) -> None:
    with plt.style.context(style):
        figure, axes = plt.subplots(figsize=(9, 6), layout="constrained")
        before = axes.get_facecolor()
        assert getattr(plot, name)(frames[name][0], axes, **ONE_PANEL.get(name, {})) is axes
        assert axes.has_data() or axes.collections
        assert axes.get_title(loc="left") == ""
        assert axes.get_facecolor() == before
        if name != "ratio_by_size":  # whose numbers are on coloured boxes; ticks and labels are the style's
            paper = to_hex(axes.get_facecolor())
            own = [text for text in letters(figure) if text.axes is not None and text in text.axes.texts]
            assert all(contrast(to_hex(text.get_color()), paper) >= 4.4 for text in own)
        plt.close(figure)


def test_one_axes_cannot_hold_several_panels_and_the_message_says_what_to_select(
    ax: Axes, quick: pd.DataFrame, snapshot: SnapshotAssertion
) -> None:

    one = quick[(quick["phase"] == "inference") & (quick["reference"] == "rnn") & (quick["num_layers"] == 1)]
    names = ("ratio", "ratio_by_size", "scaling")
    messages = {name: told(partial(getattr(plot, name), quick, ax)) for name in names}
    messages["scaling of one panel"] = told(lambda: plot.scaling(one, ax))
    assert messages == snapshot
    assert not ax.has_data()
    assert plot.ratio(quick[quick["phase"] == "inference"], ax) is ax


def test_wrong_arguments_are_named(ax: Axes, grid: pd.DataFrame, snapshot: SnapshotAssertion) -> None:
    wide = pd.concat([grid.assign(hidden_size=grid["hidden_size"] + more) for more in range(12)])
    calls: dict[str, Callable[[], object]] = {
        "a list": lambda: plot.ratio([]),  # type: ignore[arg-type]
        "a frame without ratios": lambda: plot.ratio(grid.drop(columns="ratio")),
        "several axes": lambda: plot.ratio(grid, np.array([ax, ax])),  # type: ignore[arg-type]
        "a width that is too small": lambda: plot.ratio(grid, width=1),
        "another value": lambda: plot.scaling(grid, value="time"),  # type: ignore[arg-type]
        "more columns than fit": lambda: plot.ratio_by_size(wide, width=3),
    }
    assert {kind: told(call) for kind, call in calls.items()} == snapshot


def test_a_figure_of_its_own_is_that_of_a_report_in_every_style(grid: pd.DataFrame) -> None:
    plain = saved(plot.ratio(grid, width=3.35, height=2.2), "png")
    with plt.style.context("dark_background"):
        assert saved(plot.ratio(grid, width=3.35, height=2.2), "png") == plain


@pytest.mark.parametrize("name", plot.__all__)
def test_nothing_to_show_is_an_error_that_says_what_is_missing(
    name: str, frames: dict[str, list[pd.DataFrame]]
) -> None:
    with pytest.raises(ValueError, match=r"^nothing to show: \w"):
        getattr(plot, name)(frames[name][0].head(0))


def test_rows_may_have_any_index_and_the_frame_stays_as_it_is(grid: pd.DataFrame) -> None:
    before = grid.copy(deep=True)
    plot.ratio(grid.set_index("case", drop=False))
    plot.scaling(grid.iloc[::-1])
    pd.testing.assert_frame_equal(grid, before)


def saved(figure: Figure, kind: str) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format=kind)
    return out.getvalue()


def test_no_note_for_pages_and_no_date_is_left_in_a_file(grid: pd.DataFrame, ax: Axes) -> None:
    assert b"CreationDate" not in saved(plot.ratio(grid), "pdf")
    for figure in (plot.ratio(grid), plot.ratio(grid, ax).figure):
        ids = re.findall(r'\bid="([^"]+)"', saved(figure, "svg").decode())
        assert not [name for name in ids if name.startswith("cases")]
        assert len(set(ids)) == len(ids)
