import matplotlib.pyplot as plt
import pytest

from rnnbench.report.colors import FASTER, INKS
from rnnbench.report.figures.drawing.canvas import Shown, look
from rnnbench.report.figures.drawing.ink import Ink, contrast, ink, luminance, mixed


def test_reports_have_exactly_the_colours_that_pages_replace() -> None:
    with look():
        own = ink(Shown().subplots())
    light = {name: shade.light for name, shade in INKS.items()}
    assert own == Ink(light["ink"], light["soft"], light["line"], light["faint"], light["card"])
    assert not own.is_dark
    assert own.of(FASTER) == FASTER.light


def test_on_a_dark_background_letters_are_light_and_colours_have_their_dark_form() -> None:
    with plt.style.context("dark_background"):
        figure, axes = plt.subplots()
        dark = ink(axes)
    plt.close(figure)
    assert (dark.text, dark.paper) == ("#ffffff", "#000000")
    assert dark.of(INKS["ink"]) == "#ffffff"
    assert dark.of(FASTER) == FASTER.dark
    assert contrast(dark.soft, dark.paper) > 4.5


def test_transparent_axes_have_the_background_of_their_figure() -> None:
    figure = Shown(facecolor="#203040")
    axes = figure.subplots()
    axes.set_facecolor("none")
    assert ink(axes).paper == "#203040"
    figure.set_facecolor("none")
    assert ink(axes).paper == "#ffffff"


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == contrast("#ffffff", "#777777") == pytest.approx(4.48, abs=0.01)
    assert luminance("#ff0000") == pytest.approx(0.2126)
    assert mixed("#000000", "#ffffff", 1 / 3) == "#555555"
