"""Table: quantiles of the latency of a stream's steps, and the share of late steps."""

import math

import pandas as pd

from rnnbench.analysis.runs.latency import LATE, MIN_REPLICATES, QUANTILES, measured_streams, quantile_name
from rnnbench.report.tables.table import Column, Of, Table, of, table, where_new
from rnnbench.report.words.axes import SETTINGS, SIZES, one_line, several, word
from rnnbench.report.words.series import by_workload
from rnnbench.report.words.units import MISSING, duration, duration_interval, percent_digits


def render(summary: pd.DataFrame, *, with_intervals: bool = True) -> Table | None:
    """One row for each measured stream, or None if there is none; a terminal has no room `with_intervals`."""
    rows = measured_streams(summary)
    if rows.empty:
        return None
    axes = several(rows, (*SETTINGS, *SIZES))
    rows = by_workload(rows)
    periods = rows["period_seconds"].dropna().unique()
    show = _with_interval if with_intervals else _alone
    columns = [
        *(Column(word(axis), of(axis, one_line), numeric=axis in SIZES) for axis in axes),
        Column("cell", of("series")),
        *(Column(quantile_name(name), Of(_ends(name), show), numeric=True) for name in QUANTILES),
    ]
    if len(periods):
        head = f"later than {' or '.join(map(duration, periods))}"
        columns.append(Column(head, Of(_ends(LATE), _late if with_intervals else _late_alone), numeric=True))
    values = [column for name in (*QUANTILES, LATE) for column in _ends(name)]
    return table(
        "latency",
        "How long a step of a stream takes",
        "Half of the steps take at most p50, 95% at most p95, and so on, each with a 95% interval. Each call is one "
        "step and starts from the state that the previous call returned. A quantile is missing "
        f"({MISSING}) if fewer than ten steps are slower. It has no interval with fewer than {MIN_REPLICATES} "
        "replicates, or if the interval would reach beyond the slowest step.",
        columns,
        rows,
        machine=rows[["run", "case", *axes, "cell", "implementation", "period_seconds", *values]],
        breaks=where_new(rows["group"]),
    )


def _ends(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


def _with_interval(value: float, low: float, high: float) -> str:
    return f"{duration(value)} ({duration_interval(low, high)})" if math.isfinite(low) else duration(value)


def _alone(value: float, _low: float, _high: float) -> str:
    return duration(value)


def _late(share: float, low: float, high: float) -> str:
    """`0.31% (0.12–0.66%)`, and `none (below 0.02%)` where no step was late."""
    if not share:
        return f"none (below {percent_digits(high)})"
    return f"{percent_digits(share)} ({percent_digits(low).removesuffix('%')}–{percent_digits(high)})"


def _late_alone(share: float, _low: float, _high: float) -> str:
    return percent_digits(share) if share else "none"
