"""A report's folder: `index.html`, `figures/<name>.svg` and `.png`, `tables/<name>.csv` and `.md`."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from rnnbench.analysis.noise import Noise
from rnnbench.report import csv, figures, files, html, markdown, tables
from rnnbench.report.figures import Picture
from rnnbench.report.sections import Content
from rnnbench.report.table import Table
from rnnbench.store.folder import RunInfo

PAGE = "index.html"


def render(summary: pd.DataFrame, noise: Noise, info: RunInfo, asked: tables.Asked | None = None) -> dict[str, bytes]:
    """Every file of the report by its path within the folder; `asked`: sizes to predict."""
    summary = summary.reset_index(drop=True)  # figures name a case by its row
    content = Content(summary, noise, info, figures.render(summary, info.caches), tables.render(summary, info, asked))
    return contents(content.pictures, content.tables) | {PAGE: html.render(content).encode()}


def contents(pictures: Mapping[str, Picture], all_tables: Mapping[str, Table]) -> dict[str, bytes]:
    """The files beside a page: each figure and each table in its formats."""
    found: dict[str, bytes] = {}
    for name, picture in pictures.items():
        found |= {f"figures/{name}.svg": picture.svg.encode(), f"figures/{name}.png": picture.png}
    for name, table in all_tables.items():
        found |= {
            f"tables/{name}.csv": csv.render(table).encode(),
            f"tables/{name}.md": markdown.render(table).encode(),
        }
    return found


def write(summary: pd.DataFrame, noise: Noise, info: RunInfo, folder: Path) -> Path:
    """Write everything and give the path of `index.html`; raises UserError where `folder` can't be written."""
    return put(render(summary, noise, info), folder)


def put(content: Mapping[str, bytes], folder: Path) -> Path:
    """Write files that `render` gave, the page last; as `write`."""
    files.write(folder, content)
    return folder / PAGE
