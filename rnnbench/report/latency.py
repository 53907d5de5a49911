"""How long a step of a stream takes: quantiles of its latency, and the share of late steps."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from rnnbench.analysis.runs.latency import LATE, MIN_REPLICATES, QUANTILES, measured_streams, quantile_name
from rnnbench.report.page.section import Section
from rnnbench.report.table import Column, Table, of, table, where_new
from rnnbench.report.words.names import SETTINGS, SIZES, by_workload, one_line, several, word
from rnnbench.report.words.units import MISSING, duration, duration_interval, percent_digits

if TYPE_CHECKING:
    from rnnbench.report.drawing.sheet import Picture


def section(summary: pd.DataFrame, pictures: "Mapping[str, Picture]") -> Section | None:
    """Return the section of streams, or None if none was measured."""
    listed = table_of_latency(summary)
    drawn = [pictures["latency"]] if "latency" in pictures else []
    return None if listed is None else Section("latency", "Latency of a step", [*drawn, listed])


def table_of_latency(summary: pd.DataFrame) -> Table | None:
    """Return a table with one row for each measured stream, or None if there is none."""
    rows = measured_streams(summary)
    if rows.empty:
        return None
    axes = several(rows, (*SETTINGS, *SIZES))
    rows = by_workload(rows)
    periods = rows["period_seconds"].dropna().unique()
    columns = [
        Column("cell", of("series")),
        *(Column(word(axis), of(axis, one_line), numeric=axis in SIZES) for axis in axes),
        *(Column(quantile_name(name), of(_ends(name), _with_interval), numeric=True) for name in QUANTILES),
    ]
    if len(periods):
        columns.append(
            Column(f"later than {' or '.join(map(duration, periods))}", of(_ends(LATE), _late), numeric=True)
        )
    values = [column for name in (*QUANTILES, LATE) for column in _ends(name)]
    return table(
        "latency",
        "How long a step of a stream takes",
        "Half of the steps take at most p50, 95% at most p95, and so on, each with a 95% interval. "
        f"{MISSING}: fewer than ten steps are slower. No interval: fewer than {MIN_REPLICATES} replicates, or it would "
        "reach beyond the slowest step.",
        columns,
        rows,
        machine=rows[["run", "case", *axes, "cell", "implementation", "period_seconds", *values]],
        breaks=where_new(rows["group"]),
    )


def _ends(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


def _with_interval(value: float, low: float, high: float) -> str:
    return f"{duration(value)} ({duration_interval(low, high)})" if math.isfinite(low) else duration(value)


def _late(share: float, low: float, high: float) -> str:
    """Return `0.31% (0.12–0.66%)`, and `none (below 0.02%)` where no step was late."""
    if not share:
        return f"none (below {percent_digits(high)})"
    return f"{percent_digits(share)} ({percent_digits(low).removesuffix('%')}–{percent_digits(high)})"
