from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from rnnbench.report.figures import figure_parameters
from rnnbench.report.figures.drawing.growth import MARK_POINTS
from tests.report.conftest import Summaries, of_an_older_version


def drawn(summary: pd.DataFrame, **how: Any) -> Figure:
    figure = figure_parameters.render(summary, **how)
    assert figure is not None
    return figure


def points(figure: Figure, panel: int) -> dict[tuple[float, float], tuple[str, float]]:
    """Parameters and value of every mark in a panel, with its colour and size."""
    lines = [line for line in figure.axes[panel].lines if line.get_marker() not in ("None", "_", "|", "")]
    return {
        (float(x), float(y)): (str(line.get_color()), float(line.get_markersize()))
        for line in lines
        for x, y in zip(np.asarray(line.get_xdata()), np.asarray(line.get_ydata()), strict=True)
    }


def test_phases_are_columns_and_time_and_memory_are_rows(quick: pd.DataFrame) -> None:
    figure = drawn(quick)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["inference", "training", "", ""]
    assert [axes.get_ylabel() for axes in figure.axes] == ["time per call", "", "peak memory of a call", ""]
    assert {(axes.get_xscale(), axes.get_yscale()) for axes in figure.axes} == {("log", "log")}
    assert figure.axes[2].get_ylim() == figure.axes[3].get_ylim()


def test_each_mark_is_a_case_at_the_smallest_or_the_largest_batch_and_length(quick: pd.DataFrame) -> None:
    own = quick.query("cell == 'lstm' and implementation == 'loop' and phase == 'training'")
    shown = points(drawn(quick), 1)
    for held, is_large in (("batch_size == 1 and seq_len == 16", False), ("batch_size == 32 and seq_len == 64", True)):
        for case in own.query(held).to_dict("records"):
            assert shown[case["parameters"], case["seconds"]][1] == MARK_POINTS[is_large]
    between = own.query("batch_size == 1 and seq_len == 64").iloc[0]
    assert (between["parameters"], between["seconds"]) not in shown
    legend = [text.get_text() for text in drawn(quick).legends[0].get_texts()]
    assert legend[-2:] == ["batch 1, length 16", "batch 32, length 64"]


def test_torch_is_black_and_each_of_its_layers_is_named(quick: pd.DataFrame) -> None:
    figure = drawn(quick)
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {"RNN", "LSTM", "GRU"} <= texts
    reference = quick.query("cell == 'torch.nn.LSTM' and phase == 'inference' and batch_size == 1 and seq_len == 16")
    for case in reference.to_dict("records"):
        assert points(figure, 0)[case["parameters"], case["seconds"]][0] == "#000000"


def test_only_the_loop_and_the_fastest_of_each_cell_are_shown(made_up: Summaries) -> None:
    legend = {text.get_text() for text in drawn(made_up("ladder")).legends[0].get_texts()}
    assert {"torch.nn", "vanilla loop", "lstm loop", "gru loop"} <= legend
    assert sum(name.startswith("lstm ") for name in legend) == 2
    assert not any(name.endswith("Cell") for name in legend)


def test_of_several_settings_the_one_with_the_most_cases_is_shown(made_up: Summaries) -> None:
    summary = made_up("cpu")
    fewer = summary[~(summary["threads"].eq(1) & summary["batch_size"].eq(1))]
    shown = points(drawn(fewer.query("phase == 'training'")), 0)
    seconds = set(fewer.loc[fewer["threads"] != 1, "seconds"])
    assert {value for _, value in shown} <= seconds


def test_without_memory_only_the_time_is_drawn_and_each_can_be_had_alone(quick: pd.DataFrame) -> None:
    assert len(drawn(quick.assign(peak_bytes=np.nan)).axes) == 2
    assert {axes.get_ylabel() for axes in drawn(quick, value="peak_bytes").axes} == {"peak memory of a call", ""}


def test_nothing_is_drawn_where_the_parameters_are_not_known_or_all_the_same(quick: pd.DataFrame) -> None:
    assert figure_parameters.render(quick.assign(parameters=np.nan)) is None
    assert figure_parameters.render(quick.assign(parameters=100.0)) is None
    assert figure_parameters.render(of_an_older_version(quick)) is None


@pytest.mark.parametrize("width", [3.35, 7])
def test_it_fits_the_width_that_is_asked_for(quick: pd.DataFrame, width: float) -> None:
    figure = drawn(quick, width=width)
    figure.draw_without_rendering()  # pytest turns the warning of a layout without room into an error
    assert min(axes.get_window_extent().width / figure.dpi for axes in figure.axes) > 1.2
