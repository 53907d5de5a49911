"""Files of pytest-benchmark: how long each benchmark takes, and how far it is from the reference of its group."""

import math
from typing import Any

import pandas as pd

from rnnbench.analysis.estimate import as_ratio, estimate_columns, estimates_of
from rnnbench.analysis.stored import StoredRun
from rnnbench.report.table import Column, Section, of, table, where_new
from rnnbench.report.words.names import one_line
from rnnbench.report.words.units import (
    count,
    digits,
    duration,
    duration_interval,
    ratio_with_interval,
    span,
)
from rnnbench.text import plural

NO_BENCHMARK_REFERENCE = (
    "Time only: no benchmark is a reference. rnnbench report FILE --reference NAME gives ratios to the benchmark of "
    "that name within each group."
)
OF_FILES = (
    "Time: the lower quartile of a file's rounds, seconds per call. Intervals are over files, each of one process: a "
    "single file has none, since its rounds do not show how processes differ, and a small difference may be chance."
)


def of_files(saved: StoredRun) -> Section:
    """Return the section with the answer and a table of all benchmarks, each group with its reference first."""
    frame = summarize(saved)
    columns = [
        Column("benchmark", of("name", one_line)),
        *([Column("group", of("group", one_line))] if frame["group"].nunique() > 1 else []),
        Column("time", of("seconds", duration), numeric=True),
        Column("95% interval", of(("seconds_low", "seconds_high"), duration_interval), numeric=True),
        *([Column("ratio", _ratio_cell, numeric=True)] if frame["ratio"].notna().any() else []),
        Column("replicates", of("replicates", count), numeric=True),
    ]
    title = "How long does each take?"
    benchmarks = table(
        "benchmarks", title, OF_FILES, columns, frame, machine=frame, breaks=where_new(frame["group"])[1:]
    )
    return Section("benchmarks", title, [_answer(frame), benchmarks])


def summarize(saved: StoredRun) -> pd.DataFrame:
    """Return a row for each benchmark: its time and its ratio to its reference, with 95% intervals over replicates."""
    files = [rows for _, rows in saved.ratios.groupby("case", sort=False)]
    times = estimates_of([rows["log_seconds"].tolist() for rows in files])
    ratios = estimates_of([rows["log_ratio"].where(rows["reference"].ne("")).dropna().tolist() for rows in files])
    lines = [
        {
            **rows[["case", "name", "group", "is_reference"]].iloc[0],
            **estimate_columns("seconds", as_ratio(time)),
            **estimate_columns("ratio", as_ratio(ratio)),
            "replicates": len(rows),
        }
        for rows, time, ratio in zip(files, times, ratios, strict=True)
    ]
    frame = pd.DataFrame(lines).sort_values(["group", "is_reference"], ascending=[True, False], kind="stable")
    return frame.reset_index(drop=True)


def _answer(frame: pd.DataFrame) -> str:
    """Say how far the benchmarks are from their references, or that they have none."""
    compared = frame[frame["ratio"].notna() & ~frame["is_reference"]].sort_values("ratio", kind="stable")
    if compared.empty:
        return NO_BENCHMARK_REFERENCE
    ends = [f"{digits(row['ratio'])} ({one_line(row['name'])})" for _, row in compared.iloc[[0, -1]].iterrows()]
    many = f"{plural(len(compared), 'benchmark')} {'takes' if len(compared) == 1 else 'take'}"
    return f"{many} {span(*ends)} times as long as the reference of the group."


def _ratio_cell(row: dict[str, Any]) -> str:
    if row["is_reference"]:
        return "reference"
    return "" if math.isnan(row["ratio"]) else ratio_with_interval(row["ratio"], row["ratio_low"], row["ratio_high"])
