"""Colours that follow the background, and files that are always the same bytes."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from rnnbench.report.colors import FASTER, INKS
from rnnbench.report.drawing.sheet import Ink, ReportFigure, ink, luminance, mixed, png, report_style, svg
from rnnbench.report.ratios import ratio
from tests.doubles.contrast import contrast


def test_reports_have_exactly_the_colours_that_pages_replace() -> None:
    with report_style():
        own = ink(ReportFigure().subplots())
    light = {name: shade.light for name, shade in INKS.items()}
    assert own == Ink(light["ink"], light["soft"], light["line"], light["faint"], light["card"])
    assert own.of(FASTER) == FASTER.light


def test_on_a_dark_background_letters_are_light_and_colours_have_their_dark_form() -> None:
    with plt.style.context("dark_background"):
        figure, axes = plt.subplots()
        dark = ink(axes)
    plt.close(figure)
    assert (dark.text, dark.paper, dark.of(INKS["ink"])) == ("#ffffff", "#000000", "#ffffff")
    assert dark.of(FASTER) == FASTER.dark
    assert contrast(dark.soft, dark.paper) > 4.5


def test_transparent_axes_have_the_background_of_their_figure() -> None:
    figure = ReportFigure(facecolor="#203040")
    axes = figure.subplots()
    axes.set_facecolor("none")
    assert ink(axes).paper == "#203040"
    figure.set_facecolor("none")
    assert ink(axes).paper == "#ffffff"


def test_luminance_is_that_of_wcag() -> None:
    assert luminance("#ff0000") == pytest.approx(0.2126)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert mixed("#000000", "#ffffff", 1 / 3) == "#555555"


def test_drawing_twice_gives_the_same_bytes_which_need_no_font_and_no_other_file(quick: pd.DataFrame) -> None:
    first, second = (ratio(quick[quick["phase"] == "training"]) for _ in range(2))
    assert first is not None
    assert second is not None
    text = svg(first, "twice")
    assert text == svg(second, "twice")
    assert png(first) == png(second)
    assert not [part for part in ("<text", "<image", 'href="http') if part in text]
