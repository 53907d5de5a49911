"""The columns of exported frames: those of `rnnbench.load`, so that `rnnbench.summarize` takes what was read back."""

import pandas as pd

from rnnbench.report.export.exported import ExportedRun
from rnnbench.store.frames.categories import with_categories
from rnnbench.store.metrics import OBSERVED
from rnnbench.store.value_kinds import MAX_INTEGER

WHOLE = ("warmup_windows", *(metric.name for metric in OBSERVED if metric.unit in ("count", "bytes")))


def exported_frame(run: ExportedRun) -> pd.DataFrame:
    """The windows of a run if they are asked for, else its cases; counts are whole numbers, also with some missing."""
    frame = with_categories(run.summary if run.windows is None else run.windows)
    counts = [name for name in WHOLE if name in frame and _are_whole(frame[name].dropna())]
    return frame.astype(dict.fromkeys(counts, "Int64"))


def _are_whole(values: "pd.Series[float]") -> bool:
    """Whether a column of whole numbers can hold all values."""
    return bool(((values % 1 == 0) & (values.abs() < MAX_INTEGER)).all())
