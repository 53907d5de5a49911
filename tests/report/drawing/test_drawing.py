"""Colours that follow the background, files that are always the same bytes, ticks and names that have room."""

import matplotlib.pyplot as plt
import pandas as pd

from rnnbench.report.colors import FASTER, INKS
from rnnbench.report.drawing.draw import among, short
from rnnbench.report.drawing.sheet import ink, mixed, png, svg
from rnnbench.report.ratios import ratio
from tests.doubles.contrast import contrast


def test_on_a_dark_background_letters_are_light_and_colours_have_their_dark_form() -> None:
    with plt.style.context("dark_background"):
        figure, axes = plt.subplots()
        dark = ink(axes)
    plt.close(figure)
    assert (dark.text, dark.paper, dark.of(INKS["ink"])) == ("#ffffff", "#000000", "#ffffff")
    assert dark.of(FASTER) == FASTER.dark
    assert contrast(dark.soft, dark.paper) > 4.5
    assert mixed("#000000", "#ffffff", 1 / 3) == "#555555"


def test_drawing_twice_gives_the_same_bytes_which_need_no_font_and_no_other_file(quick: pd.DataFrame) -> None:
    first, second = (ratio(quick[quick["phase"] == "training"]) for _ in range(2))
    assert first is not None
    assert second is not None
    text = svg(first, "twice")
    assert text == svg(second, "twice")
    assert png(first) == png(second)
    assert not [part for part in ("<text", "<image", 'href="http') if part in text]


def test_numbers_below_an_axis_keep_both_ends_and_do_not_touch() -> None:
    assert among([1, 32], 1, 32, 10) == [1, 32]
    assert among([8], 7, 9, 10) == [8]
    kept = among([1, 2, 4, 8, 16, 32, 64, 100, 128, 256, 512, 1000], 1, 1000, 10)
    assert (kept[0], kept[-1]) == (1, 1000)
    assert not {100, 512} & set(kept)


def test_a_long_name_keeps_both_ends() -> None:
    assert short("lstm loop") == "lstm loop"
    assert short(f"package.{'x' * 200}.cells:MyLSTM loop", 30) == "package.xx…x.cells:MyLSTM loop"
