"""Table: the operators that take most of a call's time."""

import numpy as np
import pandas as pd

from rnnbench.report.tables.table import Column, Table, of, table
from rnnbench.report.words.axes import one_line
from rnnbench.report.words.units import count, duration, memory, or_missing
from rnnbench.store.profiles import CATEGORIES, Operator, Profile

MAX_ROWS = 15


def render(profile: Profile, name: str) -> Table | None:
    """The hottest operators of a profile, by their time within the call, or None if no operator can be seen."""
    if not profile.operators:
        return None
    rows = pd.DataFrame(
        [
            {
                "operator": operator.name,
                "shapes": operator.shapes,
                "part": operator.part,
                "category": operator.category,
                "calls": operator.calls,
                "seconds": _middle(operator.seconds),
                "kernel_seconds": None if profile.launches else _kernel_seconds(operator),
                "profiler_seconds": operator.profiler_seconds,
                "new_bytes": operator.new_bytes,
            }
            for operator in profile.operators
        ]
    ).sort_values("seconds", ascending=False, kind="stable", ignore_index=True)
    columns = [
        Column("operator", of("operator", one_line)),
        Column("tensors", of("shapes", one_line)),
        Column("part", of("part")),
        Column("what", lambda row: CATEGORIES[row["category"]]),
        Column("calls", of("calls", count), numeric=True),
        Column("time", of("seconds", duration), numeric=True),
        Column("of that in kernels", of("kernel_seconds", _seconds), numeric=True),
        Column("by the profiler", of("profiler_seconds", _seconds), numeric=True),
        Column("new bytes", lambda row: or_missing(row["new_bytes"] or None, memory), numeric=True),
    ]
    left = len(rows) - MAX_ROWS
    more = f" {left} more are in the CSV file." if left > 0 else ""
    all_calls = "All calls of an operator on tensors of the same shapes in one call; times"
    look = "hold the look at the clock around each, a microsecond or two a call"
    note = f"{all_calls} {look}, which kernels do not.{more}"
    if profile.launches:
        note = f"{all_calls} are the host's, which queues kernels and does not wait for them; they {look}.{more}"
    title = f"The hottest operators of {one_line(name)}"
    return table("operators", title, note, columns, rows.head(MAX_ROWS), machine=rows)


def _kernel_seconds(operator: Operator) -> float:
    return max(0.0, _middle(operator.seconds) - _middle(operator.idle_seconds))


def _middle(values: tuple[float, ...]) -> float:
    return float(np.median(values)) if values else 0.0


def _seconds(value: float | None) -> str:
    return or_missing(value, duration)
