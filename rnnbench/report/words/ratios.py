"""What the ratios of a run are to, how well each is known, and which metrics stand beside them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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

ALONE = "Time only: no reference is named, so there are no ratios and nothing was compared."


@dataclass(frozen=True)
class ReferenceWords:
    """Words for the references of a run, and for what is compared with them."""

    name: str
    others: str = "cells"
    has_ratios: bool = True
    is_compared: bool = True  # in its outputs, before anything was timed

    @property
    def ratios(self) -> str:
        """What the ratios are, in a sentence."""
        return f"Ratios are time over that of {self.name}." if self.has_ratios else ALONE

    @property
    def compared(self) -> str:
        """What was compared with what before anything was timed."""
        if not self.is_compared:
            return "There is no reference to compare outputs with"
        what = "The batches of each way" if self.name == "per_item" else "Outputs and gradients of each case"
        return f"{what} were compared with those of {self.name} before it was timed"


def words(summary: pd.DataFrame) -> ReferenceWords:
    """The words for a run of cells, of data sets, of both, or of cells without a reference.

    Without references, the fastest case of a group is what the others are compared with.
    """
    references = [str(reference) for reference in summary["reference"].unique()]
    if references == ["none"]:
        has_ratios = "ratio" in summary and bool(summary["ratio"].notna().any())
        return ReferenceWords("the fastest" if has_ratios else "no reference", "cells", has_ratios, is_compared=False)
    if any(map(is_cell_reference, references)):
        return ReferenceWords(printable(references[0]) if len(references) == 1 else "the reference", "other cells")
    loads = summary["phase"] == "loading"
    if loads.any():
        is_all = bool(loads.all())
        return ReferenceWords(*("per_item", "other ways to load") if is_all else ("the reference", "the others"))
    return ReferenceWords("torch.nn", "hand-written cells")


FAR_APART = 1.5  # the higher end of an interval over the lower: such a ratio says little


def missed(row: Mapping[Any, Any], info: RunInfo) -> str:
    """`interval wider than ±2%` for a case whose ratio missed the requested precision; empty for all others."""
    precision = asked_precision(info)
    is_missed = precision is not None and _is_wider(row["ratio_low"], row["ratio_high"], precision)
    return f"interval wider than ±{round_percent(precision or 0)}" if is_missed else ""


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
    half, precision = (cases["ratio_high"] / cases["ratio_low"]) ** 0.5 - 1, asked_precision(info)
    target = "No precision was asked for."
    if precision is not None:
        met = len(cases) - int(_is_wider(cases["ratio_low"], cases["ratio_high"], precision).sum())
        target = (
            f"The target was ±{round_percent(precision)} for every ratio; {met:,} of all {len(cases):,} reached it."
        )
    if len(cases) == 1:
        return f"{target} The interval is {half_width(half.iloc[0])}."
    return f"{target} Intervals are {half_width(half.median())} in the median, {half_width(half.max())} at the widest."


def _is_wider(low: Any, high: Any, precision: float) -> Any:
    """Whether an interval is wider than a precision, on a log scale, as in the planner; false without an interval."""
    return high > low * (1 + precision) ** 2


def asked_precision(info: RunInfo) -> float | None:
    """Return the precision that a run was asked for, if any."""
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


def known(frame: pd.DataFrame, among: Iterable[Metric]) -> list[Metric]:
    """Return the metrics of which at least one case has a value."""
    return [metric for metric in among if frame[metric.name].notna().any()]


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
