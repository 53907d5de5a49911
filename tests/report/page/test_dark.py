"""Every colour of every figure of a page is one of the page's own, which are others in the dark."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from rnnbench.analysis.stored import together
from rnnbench.profiling.gap import take_apart
from rnnbench.report import history, ratios, why
from rnnbench.report.colors import ON_AREAS, variables
from rnnbench.report.drawing import sheet
from rnnbench.report.page import run as figures
from rnnbench.report.page.inline import inline
from rnnbench.report.together import draw as draw_together
from rnnbench.report.words.names import names
from rnnbench.store.profiles import CATEGORIES, Kernels, Profile
from rnnbench.suite import suites
from tests.doubles import streams
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


@pytest.mark.parametrize("name", ALL)
def test_in_light_and_dark_pages_every_colour_is_theirs(name: str, folder: Path) -> None:
    figure = drawn(name, folder)
    page = inline(sheet.svg(figure, name), name, "label", dict.fromkeys(range(5_000), ""))
    left = set(re.findall(r"#[0-9a-f]{6}\b", page))
    assert left <= SAME_IN_BOTH, f"{left - SAME_IN_BOTH} are the same in light and dark"
    assert "var(--" in page
