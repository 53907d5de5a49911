"""A report's folder: `index.html`, `figures/<name>.svg` and `.png`, `tables/<name>.csv` and `.md`."""

from pathlib import Path

import pandas as pd

from rnnbench.analysis.noise import Noise
from rnnbench.errors import UserError
from rnnbench.report import csv, figures, html, markdown, tables
from rnnbench.store.folder import RunInfo


def write(summary: pd.DataFrame, noise: Noise, info: RunInfo, folder: Path) -> Path:
    """Write everything and give the path of `index.html`; raises UserError where `folder` can't be written."""
    pictures = figures.render(summary, info.caches)
    all_tables = tables.render(summary, info)
    files: dict[str, bytes] = {}
    for name, picture in pictures.items():
        files |= {f"figures/{name}.svg": picture.svg.encode(), f"figures/{name}.png": picture.png}
    for name, table in all_tables.items():
        files |= {
            f"tables/{name}.csv": csv.render(table).encode(),
            f"tables/{name}.md": markdown.render(table).encode(),
        }
    files["index.html"] = html.render(summary, noise, info, pictures, all_tables).encode()
    try:
        for name, content in files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    except OSError as error:
        raise UserError(f"--out {folder}: can't be written: {error.strerror}; give another folder") from None
    return folder / "index.html"
