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


@dataclass(frozen=True)
class ReferenceWords:
    """Words for the references of a run, and for what is compared with them."""

    name: str
    others: str
    compared: str  # what was compared with what before anything was timed
    has_ratios: bool = True

    @property
    def ratios(self) -> str:
        """What the ratios are, in a sentence."""
        return f"Ratios are time over that of {self.name}." if self.has_ratios else ALONE


ALONE = "Time only: no reference is named, so there are no ratios and nothing was compared."
OUTPUTS = "Outputs and gradients of each cell were compared with those of torch.nn before it was timed"
BATCHES = "The batches of each implementation were compared with those loaded item by item before it was timed"
TORCH = ReferenceWords("torch.nn", "hand-written cells", OUTPUTS)
ITEMS = ReferenceWords("per_item", "other ways to load", BATCHES)
BOTH = ReferenceWords("the reference", "cells and ways to load", f"{OUTPUTS}. {BATCHES}")
ALONE_COMPARED = "There is no reference to compare outputs with"
FASTEST = ReferenceWords("the fastest", "cells", ALONE_COMPARED)
NOTHING = ReferenceWords("no reference", "cells", ALONE_COMPARED, has_ratios=False)


def words(summary: pd.DataFrame) -> ReferenceWords:
    """The words for a run of cells, of data sets, of both, or of cells without a reference.

    Without references, the fastest case of a group is what the others are compared with.
    """
    if len(summary) and (summary["reference"] == "none").all():
        return FASTEST if "ratio" in summary and summary["ratio"].notna().any() else NOTHING
    cells = [reference for reference in summary["reference"].unique() if is_cell_reference(reference)]
    if cells:
        is_only_one = len(cells) == 1 and (summary["reference"] == cells[0]).all()
        name = printable(cells[0]) if is_only_one else "the reference"
        compared = f"Outputs and gradients of each cell were compared with those of {name} before it was timed"
        return ReferenceWords(name, "other cells", compared)
    loads = summary["phase"] == "loading"
    return TORCH if not loads.any() else ITEMS if loads.all() else BOTH


FAR_APART = 1.5  # the higher end of an interval over the lower: such a ratio says little


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


TEXTS = ("backend", "bound_by")


def with_metrics(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the summary with every metric as numbers: in an older run, missing ones are NaN, missing texts empty."""
    frame = summary.copy()
    for metric in metrics.METRICS:
        values = frame[metric.name] if metric.name in frame else pd.Series(float("nan"), index=frame.index)
        frame[metric.name] = pd.to_numeric(values, errors="coerce").astype(float)
    for column in (*TEXTS, "missing"):
        texts = frame[column] if column in frame else pd.Series("", index=frame.index)
        frame[column] = [value if isinstance(value, str) else "" for value in texts]
    return frame


def known(frame: pd.DataFrame, among: Iterable[Metric]) -> list[Metric]:
    """Return the metrics of which at least one case has a value; `frame` comes from `with_metrics`."""
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
