"""A report's folder: `index.html`, `figures/<name>.svg` and `.png`, `tables/<name>.csv`, `.md` and `.tex`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from rnnbench.analysis.runs.noise import Noise
from rnnbench.report.drawing.sheet import Picture, picture
from rnnbench.report.figures import all_figures, runs
from rnnbench.report.page import cell_pages
from rnnbench.report.page.files import write
from rnnbench.report.page.page import PAGE, files
from rnnbench.report.page.place import ReportFolder
from rnnbench.report.page.run_page import run_page
from rnnbench.report.page.sections import MAX_SHOWN, REPLICATES, Content
from rnnbench.report.tables import all_tables
from rnnbench.report.why import ProfiledCell
from rnnbench.report.words.axes import flushed
from rnnbench.store.run_info import RunInfo

IN_ORDER = (
    "A slope or a step on the left is a drift of the machine. Ratios are taken within each replicate, so a drift "
    "cancels in them; what is left of it is on the right. Zero is each case's own median. Points beyond the edge are "
    "drawn on it."
)


def render(
    summary: pd.DataFrame,
    noise: Noise,
    info: RunInfo,
    asked: all_tables.Asked | None = None,
    profiled: Sequence[ProfiledCell] = (),
    replicates: pd.DataFrame | None = None,
) -> dict[str, bytes]:
    """Every file of the report by its path within the folder.

    `asked`: sizes to predict; `replicates`: each replicate in its order, from `rnnbench.analysis.runs.drift.of_run`.
    """
    summary = summary.reset_index(drop=True)  # figures name a case by its row
    waterfalls = {picture.name: picture for section in profiled[:MAX_SHOWN] for picture in section.pictures[:1]}
    pages = cell_pages.render(summary, profiled, flushed(summary), noise.floor)
    content = Content(
        summary,
        noise,
        info,
        all_figures.render(summary, flushed(summary), noise_floor=noise.floor) | waterfalls | _in_order(replicates),
        all_tables.render(summary, info, asked),
        profiled,
        {page.cell: page.path for page in pages},
    )
    contents = files(run_page(content))
    for page in pages:
        contents |= page.contents
    return contents


def _in_order(replicates: pd.DataFrame | None) -> dict[str, Picture]:
    """The figure of the replicates in their order, by its name; empty if there are no two."""
    figure = None if replicates is None else runs.replicates(replicates, at="replicate, in the order of measuring")
    if figure is None:
        return {}
    return {REPLICATES: picture(REPLICATES, "Every replicate in the order of measuring", IN_ORDER, figure)}


def put(content: Mapping[str, bytes], place: ReportFolder) -> Path:
    """Write the files that `render` returned, and return the path of `index.html`; raises UserError if that fails."""
    place.mark()
    write(place.folder, content)
    return place.folder / PAGE
