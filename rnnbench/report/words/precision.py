"""Notes on the time of a case: whether its ratio missed the requested precision, and whether its device waited."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from rnnbench.report.words.reference import is_reference
from rnnbench.report.words.units import plural, round_percent
from rnnbench.store.run_info import RunInfo


def missed(row: Mapping[Any, Any], info: RunInfo) -> str:
    """`interval wider than ±2%` for a case whose ratio missed the requested precision; empty for all others."""
    precision = _asked(info)
    # On a log scale, as in the planner; false if there is no interval.
    if precision is None or not row["ratio_high"] / row["ratio_low"] > (1 + precision) ** 2:
        return ""
    return f"interval wider than ±{round_percent(precision)}"


def undecided(row: Mapping[Any, Any]) -> str:
    """`no difference shown` for a case whose interval holds 1; empty for all others, and for references."""
    return "no difference shown" if row["ratio_low"] <= 1 <= row["ratio_high"] != row["ratio_low"] else ""


def reached(summary: pd.DataFrame, info: RunInfo) -> str:
    """How many ratios have the requested precision, and how precise they are; empty if none has an interval."""
    cases = summary[~is_reference(summary)].dropna(subset=["ratio_low", "ratio_high"])
    if cases.empty:
        return ""
    half = (cases["ratio_high"] / cases["ratio_low"]) ** 0.5 - 1
    spread = f"±{half.median():.1%} in the median and ±{half.max():.1%} at the widest"
    precision = _asked(info)
    if precision is None:
        return f"The intervals of {plural(len(cases), 'ratio')} are {spread}; no precision was asked for."
    met = len(cases) - sum(bool(missed(row, info)) for row in cases.to_dict("records"))
    target = f"The target was ±{round_percent(precision)} for every ratio"
    return f"{target}; {met:,} of {len(cases):,} reached it. They are {spread}."


def _asked(info: RunInfo) -> float | None:
    precision: float | None = info.resolved.get("measure", {}).get("precision")
    return precision


def waits(row: Mapping[Any, Any]) -> str:
    """`launch-bound` for a case whose device waited for the host; empty for all others, and in older runs."""
    return "launch-bound: the device waits for the host" if row.get("launch_bound") in (True,) else ""
