"""Reports written for tests."""

from pathlib import Path

import pandas as pd

from rnnbench.analysis.runs.noise import Noise
from rnnbench.report.page.place import ReportFolder
from rnnbench.report.page.run_folder import put, render
from rnnbench.report.page.section import Section
from rnnbench.report.tables.formats import as_markdown
from rnnbench.store.run_info import RunInfo


def written(summary: pd.DataFrame, noise: Noise, info: RunInfo, folder: Path) -> Path:
    """Write a report to a folder and return the path of its page."""
    return put(render(summary, noise, info), ReportFolder(folder, "test"))


def shown(section: Section) -> str:
    """What a section says, without its figures: paragraphs, warnings and tables as Markdown."""
    tables = [as_markdown.render(table) for table in section.tables]
    pictures = [f"figure {picture.name}: {picture.caption}" for picture in section.pictures]
    return "\n\n".join([*section.paragraphs, *section.warnings, *pictures, *tables])
