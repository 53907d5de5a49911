"""Changes as a reader sees them: `+5.1%`, `5.1% slower`, and counts from base to head."""

import math
from typing import Literal

from rnnbench.analysis.changes import Change
from rnnbench.analysis.comparison import Finding
from rnnbench.analysis.estimate import Estimate
from rnnbench.report.words.units import count, memory, percent


def change(ratio: float) -> str:
    """`+5.1%` for 1.051; empty where it is not known."""
    if not math.isfinite(ratio):
        return ""
    size = percent(ratio - 1)
    return size if size == "0.0%" else f"{'+' if ratio > 1 else '-'}{size}"


def change_interval(estimate: Estimate) -> str:
    """`[+4.2%, +6.0%]`; empty where it is not known."""
    known = math.isfinite(estimate.lower) and math.isfinite(estimate.upper)
    return f"[{change(estimate.lower)}, {change(estimate.upper)}]" if known else ""


def slower(ratio: float) -> str:
    """`5.1% slower`, `1.2% faster`."""
    return f"{percent(ratio - 1)} {'slower' if ratio > 1 else 'faster'}"


def between(estimate: Estimate) -> str:
    """`between 1.2% faster and 3.9% slower`."""
    low, high = slower(estimate.lower), slower(estimate.upper)
    same_way = low.split()[1] == high.split()[1]
    return f"between {low.split()[0] if same_way else low} and {high}"


def counted(one: Change) -> str:
    """`peak memory 1.20 MB -> 1.90 MB (+58%)`."""
    return f"{one.metric.label} {_from_to(one)}{_share(one, ' ({})')}"


def difference(one: Change) -> str:
    """`96 more operator calls (412 -> 508, +23%)`."""
    more = abs(one.head - one.base)
    is_bytes = one.metric.unit == "bytes"
    label = one.metric.label.removesuffix("s") if more == 1 else one.metric.label
    way = "more" if one.head > one.base else "less" if is_bytes else "fewer"
    return f"{memory(more) if is_bytes else count(more)} {way} {label} ({_from_to(one)}{_share(one, ', {}')})"


def relative(one: Change) -> str:
    """`peak memory +0.4%`, or from base to head where that would read as nothing."""
    share = _share(one, "{}")
    return f"{one.metric.label} {share}" if share else counted(one)


def direction(finding: Finding) -> Literal[-1, 0, 1]:
    """Whether the time got longer (1) or shorter (-1) by more than the margin."""
    told = quoted(finding)
    if told is None or finding.verdict not in ("regressed", "improved"):
        return 0
    if not finding.judged_changes:  # then it is the time that the verdict speaks of
        return 1 if finding.verdict == "regressed" else -1
    edge = 1 + finding.margin
    return 1 if told.lower > edge else -1 if told.upper < 1 / edge else 0


def is_of_some_calls(finding: Finding) -> bool:
    """Whether the mean went beyond the margin and the low quantile did not: some calls changed, most did not."""
    if finding.low is None or finding.mean is None or finding.verdict not in ("regressed", "improved"):
        return False
    sign = 1 if finding.verdict == "regressed" else -1
    edge = math.log1p(finding.margin)
    nearest = finding.low.lower if sign > 0 else finding.low.upper
    low, mean, bound = (sign * math.log(ratio) for ratio in (finding.low.value, finding.mean.value, nearest))
    return mean > edge and not bound > edge and low < mean / 2  # `not`, since a bound may be NaN


def quoted(finding: Finding) -> Estimate | None:
    """The estimate that tells of a case: the low quantile's, or the mean's where that decides or is the wider."""
    low, mean = finding.low, finding.mean
    if low is None or mean is None:
        return low
    if finding.verdict == "inconclusive":
        edge = 1 + finding.margin
        return mean if 1 / edge < low.lower and low.upper < edge else low
    return mean if is_of_some_calls(finding) else low


def _from_to(one: Change) -> str:
    show = memory if one.metric.unit == "bytes" else count
    if show(one.base) == show(one.head):  # they differ in digits that are not shown
        return f"{count(one.base)} -> {count(one.head)}{' bytes' if one.metric.unit == 'bytes' else ''}"
    return f"{show(one.base)} -> {show(one.head)}"


def _share(one: Change, pattern: str) -> str:
    """The relative change in `pattern`; empty where it is none that can be said."""
    share = change(one.ratio)
    return pattern.format(share) if share and share != "0.0%" else ""
