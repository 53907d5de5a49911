"""Changes as a reader sees them: `+5.1%`, `5.1% slower`, and counts from base to head."""

import math
from typing import Literal

from rnnbench.analysis.changes import Change
from rnnbench.analysis.comparison import Finding
from rnnbench.analysis.estimate import Estimate
from rnnbench.report.words.units import count, memory, percent


def change(ratio: float) -> str:
    """`+5.1%` for 1.051; empty if it is not known."""
    if not math.isfinite(ratio):
        return ""
    size = percent(ratio - 1)
    return size if size == "0.0%" else f"{'+' if ratio > 1 else '-'}{size}"


def change_interval(estimate: Estimate) -> str:
    """`[+4.2%, +6.0%]`; empty if it is not known."""
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
    comparative = "more" if one.head > one.base else "less" if is_bytes else "fewer"
    return f"{memory(more) if is_bytes else count(more)} {comparative} {label} ({_from_to(one)}{_share(one, ', {}')})"


def relative(one: Change) -> str:
    """`peak memory +0.4%`, or the values of base and head if there is no percentage to show."""
    share = _share(one, "{}")
    return f"{one.metric.label} {share}" if share else counted(one)


def direction(finding: Finding) -> Literal[-1, 0, 1]:
    """1 if the time got longer by more than the margin, -1 if it got shorter by more, else 0."""
    estimate = quoted(finding)
    if estimate is None or finding.verdict not in ("regressed", "improved"):
        return 0
    if not finding.judged_changes:  # then the verdict is about the time
        return 1 if finding.verdict == "regressed" else -1
    edge = 1 + finding.margin
    return 1 if estimate.lower > edge else -1 if estimate.upper < 1 / edge else 0


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
    """The estimate to quote for a case: that of the low quantile, or of the mean if it decides or is the wider."""
    low, mean = finding.low, finding.mean
    if low is None or mean is None:
        return low
    if finding.verdict == "inconclusive":
        edge = 1 + finding.margin
        return mean if 1 / edge < low.lower and low.upper < edge else low
    return mean if is_of_some_calls(finding) else low


def _from_to(delta: Change) -> str:
    show = memory if delta.metric.unit == "bytes" else count
    if show(delta.base) == show(delta.head):  # they differ in digits that are not shown
        return f"{count(delta.base)} -> {count(delta.head)}{' bytes' if delta.metric.unit == 'bytes' else ''}"
    return f"{show(delta.base)} -> {show(delta.head)}"


def _share(delta: Change, pattern: str) -> str:
    """The relative change, put into `pattern`; empty if it is not known or rounds to zero."""
    share = change(delta.ratio)
    return pattern.format(share) if share and share != "0.0%" else ""
