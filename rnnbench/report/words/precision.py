"""Notes on the time of a case: whether it is suspect, missed the requested precision, or its device waited."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from rnnbench.report.words.axes import one_line
from rnnbench.report.words.reference import is_reference
from rnnbench.report.words.units import half_width, round_percent
from rnnbench.store.run_info import RunInfo

FAR_APART = 1.5  # the higher end of an interval over the lower: such a ratio says little


def suspect(row: Mapping[Any, Any]) -> str:
    """Why the time of a case in a summary may not be that of its reference's work; empty if nothing speaks for it."""
    if row["status"] != "measured" or not row.get("suspicion"):
        return ""
    return f"suspect: {one_line(row['suspicion'])}"


def is_suspect(summary: pd.DataFrame) -> "pd.Series[bool]":
    """Which rows of a summary are suspect."""
    if "suspicion" not in summary:
        return pd.Series(False, index=summary.index)
    return summary["status"].eq("measured") & summary["suspicion"].fillna("").ne("")


def missed(row: Mapping[Any, Any], info: RunInfo) -> str:
    """`interval wider than ±2%` for a case whose ratio missed the requested precision; empty for all others."""
    precision = _asked(info)
    if precision is None or not _is_wider(row["ratio_low"], row["ratio_high"], precision):
        return ""
    return f"interval wider than ±{round_percent(precision)}"


def undecided(row: Mapping[Any, Any]) -> str:
    """`undecided: the interval includes 1` for such a case; empty for all others, and for references."""
    if row["ratio_low"] <= 1 <= row["ratio_high"] != row["ratio_low"]:
        return "undecided: the interval includes 1"
    return "undecided: the interval is too wide" if row["ratio_high"] > FAR_APART * row["ratio_low"] else ""


def is_known(cases: pd.DataFrame) -> "pd.Series[bool]":
    """Boolean mask of the ratios whose size is known: the ends of the 95% interval are not far apart."""
    return cases["ratio_high"] <= FAR_APART * cases["ratio_low"]


def reached(summary: pd.DataFrame, info: RunInfo) -> str:
    """How many ratios have the requested precision, and how precise they are; empty if none has an interval."""
    cases = summary[~is_reference(summary)].dropna(subset=["ratio_low", "ratio_high"])
    if cases.empty:
        return ""
    half = (cases["ratio_high"] / cases["ratio_low"]) ** 0.5 - 1
    median, widest = half_width(half.median()), half_width(half.max())
    spread = f"{median} in the median and {widest} at the widest" if len(cases) > 1 else median
    precision = _asked(info)
    if precision is None:
        intervals = f"The intervals of {len(cases):,} ratios are" if len(cases) > 1 else "The interval of 1 ratio is"
        return f"{intervals} {spread}; no precision was asked for."
    met = len(cases) - int(_is_wider(cases["ratio_low"], cases["ratio_high"], precision).sum())
    target = f"The target was ±{round_percent(precision)} for every ratio"
    they = "They are" if len(cases) > 1 else "It is"
    return f"{target}; {met:,} of all {len(cases):,} reached it. {they} {spread}."


def _is_wider(low: Any, high: Any, precision: float) -> Any:
    """Whether an interval is wider than a precision, on a log scale, as in the planner; false without an interval."""
    return high > low * (1 + precision) ** 2


def _asked(info: RunInfo) -> float | None:
    precision: float | None = info.resolved.get("measure", {}).get("precision")
    return precision


def waits(row: Mapping[Any, Any]) -> str:
    """`launch-bound` for a case whose device waited for the host; empty for all others, and in older runs."""
    return "launch-bound: the device waits for the host" if row.get("launch_bound") in (True,) else ""


def tally(cases: pd.DataFrame) -> dict[str, int]:
    """Count the cases with a ratio by its 95% interval, without the zeros.

    The fastest case of a group, to which the ratios may be, is left out. `undecided`: the interval includes 1, or
    is too wide.
    """
    cases = cases[cases["ratio"].notna() & ~(cases["ratio_low"].eq(1) & cases["ratio_high"].eq(1))]
    known, has_interval = is_known(cases), cases["ratio_low"].notna()
    slower, faster = known & (cases["ratio_low"] > 1), known & (cases["ratio_high"] < 1)
    masks = {
        "slower": slower,
        "faster": faster,
        "undecided": has_interval & ~slower & ~faster,
        "without an interval": ~has_interval,
    }
    return {word: number for word, mask in masks.items() if (number := int(mask.sum()))}


def known_ratios(cases: pd.DataFrame) -> pd.DataFrame:
    """Return the cases whose ratio may stand in a range or a median: the known ones, or all if none has an interval."""
    return cases[is_known(cases)] if cases["ratio_low"].notna().any() else cases
