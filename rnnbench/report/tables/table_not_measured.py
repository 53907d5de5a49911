"""Table: what was skipped or failed, and why."""

from typing import Any

import pandas as pd

from rnnbench.report.tables.table import Column, Table, of, table
from rnnbench.report.words.axes import SETTINGS, SIZES, one_line, say_all, several
from rnnbench.report.words.series import with_series

NAMED = 3  # workloads that are named; more are only counted


def render(summary: pd.DataFrame) -> Table:
    """One row for each series and reason; failures first."""
    frame = with_series(summary)
    totals = frame["series"].value_counts().to_dict()
    axes = ["phase", *several(summary, (*SIZES, *SETTINGS))]
    missing = frame[frame["status"] != "measured"].sort_values("status", kind="stable")  # failed before skipped
    keys = ["series", "cell", "implementation", "status", "reason"]
    rows: list[dict[str, Any]] = []
    for key, cases in missing.groupby(keys, sort=False):
        series = key[0]
        total = totals[series]
        named = "; ".join(say_all(axes, values) for values in cases[axes].head(NAMED).to_numpy())
        of_all = f"all {total:,}" if len(cases) == total else f"{len(cases):,} of {total:,}"
        which = of_all if len(cases) == total or len(cases) > NAMED else f"{of_all}: {named}"
        rows.append(dict(zip(keys, key, strict=True)) | {"which": which})
    columns = [
        Column("cell", of("series")),
        Column("status", of("status")),
        Column("cases", of("which")),
        Column("reason", of("reason", one_line)),
    ]
    grouped = pd.DataFrame(rows, columns=[*keys, "which"])
    machine = missing[["case", "status", "reason"]]
    return table("not_measured", "Skipped and failed cases", "", columns, grouped, machine=machine)
