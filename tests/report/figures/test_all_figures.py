import re
from collections.abc import Callable

import pandas as pd
import pytest
from matplotlib.figure import Figure

from rnnbench.report.figures import (
    all_figures,
    figure_parameters,
    figure_ratio,
    figure_ratio_by_size,
    figure_regions,
    figure_roofline,
    figure_scaling,
)
from rnnbench.report.figures.drawing import canvas
from rnnbench.report.words.units import ratio_box
from tests.report.conftest import Summaries, renamed, with_none_measured, with_one_replicate, without_reference

Draw = Callable[[pd.DataFrame], Figure | None]


def texts(figure: Figure | None) -> list[str]:
    shown = [text.get_text() for axes in figure.axes for text in axes.texts]
    for axes in figure.axes:
        shown += [axes.get_title(loc="left"), axes.get_title()]
        shown += [label.get_text() for label in (*axes.get_yticklabels(), *axes.get_xticklabels())]
        legend = axes.get_legend()
        shown += [text.get_text() for text in legend.get_texts()] if legend else []
    return shown


@pytest.mark.parametrize("draw", [figure_ratio_by_size.render, figure_roofline.render])
def test_drawing_twice_gives_the_same_bytes(notebook: pd.DataFrame, draw: Draw) -> None:
    first, second = (draw(notebook[notebook["phase"] != "step"]) for _ in range(2))
    assert first is not None
    assert second is not None
    assert canvas.svg(first, "twice") == canvas.svg(second, "twice")
    assert canvas.png(first) == canvas.png(second)


@pytest.fixture
def grid(made_up: Summaries) -> pd.DataFrame:
    """LSTMs at three sizes of each axis, which is enough to fit."""
    return made_up("cpu").query("reference == 'lstm' and threads == 1 and phase == 'inference'")


def test_a_label_stands_above_every_figure(grid: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(canvas, "svg", lambda figure, name: "")
    monkeypatch.setattr(canvas, "png", drawn.append)
    all_figures.render(grid, "caches flushed before every call")
    assert len(drawn) == len(all_figures.FIGURES) - 1  # the grid has no streams
    assert {figure.get_suptitle() for figure in drawn} == {"caches flushed before every call"}


def test_an_svg_needs_no_font_and_no_other_file(notebook: pd.DataFrame) -> None:
    svg = all_figures.render(notebook, only=["ratio"])["ratio"].svg
    assert "<text" not in svg
    assert "<image" not in svg
    assert 'href="http' not in svg


def test_the_ratio_figure_has_a_panel_for_each_phase_and_the_median_of_each_row(notebook: pd.DataFrame) -> None:
    shown = texts(figure_ratio.render(notebook))
    assert {"inference", "training", "step"} <= set(shown)
    ratios = notebook.query("cell == 'vanilla' and implementation == 'loop' and phase == 'step'")["ratio"]
    assert f"{ratios.median():.2f}×" in shown


def test_the_heat_map_holds_every_ratio(quick: pd.DataFrame) -> None:
    shown = texts(figure_ratio_by_size.render(quick))
    ratios = quick.loc[quick["implementation"] != "torch.nn", "ratio"].dropna()
    expected = sorted(ratio_box(ratio) for ratio in ratios)
    assert sorted(text for text in (text.strip("()") for text in shown) if text in expected) == expected


def test_boxes_whose_interval_holds_1_are_in_brackets(quick: pd.DataFrame) -> None:
    measured = quick.index[(quick["implementation"] != "torch.nn") & quick["ratio"].notna()]
    quick.loc[measured, ["ratio", "ratio_low", "ratio_high"]] = [1.2, 1.1, 1.3]
    quick.loc[measured[0], ["ratio", "ratio_low", "ratio_high"]] = [1.04, 0.98, 1.1]
    quick.loc[measured[1], ["ratio", "ratio_low", "ratio_high"]] = [0.97, 0.95, 0.99]
    shown = texts(figure_ratio_by_size.render(quick))
    assert [shown.count(text) for text in ("(1.04)", "0.97", "(1.20)")] == [1, 1, 0]


def test_batch_runs_down_and_hidden_size_across_within_each_length(quick: pd.DataFrame) -> None:
    figure = figure_ratio_by_size.render(quick)
    assert figure is not None
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["16\n64", "16\n256", "64\n64", "64\n256"]
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows == ["1", "32"] * 7 + ["32"] * 2  # deep and deep-notebook are measured at one batch size
    assert {"vanilla loop", "length\nhidden →  batch ↓"} <= set(texts(figure))


def test_many_sizes_are_split_into_panels(made_up: Summaries) -> None:
    figure = figure_ratio_by_size.render(made_up("cpu").query("reference == 'gru'"))
    assert {"inference, 1 thread", "training, 2 threads"} <= set(texts(figure))


def test_a_panel_of_the_heat_map_has_no_rows_of_series_that_were_not_asked_for_there(made_up: Summaries) -> None:
    figure = figure_ratio_by_size.render(made_up("published-full"))  # 16 bits for the LSTM alone
    named = {axes.get_title(loc="left"): {text.get_text().split(" ")[0] for text in axes.texts} for axes in figure.axes}
    assert {"lstm", "gru", "vanilla"} <= named["inference, float32"]
    assert "lstm" in named["inference, float16"]
    assert not {"gru", "vanilla"} & named["inference, float16"]


@pytest.mark.usefixtures("svg_alone")
def test_every_measured_case_has_its_mark(quick: pd.DataFrame) -> None:
    measured = quick.query("phase == 'training' and status == 'measured' and reference == 'rnn'")
    own = set(measured.index[measured["implementation"] != "torch.nn"])
    marked = {
        name: {int(row) for attribute in re.findall(r'data-cases="([\d ]+)"', picture.svg) for row in attribute.split()}
        for name, picture in all_figures.render(measured).items()
    }
    assert marked["ratio"] == marked["ratio_by_size"] == own
    assert marked["roofline"] == set(measured.index)
    assert marked["scaling"] & own  # only the lines through two common points are drawn
    assert marked["parameters"] & own


def test_devices_and_types_are_never_pooled_into_one_median(made_up: Summaries) -> None:
    summary = made_up("cuda-full").query("reference == 'gru'")
    titles = {title for title in texts(figure_ratio.render(summary)) if title.startswith("training")}
    assert titles == {f"training, {dtype}" for dtype in ("float32", "bfloat16", "tf32", "float16")}


def test_a_phase_that_loads_nothing_has_one_panel_however_many_workers_others_have(quick: pd.DataFrame) -> None:
    step = quick.query("phase == 'training' and batch_size == 1 and seq_len == 16").assign(phase="step")
    epochs = [step.assign(phase="epoch", workers=workers) for workers in (0, 2)]
    figure = figure_ratio.render(pd.concat([step, *epochs], ignore_index=True))
    assert figure is not None
    shown = {axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()}
    assert shown == {"step", "epoch, 0 workers", "epoch, 2 workers"}
    (legend,) = figure.legends
    # Workers have panels, so the colour is another size; of so few cases no bar is drawn.
    assert [text.get_text() for text in legend.get_texts()] == ["hidden 64", "hidden 256", "95% interval"]


def test_regions_name_each_series_and_its_ratios_at_the_corners_of_what_was_measured(grid: pd.DataFrame) -> None:
    figure = figure_regions.render(grid)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [
        "torch.nn.LSTM and its cells: inference, length 64\ntorch.nn.LSTM",
        "\nlstm loop",
        "\nlstm hoisted",
    ]
    ratios = [[text.get_text() for text in axes.texts if text.get_text().endswith("×")] for axes in figure.axes]
    assert [len(panel) for panel in ratios] == [0, 4, 4]
    assert all("predicted" in {text.get_text() for text in axes.texts} for axes in figure.axes)


def test_of_several_settings_the_first_is_mapped_and_named(made_up: Summaries) -> None:
    summary = made_up("cpu").query("reference == 'gru' and phase == 'training'")
    figure = figure_regions.render(summary)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[0].startswith("torch.nn.GRU and its cells: training, length 64, 1 thread\n")
    assert len(titles) == 3


@pytest.mark.parametrize(
    "draw",
    [
        figure_ratio.render,
        figure_ratio_by_size.render,
        figure_scaling.render,
        figure_regions.render,
        figure_parameters.render,
        figure_roofline.render,
    ],
)
def test_nothing_measured_gives_no_figure(quick: pd.DataFrame, draw: Draw) -> None:
    assert draw(with_none_measured(quick)) is None
    assert draw(quick.head(0)) is None


@pytest.mark.usefixtures("svg_alone")
def test_figures_that_need_several_sizes_are_left_out_for_one(quick: pd.DataFrame) -> None:
    single = quick[quick["case"].str.contains("batch_size=1 seq_len=16 input_size=64 hidden_size=64")]
    assert list(all_figures.render(single)) == ["ratio", "parameters", "roofline"]


@pytest.mark.usefixtures("svg_alone")
def test_without_reference_only_times_are_drawn(notebook: pd.DataFrame) -> None:
    assert list(all_figures.render(without_reference(notebook[notebook["phase"] == "training"]))) == [
        "scaling",
        "parameters",
        "roofline",
    ]


@pytest.mark.usefixtures("svg_alone")
def test_one_replicate_is_drawn_without_intervals(notebook: pd.DataFrame) -> None:
    shown = ["ratio", "ratio_by_size", "scaling", "parameters", "roofline"]
    assert list(all_figures.render(with_one_replicate(notebook[notebook["phase"] == "training"]))) == shown


@pytest.mark.parametrize("name", ["_x$\\frac$.py:<script>", "日本.py:Cell", "a\x00b:C"])
def test_any_name_can_be_drawn(notebook: pd.DataFrame, name: str) -> None:
    one_cell = notebook.query("phase == 'step' and cell in ('vanilla', 'torch.nn.RNN') and num_layers == 1")
    for picture in all_figures.render(renamed(one_cell, "vanilla", name)).values():
        assert "<script>" not in picture.svg
        assert "\x00" not in picture.svg


def test_long_names_leave_the_figures_their_room(grid: pd.DataFrame, made_up: Summaries) -> None:
    names = [f"some.package.of_mine.{'x' * 150}.{end}" for end in ("cells:First", "cells:Second")]
    for summary in (grid, made_up("quick").query("phase == 'training' and reference != 'rnn'")):
        long = renamed(renamed(summary, "lstm", names[0]), "gru", names[1])
        for draw in (render for _, render, *_ in all_figures.FIGURES):
            figure = draw(long)
            if figure is None:
                continue
            canvas.settle(figure)  # pytest turns the warning of a layout without room into an error
            shown = texts(figure) + [text.get_text() for legend in figure.legends for text in legend.get_texts()]
            assert any("cells:First loop" in text for text in shown)
            assert max(len(line) for text in shown for line in text.splitlines()) < 60


def test_no_region_is_coloured_where_the_arithmetic_is_not_known(made_up: Summaries) -> None:
    # Input and hidden size are equal everywhere, so their effects can't be told apart.
    summary = made_up("published-full")
    assert figure_regions.render(summary) is None


@pytest.mark.parametrize(("low", "high"), [(0.98, 1.03), (0.5, 12), (1e-6, 3), (1.0, 1.0001), (3e-3, 5e3)])
def test_a_log_axis_has_some_round_numbers_but_not_many(low: float, high: float) -> None:
    numbers = canvas.round_numbers(low, high, 7)
    assert 2 <= len(numbers) <= 8
    assert all(low <= number <= high for number in numbers)


def test_an_interval_that_tells_nothing_pushes_no_marks_together(quick: pd.DataFrame) -> None:
    hopeless = quick.copy()
    row = hopeless.index[hopeless["ratio"].notna() & (hopeless["ratio"] > 1)][0]
    hopeless.loc[row, ["ratio_low", "ratio_high"]] = [1e-6, 1e6]
    figure = figure_ratio.render(hopeless)
    low, high = figure.axes[0].get_xlim()
    marks = hopeless["ratio"].dropna()
    assert min(1.0, marks.min()) / 4 < low < marks.min()
    assert marks.max() < high < 4 * marks.max()
