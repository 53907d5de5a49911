"""Table: what each call costs beside its time: every metric of the run, and what sets its limit."""

from typing import Any

import pandas as pd

from rnnbench.report.tables.table import Column, Table, of, table, where_new
from rnnbench.report.words.axes import SETTINGS, SIZES, one_line, several, word
from rnnbench.report.words.metrics import TEXTS, known, not_known, of_calls, with_metrics
from rnnbench.report.words.series import by_workload
from rnnbench.report.words.units import quantity
from rnnbench.store import metrics
from rnnbench.store.frames import missing_reasons
from rnnbench.store.metrics import Metric
from rnnbench.store.records import AXES


def render(summary: pd.DataFrame) -> Table:
    """One row per case, by workload, with the reference first. Metrics that no case has are left out."""
    frame = with_metrics(by_workload(summary))
    axes = ["phase", *several(summary, (*SETTINGS, *SIZES))]
    columns = [
        Column("cell", of("series")),
        *(Column(word(axis), of(axis, one_line), numeric=axis in SIZES) for axis in axes),
        *(_column(metric) for metric in known(frame, of_calls())),
        Column("backend", of("backend", one_line)),
        Column("limit set by, or why not measured", _bound),
    ]
    machine = frame.assign(
        missing=["; ".join(f"{name}: {why}" for name, why in missing_reasons(text).items()) for text in frame.missing]
    )
    return table(
        "costs",
        "What each call costs",
        not_known(frame, of_calls()),
        columns,
        frame,
        machine=machine[["case", *AXES, "status", "reason", *(m.name for m in metrics.METRICS), *TEXTS, "missing"]],
        breaks=where_new(frame["group"]),
    )


def _column(metric: Metric) -> Column:
    return Column(metric.label, of(metric.name, lambda value: quantity(value, metric.unit)), numeric=True)


def _bound(row: dict[str, Any]) -> str:
    return row["bound_by"] if row["status"] == "measured" else one_line(f"{row['status']}: {row['reason']}")
