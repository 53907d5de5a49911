"""What a format may write of a run."""

from dataclasses import dataclass

import pandas as pd

from rnnbench.analysis.runs.run_times import RunTimes
from rnnbench.store.run_info import RunInfo


@dataclass(frozen=True)
class ExportedRun:
    """A run and its summary."""

    info: RunInfo
    times: RunTimes
    summary: pd.DataFrame  # `rnnbench.analysis.runs.summary.summarize(times)`
    windows: pd.DataFrame | None = None  # if they are written instead of the cases
