"""All figures of a report, in order. Figures that make no sense for a run are left out."""

import math
from collections.abc import Callable, Container
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from rnnbench.report.figures import (
    figure_latency,
    figure_parameters,
    figure_ratio,
    figure_ratio_by_size,
    figure_regions,
    figure_roofline,
    figure_scaling,
)
from rnnbench.report.figures.drawing import canvas
from rnnbench.report.words.reference import words

FIGURES: tuple[tuple[str, Callable[..., Figure | None], str, str], ...] = (
    (
        "ratio",
        figure_ratio.render,
        "How far each cell is from {reference}",
        "Each mark is one workload. The line over it is its 95% interval; one that reaches the edge continues beyond "
        "it. The colour is the size that explains most of the differences within the rows. The dashed line is "
        "{reference}: marks to its right are slower. The grey band is the noise floor, how far a case differs from "
        "itself. A bar is the median of three or more workloads. If there are very many workloads, a box shows the "
        "middle half of those of one size and a line their whole range.",
    ),
    (
        "ratio_by_size",
        figure_ratio_by_size.render,
        "Ratio to {reference} by cell and size",
        "Each number is the time divided by that of {reference}: 2.0 takes twice as long, below 1 is faster. A "
        "number in brackets is undecided: its 95% interval includes 1, or is too wide. Cells without any "
        "measurement are left out here; the tables list them.",
    ),
    (
        "latency",
        figure_latency.render,
        "How long a step of a stream takes",
        "Each row is one case. Half of its steps take at most p50, the mark; the line gets thinner beyond p95 and "
        "p99. The number is the highest of these quantiles that is known; the black line is its 95% interval, which "
        "continues beyond the edge if it reaches it. Steps to the right of a dashed line take longer than the period.",
    ),
    (
        "scaling",
        figure_scaling.render,
        "How the ratio to {reference} grows with batch, length and hidden size",
        "All panels have the same scale; without a reference it is the time per call. Each panel varies one size. "
        "Small marks and solid lines: the other sizes are at their smallest. Large marks and dotted lines: they are at "
        "their largest. Dotted: two points, too few for a trend. Filled marks are a cell's plainest "
        "implementation, hollow marks its fastest; if these are more than eight, only the fastest are drawn. "
        "Whiskers are 95% intervals. If enough sizes were measured, lines are fits and bands are the 95% intervals of "
        "predictions; the grey background lies beyond the measured sizes.",
    ),
    (
        "regions",
        figure_regions.render,
        "What binds each cell, by batch and hidden size",
        "The colour shows what takes most of the fitted time. The frame encloses the measured sizes; the numbers "
        "at its corners are fitted ratios to {reference}, and pale parts outside it are predicted. Along a black "
        "line a cell takes as long as {reference}; without such a line, the two do not cross.",
    ),
    (
        "parameters",
        figure_parameters.render,
        "Time and peak memory against parameters",
        "Both axes are logarithmic. Small marks are at the smallest batch and length at which most cells were "
        "measured, large marks at the largest. Filled marks are a cell's plainest implementation, hollow marks its "
        "fastest; if these are more than ten, only the fastest are drawn. Black is torch.nn. Dotted: two points, "
        "too few for a trend.",
    ),
    (
        "roofline",
        figure_roofline.render,
        "How near the limit of the machine",
        "Each mark is one case; black is torch.nn. The line above is the best rate of this machine: memory "
        "limits it on the left, arithmetic on the right. The distance below the line is how many times slower a "
        "case is than the machine could be; the faint lines are 10, 100 and more times below it. The line does "
        "not account for steps that wait for one another; the limit in the table does.",
    ),
)


@dataclass(frozen=True)
class Picture:
    """A figure drawn as SVG and as PNG, with its title and caption."""

    name: str  # of its files, without the extension
    title: str
    caption: str
    svg: str
    png: bytes


def render(
    summary: pd.DataFrame, label: str = "", only: Container[str] | None = None, noise_floor: float = math.nan
) -> dict[str, Picture]:
    """Draw all figures, or only those named in `only`, by name.

    `label` is written above each if it is not empty. `noise_floor`: that of `rnnbench.analysis.runs.noise`, if known.
    """
    pictures, name_of = {}, words(summary).name
    more: dict[str, dict[str, float]] = {"ratio": {"noise_floor": noise_floor}}
    for name, draw, title, caption in FIGURES:
        figure = draw(summary, **more.get(name, {})) if only is None or name in only else None
        if figure is not None:
            if label:
                figure.suptitle(label, fontsize=9)
            pictures[name] = picture(name, title.format(reference=name_of), caption.format(reference=name_of), figure)
    return pictures


def picture(name: str, title: str, caption: str, figure: Figure) -> Picture:
    """Draw a figure in both formats. This fixes its layout."""
    canvas.settle(figure)
    return Picture(name, title, caption, canvas.svg(figure, name), canvas.png(figure))
