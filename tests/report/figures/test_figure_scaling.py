import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnbench.report.figures import figure_scaling
from rnnbench.report.figures.drawing import growth
from rnnbench.report.figures.drawing.growth import LINE, MARK_POINTS
from tests.report.conftest import Summaries, without_reference


@pytest.fixture
def grid(made_up: Summaries) -> pd.DataFrame:
    """LSTMs at three sizes of each axis, which is enough to fit."""
    return made_up("cpu").query("reference == 'lstm' and threads == 1 and phase == 'inference'")


def drawn(summary: pd.DataFrame, **how: Any) -> Figure:
    figure = figure_scaling.render(summary, **how)
    assert figure is not None
    return figure


def panels(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.axison]


def words(figure: Figure) -> set[str]:
    titles = {axes.get_title(loc="left") for axes in figure.axes}
    return titles | {text.get_text() for axes in figure.axes for text in axes.texts}


def marked(axes: Axes) -> list[Line2D]:
    """The lines through measured points."""
    return [line for line in axes.lines if line.get_marker() not in ("None", "_", "|", "")]


def test_all_panels_have_one_scale_of_ratios(quick: pd.DataFrame) -> None:
    figure = drawn(quick)
    assert len({axes.get_ylim() for axes in panels(figure)}) == 1
    assert {axes.get_xlabel() for axes in panels(figure)} == {"batch", "length", "hidden"}
    assert figure.get_supylabel() == "time over that of torch.nn (log scale)"
    low, high = panels(figure)[0].get_ylim()
    own = quick.loc[quick["implementation"] != "torch.nn", "ratio"]
    assert low < 1
    assert high > own.quantile(0.9)


def test_times_of_all_cells_are_in_one_panel_with_a_reference_and_without(quick: pd.DataFrame) -> None:
    inference = quick[quick["phase"] == "inference"]
    names = []
    for cases in (inference, without_reference(inference)):
        figure = drawn(cases, value="seconds", along="seq_len")
        [panel] = panels(figure)
        assert "all cells: inference" in words(figure)
        legend = panel.get_legend()
        assert legend is not None
        names.append({text.get_text() for text in legend.get_texts()})
    assert {"torch.nn.LSTM", "torch.nn.GRU", "torch.nn.RNN"} <= names[0]
    assert {"lstm hoisted", "gru hoisted"} <= names[0] & names[1]


def test_the_other_sizes_are_at_their_smallest_and_at_their_largest_and_it_says_where(quick: pd.DataFrame) -> None:
    figure = drawn(quick)
    assert "small: length 16, hidden 64\nlarge: length 64, hidden 256" in words(figure)
    lstm = quick.query("cell == 'lstm' and implementation == 'loop' and phase == 'inference' and batch_size == 1")
    ends = [lstm.query(f"seq_len == {size}").sort_values("hidden_size")["ratio"] for size in (16,)]
    hidden = next(
        axes for axes in drawn(quick.query("reference == 'lstm' and phase == 'inference'"), along="hidden_size").axes
    )
    assert any(np.allclose(np.asarray(line.get_ydata(), dtype=float), ends[0]) for line in marked(hidden))
    assert {line.get_markersize() for line in marked(hidden)} == set(MARK_POINTS.values())


def test_two_points_are_joined_by_dots_and_three_by_lines(quick: pd.DataFrame, grid: pd.DataFrame) -> None:
    def patterns(summary: pd.DataFrame) -> set[str]:
        lines = [line for axes in panels(drawn(summary)) for line in marked(axes)]
        return {str(line._dash_pattern) for line in lines}  # type: ignore[attr-defined]

    dots = patterns(quick)
    assert len(dots) == 1
    few = grid.copy()
    few["macs"] = np.nan  # without a count of its arithmetic nothing is fitted
    lines = patterns(few)
    assert len(lines) == len(LINE)
    assert not lines & dots


@pytest.fixture
def any_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw fits with intervals of any width, as those of the made-up cases are."""
    monkeypatch.setattr(growth, "MAX_SPREAD", math.inf)


def test_a_fit_with_a_very_wide_interval_is_not_drawn(grid: pd.DataFrame) -> None:
    for axes in panels(drawn(grid)):
        assert not [collection for collection in axes.collections if isinstance(collection, PolyCollection)]


@pytest.mark.usefixtures("any_width")
def test_fits_are_drawn_with_bands_where_sizes_are_enough_and_what_is_predicted_says_so(grid: pd.DataFrame) -> None:
    figure = drawn(grid)
    for axes in panels(figure):
        bands = [collection for collection in axes.collections if isinstance(collection, PolyCollection)]
        assert len(bands) == 4  # loop and hoisted, twice
        low, high = axes.get_xlim()
        sizes = axes.get_xticks()
        assert low < sizes.min() or sizes.min() == 1
        assert high > 1.9 * sizes.max()
        assert "predicted" in {text.get_text() for text in axes.texts}
    assert "predicted" not in words(drawn(grid.query("batch_size < 64 and seq_len < 256")))


@pytest.mark.usefixtures("any_width")
def test_a_prediction_that_runs_off_takes_no_room_from_the_marks(grid: pd.DataFrame) -> None:
    own = grid.loc[grid["implementation"] != "torch.nn", "ratio"]
    low, high = panels(drawn(grid))[0].get_ylim()
    assert low > 0.5 * min(1.0, own.min())
    assert high < 2 * own.max()


def test_each_series_is_drawn_where_it_was_measured(made_up: Summaries) -> None:
    summary = made_up("quick").query("reference == 'lstm' and phase == 'training'")
    only = summary["implementation"].eq("hoisted") & summary["seq_len"].ne(64)
    panel = drawn(summary[~only], along="batch_size")
    assert "small: length 16 or 64,\nhidden 64\nlarge: length 64, hidden 256" in words(panel)


def test_without_ratios_it_is_the_time_per_call_which_can_also_be_asked_for(quick: pd.DataFrame) -> None:
    quick = quick[quick["phase"] == "training"]
    assert drawn(without_reference(quick)).get_supylabel() == "time per call (log scale)"
    figure = drawn(quick, value="seconds", along="hidden_size")
    names = {text.get_text() for axes in figure.axes if (box := axes.get_legend()) for text in box.get_texts()}
    assert "torch.nn.LSTM" in names
    assert {axes.get_xlabel() for axes in panels(figure)} == {"hidden"}


def test_a_note_of_many_axes_stays_above_its_panel(made_up: Summaries) -> None:
    figure = drawn(made_up("published-full").query("reference == 'lstm'"))
    notes = [text for text in words(figure) if text.startswith("small: ")]
    assert any("hidden" in note for note in notes)
    assert max(len(line) for note in notes for line in note.splitlines()) <= 40


@pytest.mark.usefixtures("any_width")
def test_numbers_below_a_panel_have_room_where_predictions_take_some(made_up: Summaries) -> None:
    figure = drawn(made_up("published-full").query("reference == 'gru'"))
    shown = [list(axes.get_xticks()) for axes in panels(figure) if axes.get_xlabel() == "length"]
    assert shown
    assert all(ticks == [187.0, 1500.0] for ticks in shown)


@pytest.mark.parametrize("width", [3.35, 7, 12])
def test_it_fits_the_width_that_is_asked_for(quick: pd.DataFrame, width: float) -> None:
    figure = drawn(quick[quick["phase"] == "training"], width=width)
    assert figure.get_figwidth() == width
    figure.draw_without_rendering()  # pytest turns the warning of a layout without room into an error
    assert min(axes.get_window_extent().width / figure.dpi for axes in panels(figure)) > 0.5
