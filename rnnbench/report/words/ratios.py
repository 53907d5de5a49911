"""What the ratios of a run are to, how well each is known, and which metrics stand beside them."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from rnnbench.report.words.names import is_reference, one_line
from rnnbench.report.words.units import half_width, round_percent
from rnnbench.store import metrics
from rnnbench.store.frames import missing_reasons
from rnnbench.store.metrics import Metric
from rnnbench.store.records import is_cell_reference
from rnnbench.store.run_info import RunInfo
from rnnbench.text import printable

NO_REFERENCE = "no reference"


def reference_name(summary: pd.DataFrame) -> str:
    """Return what the ratios of a run are to: `torch.nn`, a cell, `per_item` for data sets, or `the reference` of each.

    Without references it is `the fastest` of each group, or `NO_REFERENCE` if there are no ratios.
    """
    references = [str(reference) for reference in summary["reference"].unique()]
    if references == ["none"]:
        return "the fastest" if "ratio" in summary and summary["ratio"].notna().any() else NO_REFERENCE
    if any(map(is_cell_reference, references)):
        return printable(references[0]) if len(references) == 1 else "the reference"
    loads = summary["phase"] == "loading"
    return "torch.nn" if not loads.any() else "per_item" if loads.all() else "the reference"


FAR_APART = 1.5  # the higher end of an interval over the lower: such a ratio says little


def missed(row: Mapping[Any, Any], info: RunInfo) -> str:
    """`interval wider than ±2%` for a case whose ratio missed the requested precision; empty for all others."""
    precision = info.resolved.get("measure", {}).get("precision")
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
    half, target = (cases["ratio_high"] / cases["ratio_low"]) ** 0.5 - 1, "No precision was asked for."
    precision = info.resolved.get("measure", {}).get("precision")
    if precision is not None:
        met = len(cases) - int(_is_wider(cases["ratio_low"], cases["ratio_high"], precision).sum())
        target = (
            f"The target was ±{round_percent(precision)} for every ratio; {met:,} of all {len(cases):,} reached it."
        )
    return f"{target} Intervals are {half_width(half.median())} in the median, {half_width(half.max())} at the widest."


def _is_wider(low: Any, high: Any, precision: float) -> Any:
    """Whether an interval is wider than a precision, on a log scale, as in the planner; false without an interval."""
    return high > low * (1 + precision) ** 2


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


def known(frame: pd.DataFrame) -> list[Metric]:
    """Return the metrics of which at least one case has a value."""
    return [metric for metric in metrics.METRICS if frame[metric.name].notna().any()]


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
