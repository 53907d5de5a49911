"""The metrics of a run's cases: which are known, and why others are not. Works for any metric and names none."""

from collections.abc import Iterable

import pandas as pd

from rnnbench.report.words.axes import one_line
from rnnbench.store import metrics
from rnnbench.store.frames import missing_reasons
from rnnbench.store.metrics import Metric

TEXTS = ("backend", "bound_by")


def with_metrics(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the summary with every metric as numbers: in an older run, missing ones are NaN, missing texts empty."""
    frame = summary.copy()
    for metric in metrics.METRICS:
        values = frame[metric.name] if metric.name in frame else pd.Series(float("nan"), index=frame.index)
        frame[metric.name] = pd.to_numeric(values, errors="coerce").astype(float)
    for column in (*TEXTS, "missing"):
        texts = frame[column] if column in frame else pd.Series("", index=frame.index)
        frame[column] = [value if isinstance(value, str) else "" for value in texts]
    return frame


def known(frame: pd.DataFrame, among: Iterable[Metric]) -> list[Metric]:
    """Return the metrics of which at least one case has a value; `frame` comes from `with_metrics`."""
    return [metric for metric in among if frame[metric.name].notna().any()]


def not_known(frame: pd.DataFrame) -> str:
    """Say which metrics no measured case has, and why, if a reason was recorded."""
    measured = frame[frame["status"] == "measured"]
    labels: dict[str, dict[str, None]] = {}
    for reasons in map(missing_reasons, measured["missing"].unique()):
        for metric in metrics.METRICS:
            if metric.name in reasons and measured[metric.name].isna().all():
                labels.setdefault(one_line(reasons[metric.name]), {})[metric.label] = None
    parts = [f"{', '.join(names)} ({reason})" for reason, names in labels.items()]
    return f"Not known: {'; '.join(parts)}." if parts else ""
