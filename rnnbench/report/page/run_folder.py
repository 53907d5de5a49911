"""A report's folder: `index.html`, `figures/<name>.svg` and `.png`, `tables/<name>.csv`, `.md` and `.tex`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from rnnbench.analysis.noise import Noise
from rnnbench.report.figures import all_figures
from rnnbench.report.page import cell_pages
from rnnbench.report.page.files import write
from rnnbench.report.page.page import PAGE, files
from rnnbench.report.page.place import ReportFolder
from rnnbench.report.page.profiled import ProfiledCell
from rnnbench.report.page.run_page import run_page
from rnnbench.report.page.sections import MAX_SHOWN, Content
from rnnbench.report.tables import all_tables
from rnnbench.report.words.axes import flushed
from rnnbench.store.run_info import RunInfo


def render(
    summary: pd.DataFrame,
    noise: Noise,
    info: RunInfo,
    asked: all_tables.Asked | None = None,
    profiled: Sequence[ProfiledCell] = (),
) -> dict[str, bytes]:
    """Every file of the report by its path within the folder; `asked`: sizes to predict."""
    summary = summary.reset_index(drop=True)  # figures name a case by its row
    waterfalls = {picture.name: picture for section in profiled[:MAX_SHOWN] for picture in section.pictures[:1]}
    pages = cell_pages.render(summary, profiled, flushed(summary))
    content = Content(
        summary,
        noise,
        info,
        all_figures.render(summary, flushed(summary), noise_floor=noise.floor) | waterfalls,
        all_tables.render(summary, info, asked),
        profiled,
        {page.cell: page.path for page in pages},
    )
    contents = files(run_page(content))
    for page in pages:
        contents |= page.contents
    return contents


def put(content: Mapping[str, bytes], place: ReportFolder) -> Path:
    """Write the files that `render` returned, and return the path of `index.html`; raises UserError if that fails."""
    place.mark()
    write(place.folder, content)
    return place.folder / PAGE
