"""A report's folder: `index.html`, `figures/<name>.svg` and `.png`, `tables/<name>.csv` and `.md`."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from rnnbench.analysis.noise import Noise
from rnnbench.errors import UserError
from rnnbench.report import csv, figures, html, markdown, tables
from rnnbench.report.sections import Content
from rnnbench.store.folder import RunInfo

PAGE = "index.html"


def render(summary: pd.DataFrame, noise: Noise, info: RunInfo) -> dict[str, bytes]:
    """Every file of the report by its path within the folder."""
    summary = summary.reset_index(drop=True)  # figures name a case by its row
    content = Content(summary, noise, info, figures.render(summary, info.caches), tables.render(summary, info))
    files: dict[str, bytes] = {}
    for name, picture in content.pictures.items():
        files |= {f"figures/{name}.svg": picture.svg.encode(), f"figures/{name}.png": picture.png}
    for name, table in content.tables.items():
        files |= {
            f"tables/{name}.csv": csv.render(table).encode(),
            f"tables/{name}.md": markdown.render(table).encode(),
        }
    return files | {PAGE: html.render(content).encode()}


def write(summary: pd.DataFrame, noise: Noise, info: RunInfo, folder: Path) -> Path:
    """Write everything and give the path of `index.html`; raises UserError where `folder` can't be written."""
    return put(render(summary, noise, info), folder)


def put(files: Mapping[str, bytes], folder: Path) -> Path:
    """Write files that `render` gave, the page last; as `write`."""
    try:
        for name, content in files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    except OSError as error:
        raise UserError(f"--out {folder}: can't be written: {error.strerror}") from None
    return folder / PAGE
