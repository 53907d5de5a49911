"""All figures of a report, in order. Figures that make no sense for a run are left out."""

from collections.abc import Container
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from rnnbench.report.figures import (
    canvas,
    figure_ratio,
    figure_ratio_by_size,
    figure_regions,
    figure_roofline,
    figure_scaling,
)
from rnnbench.report.words.reference import words

FIGURES = (
    (
        "ratio",
        figure_ratio.render,
        "How far each cell is from {reference}",
        "Each mark is one workload, with its 95% interval, which goes on where it meets the edge; of very many, boxes "
        "and lines show where half and all of them lie. A bar is the median of three or more. The dashed line is "
        "{reference}: right of it is slower. What is not filled is another implementation of the same cell.",
    ),
    (
        "ratio_by_size",
        figure_ratio_by_size.render,
        "Ratio to {reference} by cell and size",
        "The number is the time over that of {reference}: 2.0 takes twice as long, below 1 is faster. In brackets: the "
        "95% interval holds 1, so no difference is shown. Cells that were measured nowhere are left out here; the "
        "tables have them.",
    ),
    (
        "scaling",
        figure_scaling.render,
        "Time per call by batch, length and hidden size",
        "Both axes are logarithmic: equal distances between lines are equal ratios. Each panel moves one size and "
        "holds the others at the values in its title; whiskers are 95% intervals. Where enough sizes were measured, "
        "lines are fits and bands the 95% intervals of what they predict: on grey, beyond the measured sizes.",
    ),
    (
        "regions",
        figure_regions.render,
        "What binds each cell, by batch and hidden size",
        "The colour is what takes most of the fitted time. Numbers are fitted ratios to {reference} at the corners of "
        "the measured sizes, which the frame holds; pale parts outside it are predicted. Along a black line a cell "
        "takes as long as {reference}; where there is none, they do not cross.",
    ),
    (
        "roofline",
        figure_roofline.render,
        "How near the limit of the machine",
        "Each mark is one case; black is torch.nn. The line above is the most that this machine did: on the left the "
        "bytes that must be moved hold it back, on the right the arithmetic. Height below the roof is how many times "
        "slower a case is than the machine could be; the faint lines stand 10, 100 and more times below. The roof "
        "knows nothing of steps that wait for one another; the limit in the table does.",
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


def render(summary: pd.DataFrame, label: str = "", only: Container[str] | None = None) -> dict[str, Picture]:
    """Draw all figures, or only those named in `only`, by name. `label` is written above each if it is not empty."""
    pictures, name_of = {}, words(summary).name
    for name, draw, title, caption in FIGURES:
        figure = draw(summary) if only is None or name in only else None
        if figure is not None:
            if label:
                figure.suptitle(label, fontsize=9)
            pictures[name] = picture(name, title.format(reference=name_of), caption.format(reference=name_of), figure)
    return pictures


def picture(name: str, title: str, caption: str, figure: Figure) -> Picture:
    """Draw a figure in both formats. This fixes its layout."""
    canvas.settle(figure)
    return Picture(name, title, caption, canvas.svg(figure, name), canvas.png(figure))
