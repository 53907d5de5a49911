from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from rnnbench.report.figures import figure_roofline
from rnnbench.store.ceilings import Ceiling, SizedRate
from tests.report.conftest import CEILING, Summaries, of_an_older_version, with_unknown_metrics


def words(figure: Figure | None) -> list[str]:
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    return titles + [text.get_text() for axes in figure.axes for text in axes.texts]


def marks(figure: Figure | None) -> int:
    lines = [line for axes in figure.axes for line in axes.lines if line.get_linestyle() == "None"]
    return sum(np.asarray(line.get_xdata()).size for line in lines)


def test_each_limit_is_named_on_its_line_with_its_number(quick: pd.DataFrame) -> None:
    assert {"arithmetic 51.9 GMAC/s", "94.6 GB/s in cache", "25.8 GB/s for 134 MB", "10× below"} <= set(
        words(figure_roofline.render(quick))
    )


def test_one_memory_has_one_slope(quick: pd.DataFrame) -> None:
    ceiling = replace(CEILING, copies=(SizedRate(134_217_728, 25.8e9),))
    quick["ceiling"] = ceiling.to_text()
    shown = words(figure_roofline.render(quick))
    assert "25.8 GB/s memory" in shown
    assert not any("cache" in text for text in shown)


def test_every_measured_case_has_a_mark_in_the_panel_of_its_phase(quick: pd.DataFrame) -> None:
    figure = figure_roofline.render(quick)
    assert marks(figure) == (quick["status"] == "measured").sum()
    assert {"inference", "training"} <= set(words(figure))


def test_devices_types_and_threads_have_panels_of_their_own(made_up: Summaries) -> None:
    assert {"inference, 1 thread", "training, 2 threads"} <= set(words(figure_roofline.render(made_up("cpu"))))
    assert {"inference, float32", "training, bfloat16"} <= set(words(figure_roofline.render(made_up("cuda"))))


def test_cases_without_a_ceiling_are_left_out(quick: pd.DataFrame) -> None:
    has_none = quick["phase"] == "training"
    quick.loc[has_none, "ceiling"] = ""
    figure = figure_roofline.render(quick)
    assert marks(figure) == (quick.loc[~has_none, "status"] == "measured").sum()
    assert "training" not in words(figure)


@pytest.mark.parametrize("change", [of_an_older_version, with_unknown_metrics])
def test_an_older_run_has_no_roofline(quick: pd.DataFrame, change: type) -> None:
    assert figure_roofline.render(change(quick)) is None


@pytest.mark.parametrize("unknown", ["macs", "parameters"])
def test_nothing_is_drawn_where_arithmetic_or_bytes_are_not_known(quick: pd.DataFrame, unknown: str) -> None:
    derived = {"macs": ["macs", "macs_per_second"], "parameters": ["parameters"]}
    quick[derived[unknown]] = np.nan
    assert figure_roofline.render(quick) is None


def test_a_case_faster_than_the_ceiling_stays_in_the_picture(quick: pd.DataFrame) -> None:
    quick["macs_per_second"] = quick["macs_per_second"] * 50
    figure = figure_roofline.render(quick)
    assert figure.axes[0].get_ylim()[1] > quick["macs_per_second"].max()


def test_a_slope_is_written_along_its_line(quick: pd.DataFrame) -> None:
    figure = figure_roofline.render(quick)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    text = next(text for text in axes.texts if text.get_text().endswith("for 134 MB"))
    ceiling: Ceiling = CEILING
    speed = ceiling.copies[-1].value
    points = [(1e-1, 1e-1 * speed), (1.0, speed)]
    (left, low), (right, high) = axes.transData.transform(points)
    assert text.get_rotation() == pytest.approx(np.degrees(np.arctan2(high - low, right - left)), abs=0.5)


def test_rungs_whose_marks_look_alike_share_a_line_of_the_legend(made_up: Summaries) -> None:
    figure = figure_roofline.render(made_up("ladder"))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:3] == ["torch.nn", "vanilla loop", "vanilla hoisted,\ntransposed, compiled,\nprepacked"]
    assert "torch.nn.RNNCell,\ntorch.nn.LSTMCell,\ntorch.nn.GRUCell" in labels
