"""Reports written for tests."""

from pathlib import Path

import pandas as pd

from rnnbench.analysis.runs.noise import Noise
from rnnbench.report.page.place import ReportFolder
from rnnbench.report.page.run_folder import put, render
from rnnbench.store.run_info import RunInfo


def written(summary: pd.DataFrame, noise: Noise, info: RunInfo, folder: Path) -> Path:
    """Write a report to a folder and return the path of its page."""
    return put(render(summary, noise, info), ReportFolder(folder, "test"))
