"""The figures that the page of a run shows, with their titles and captions."""

import math
from collections.abc import Callable

import pandas as pd
from matplotlib.figure import Figure

from rnnbench.report import ratios
from rnnbench.report.drawing.sheet import Picture, picture
from rnnbench.report.growth import growth
from rnnbench.report.latency import latency
from rnnbench.report.words.ratios import words

FIGURES: tuple[tuple[str, Callable[..., Figure | None], str, str], ...] = (
    (
        "ratio",
        ratios.ratio,
        "How far each cell is from {reference}",
        "Each mark is one workload, with its 95% interval; an interval that reaches the edge continues beyond it. The "
        "colour is the size that explains most of the differences within the rows. The dashed line is {reference}: "
        "marks to its right are slower. A bar is the median, which stands first on the right. The grey band is the "
        "noise floor, how far a case differs from itself.",
    ),
    (
        "ratio_by_size",
        ratios.ratio_by_size,
        "Ratio to {reference} by cell and size",
        "Each number is the time divided by that of {reference}: 2.0 takes twice as long, below 1 is faster. A number "
        "in brackets is undecided: its 95% interval includes 1, or is too wide. Hatched: not measured. Cells without "
        "any measurement are left out here.",
    ),
    (
        "latency",
        latency,
        "How long a step of a stream takes",
        "Half of the steps of a case take at most p50, the mark. The line goes to the highest quantile that is known: "
        "99.9% of the steps take at most p99.9.",
    ),
    (
        "scaling",
        lambda summary: growth(summary, least=3),
        "How the ratio to {reference} grows with batch, length and hidden size",
        "Only what was measured is drawn, with 95% intervals; without a reference it is the time per call. The other "
        "sizes are held at those below each panel. Filled marks are a cell's plainest implementation, hollow marks its "
        "fastest; of many cells only the fastest are drawn.",
    ),
)


def render(summary: pd.DataFrame, label: str = "", noise_floor: float = math.nan) -> dict[str, Picture]:
    """Draw all figures that have something to show, by name.

    `label` is written above each if it is not empty. `noise_floor`: that of `rnnbench.analysis.summary`, if known.
    """
    pictures, name_of = {}, words(summary).name
    for name, draw, title, caption in FIGURES:
        figure = draw(summary, noise_floor=noise_floor) if name == "ratio" else draw(summary)
        if figure is not None:
            if label:
                figure.suptitle(label, fontsize=9)
            pictures[name] = picture(name, title.format(reference=name_of), caption.format(reference=name_of), figure)
    return pictures
