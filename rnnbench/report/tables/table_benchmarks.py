"""Table: each benchmark with its time, the spread of its rounds, and its ratio to the reference of its group."""

from typing import Any

import pandas as pd

from rnnbench.report.table import Column, Table, of, table, where_new
from rnnbench.report.words.benchmark_names import by_group, note, reference
from rnnbench.report.words.names import one_line
from rnnbench.report.words.units import count, duration, duration_interval, ratio, ratio_interval
from rnnbench.store.pytest_benchmark import BenchmarkFiles

UNITS = {
    "seconds": "seconds_per_call",
    "seconds_low": "seconds_per_call_low",
    "seconds_high": "seconds_per_call_high",
    "mean_seconds": "mean_seconds_per_call",
    "rounds_low_seconds": "lower_quartile_of_rounds_seconds",
    "rounds_high_seconds": "upper_quartile_of_rounds_seconds",
}


def render(summary: pd.DataFrame, saved: BenchmarkFiles) -> Table:
    """One row per benchmark, group by group."""
    frame = by_group(summary)
    several = frame["group"].nunique() > 1
    columns = [
        Column("benchmark", of("name", one_line)),
        *([Column("group", of("group", one_line))] if several else []),
        Column("time", of("seconds", duration), numeric=True),
        Column("95% interval", lambda row: duration_interval(row["seconds_low"], row["seconds_high"]), numeric=True),
        *([] if saved.is_exported else [Column("quartiles of its rounds", _quartiles, numeric=True)]),
        Column("mean", of("mean_seconds", duration), numeric=True),
        *_ratios(frame),
        Column("replicates" if saved.is_exported else "processes", of("processes", count), numeric=True),
        *([] if saved.is_exported else [Column("rounds", of("rounds", count), numeric=True)]),
    ]
    return table(
        "benchmarks",
        "Time per call, benchmark by benchmark",
        note(saved),
        columns,
        frame,
        machine=frame.rename(columns=UNITS),
        breaks=where_new(frame["group"])[1:],
    )


def _quartiles(row: dict[str, float]) -> str:
    return duration_interval(row["rounds_low_seconds"], row["rounds_high_seconds"])


def _ratios(frame: pd.DataFrame) -> list[Column]:
    """The columns of ratios; empty if there are no ratios."""
    to = reference(frame)
    if not to:
        return []
    return [
        Column(f"ratio to {to}", lambda row: "reference" if row["is_reference"] else ratio(row["ratio"]), numeric=True),
        Column("95% interval", _ratio_interval, numeric=True),
    ]


def _ratio_interval(row: dict[str, Any]) -> str:
    return "" if row["is_reference"] else ratio_interval(row["ratio_low"], row["ratio_high"])
