"""A report's folder: `index.html`, `figures/<name>.svg` and `.png`, `tables/<name>.csv`, `.md` and `.tex`."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from rnnbench.analysis.noise import Noise
from rnnbench.errors import UserError
from rnnbench.report import figures, html, tables
from rnnbench.report.runs.folder import picture_files, table_files
from rnnbench.store.folder import RunInfo


def write(summary: pd.DataFrame, noise: Noise, info: RunInfo, folder: Path) -> Path:
    """Write everything and give the path of `index.html`; raises UserError where `folder` can't be written."""
    return put(render(summary, noise, info), folder)


def render(summary: pd.DataFrame, noise: Noise, info: RunInfo) -> dict[str, bytes]:
    """Every file of the report by its path within the folder, the page last."""
    pictures = figures.render(summary, info.caches)
    all_tables = tables.render(summary, info)
    files: dict[str, bytes] = {}
    for picture in pictures.values():
        files |= picture_files(picture)
    for table in all_tables.values():
        files |= table_files(table)
    return files | {"index.html": html.render(summary, noise, info, pictures, all_tables).encode()}


def put(files: Mapping[str, bytes], folder: Path) -> Path:
    """Write files that `render` gave; as `write`."""
    try:
        for name, content in files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    except OSError as error:
        raise UserError(f"--out {folder}: can't be written: {error.strerror}") from None
    return folder / "index.html"
