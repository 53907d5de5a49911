"""Every colour of every figure of a page, as it is in light and in dark, and the contrast of every letter."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.artist import Artist
from matplotlib.collections import Collection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.text import Text

from rnnbench.analysis.stored import together
from rnnbench.profiling.gap import take_apart
from rnnbench.report import figures, history, ratios, why
from rnnbench.report.colors import INKS, ON_AREAS, variables
from rnnbench.report.drawing import sheet
from rnnbench.report.drawing.sheet import mixed
from rnnbench.report.page.inline import inline
from rnnbench.report.together import draw as draw_together
from rnnbench.report.words.names import names
from rnnbench.store.profiles import CATEGORIES, Kernels, Profile
from rnnbench.suite import suites
from tests.doubles import streams
from tests.doubles.contrast import contrast
from tests.profiling.profiles import cause, profile
from tests.report.conftest import summary_of
from tests.report.test_together import CASES, run
from tests.validation.history_simulated import simulated

Color = tuple[float, float, float]
MICRO = 1e-6
LETTERS = 4.5  # contrast that WCAG 2.2 asks of letters
SAME_IN_BOTH = {ON_AREAS, *(to_hex(ratios.SCALE(place)) for place in np.linspace(0, 1, 256))}
DARK = {shade.light: shade.dark for shade in variables().values()}


def waterfall() -> Figure:
    rungs = {name: {n: size * (1 + n / 1000) for n in range(3)} for name, size in (("loop", 1e-4), ("hoisted", 7e-5))}
    gap = take_apart(rungs, {n: 2e-5 * (1 + n / 1000) for n in range(3)}, (cause("copy", -3 * MICRO),))
    gap.axes["cell"] = "gru"
    return why.waterfall(gap, "gru loop", "torch.nn.GRU")


def profiles() -> dict[str, Profile]:
    every = Profile(**{**profile(3e-4).__dict__, "kernels": Kernels(6, dict.fromkeys(CATEGORIES, 4e-5))})
    return {"gru loop": profile(backward=40 * MICRO), "all": every, "compiled": profile(opaque="compiled"),
            "torch.nn.GRU": profile(20 * MICRO, 8 * MICRO, 4 * MICRO)}  # fmt: skip


def over_runs() -> Figure | None:
    true = np.zeros((8, 12))
    true[3, 6:] += 0.1
    true[5, 4:] -= 0.08
    found = simulated(np.random.default_rng(5), true)
    return history.draw(found, names([line.case for line in found.lines]))


OTHERS: dict[str, Callable[[], Figure | None]] = {
    "waterfall": waterfall,
    "breakdown": lambda: why.breakdowns(profiles()),
    "history": over_runs,
    "together": lambda: draw_together(together([run(0), run(1, 0.1), run(2)], 0.025), ["a", "b", "c"]),
}
OF_RUNS = tuple(name for name, *_ in figures.FIGURES)
assert CASES


def few(name: str) -> pd.DataFrame:
    """All implementations of all cells in training, or LSTMs at three sizes of each axis."""
    along_sizes = name == "scaling"
    rows = summary_of(suites.read("cpu" if along_sizes else "ladder").groups({}, None, most=20_000))
    return rows.query("reference == 'lstm' and threads == 1" if along_sizes else "phase == 'training'")


@cache
def drawn(name: str, folder: Path) -> Figure:
    """One of the figures that pages show."""
    if name in OTHERS:
        figure = OTHERS[name]()
    else:
        draw = next(draw for other, draw, *_ in figures.FIGURES if other == name)
        figure = draw(streams.summary(folder) if name == "latency" else few(name))
    assert figure is not None
    sheet.settle(figure)
    with sheet.report_style():
        figure.draw_without_rendering()  # which moves the labels of axes to where they are drawn
    return figure


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("figures")


ALL = (*OF_RUNS, *OTHERS)


@dataclass(frozen=True)
class Area:
    """Something that has a fill."""

    path: Any  # on paper
    color: np.ndarray  # with its opacity
    within: Any  # the box beyond which it is not seen

    def covers(self, point: tuple[float, float]) -> bool:
        return bool(self.color[3] > 0 and self.within.contains(*point) and self.path.contains_point(point))


def areas(figure: Figure) -> list[Area]:
    """All that has a fill, the lowest first."""
    found: list[Area] = []
    for axes in figure.axes:
        drawn_on = sorted((part for part in axes.get_children() if part is not axes.patch), key=Artist.get_zorder)
        for part in [axes.patch, *drawn_on]:
            if not part.get_visible() or isinstance(part, Text):
                continue
            if isinstance(part, Patch) and part.get_fill():
                path = part.get_transform().transform_path(part.get_path())
                found.append(Area(path, np.array(part.get_facecolor()), axes.bbox))
            elif isinstance(part, Collection):
                colors = np.asarray(part.get_facecolor())
                paths = [part.get_transform().transform_path(path) for path in part.get_paths()]
                found += [Area(path, colors[n % len(colors)], axes.bbox) for n, path in enumerate(paths) if len(colors)]
    return found


def in_mode(color: str, *, is_dark: bool) -> Color:
    return to_rgb(DARK.get(color, color) if is_dark else color)


def behind(text: Text, filled: list[Area], *, is_dark: bool) -> str:
    """The colour behind the middle of a text."""
    box = text.get_window_extent()
    middle = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
    color = to_hex(in_mode(INKS["card"].light, is_dark=is_dark))
    for area in filled:
        if area.covers(middle):
            red, green, blue, opacity = map(float, area.color)
            color = mixed(color, to_hex(in_mode(to_hex((red, green, blue)), is_dark=is_dark)), opacity)
    return color


@pytest.mark.parametrize("name", ALL)
def test_in_light_and_dark_pages_every_colour_is_theirs_and_every_letter_stands_out(name: str, folder: Path) -> None:
    figure = drawn(name, folder)
    filled = areas(figure)
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    assert texts
    for is_dark in (False, True):
        measured = {
            f"{text.get_text()!r} in {text.get_color()}": contrast(
                to_hex(in_mode(to_hex(text.get_color()), is_dark=is_dark)), behind(text, filled, is_dark=is_dark)
            )
            for text in texts
        }
        worst = min(measured, key=measured.__getitem__)
        assert measured[worst] >= LETTERS, (worst, is_dark)
    page = inline(sheet.svg(figure, name), name, "label", dict.fromkeys(range(5_000), ""))
    left = set(re.findall(r"#[0-9a-f]{6}\b", page))
    assert left <= SAME_IN_BOTH, f"{left - SAME_IN_BOTH} are the same in light and dark"
    assert "var(--" in page


def test_the_measure_sees_what_lies_behind_a_letter(folder: Path) -> None:
    figure = drawn("breakdown", folder)
    filled = areas(figure)
    on_bar = next(text for text in figure.axes[0].texts if text.get_text().endswith("%"))
    assert behind(on_bar, filled, is_dark=False) in {shade.light for shade in variables().values()} - {"#ffffff"}
    assert behind(on_bar, filled, is_dark=True) in {shade.dark for shade in variables().values()}
