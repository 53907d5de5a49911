"""Changes as a reader sees them: `+5.1%`, `5.1% slower`, and counts from base to head."""

import math

from rnnbench.analysis.changes import Change
from rnnbench.analysis.comparison import Finding
from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.verdict import Judged, Verdict
from rnnbench.report.words.units import MAX_FACTOR, MISSING, NOT_KNOWN, count, memory, percent, span

IN_THE_MEAN = "in the mean of its calls"
GLYPHS: dict[Verdict | None, str] = {  # beside the colour of a verdict, for who can't tell colours apart
    "regressed": "▲",
    "incomparable": "✕",
    "undecided": "◇",
    "improved": "▼",
    "unchanged": "●",
    None: "–",
}
FAR = f"over {MAX_FACTOR}×"
NEARLY_ALL = -0.9999


def change(ratio: float) -> str:
    """`+5.1%` for 1.051, `over 100×` for any ratio above a hundred; empty if it is not known."""
    if not math.isfinite(ratio):
        return ""
    size = _size(ratio)
    return size if size in ("0.0%", FAR) else f"{'+' if ratio > 1 else '-'}{size}"


def change_with_interval(judged: Judged) -> str:
    """`+5.1% [+4.2%, +6.0%]`, with `in the mean` if that decided."""
    which = "in the mean" if judged.decided_by == "mean" else ""
    return " ".join(filter(None, [change(judged.deciding.value), which, change_interval(judged.deciding)]))


def change_interval(estimate: Estimate) -> str:
    """`[+4.2%, +6.0%]`; empty if it is not known."""
    ends = span(change(estimate.lower), change(estimate.upper), ", ")
    return f"[{ends}]" if estimate.has_interval else ""


def change_cell(ratio: float) -> str:
    """As `change`, and a dash if it is not known: for the cells of tables."""
    return change(ratio) or MISSING


def interval_cell(low: float, high: float) -> str:
    """As `change_interval`, and a dash if it is not known: for the cells of tables."""
    return change_interval(Estimate(math.nan, low, high)) or MISSING


def change_span(estimate: Estimate) -> str:
    """`+4.2% to +6.0%`: the interval in running text; its ends must be known."""
    return span(change(estimate.lower), change(estimate.upper))


def slower(ratio: float) -> str:
    """`5.1% slower`, `1.2% faster`, `over 100× slower`, and `0.0% different` for a change too small to be shown."""
    if not math.isfinite(ratio):
        return NOT_KNOWN
    size = _size(ratio)
    return f"{size} different" if size == "0.0%" else f"{size} {'slower' if ratio > 1 else 'faster'}"


def between(estimate: Estimate) -> str:
    """`between 1.2% faster and 3.9% slower`."""
    low, high = slower(estimate.lower), slower(estimate.upper)
    if low == high:
        return low
    size, way = low.rsplit(" ", 1)
    if way == "different":
        return f"between {size} and {high}"
    if high.endswith("different"):
        return f"between {low} and {high.rsplit(' ', 1)[0]}"
    return f"between {size if way == high.rsplit(' ', 1)[1] else low} and {high}"


def _size(ratio: float) -> str:
    """How far a ratio is from 1; a time above zero is never 100% less."""
    return FAR if ratio > MAX_FACTOR else percent(max(ratio - 1, NEARLY_ALL) if ratio > 0 else ratio - 1)


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


def direction(finding: Finding) -> int:
    """1 if the time got longer by more than the margin, -1 if it got shorter by more, else 0."""
    return {"regressed": 1, "improved": -1}.get(finding.time_verdict or "", 0)


def is_of_some_calls(finding: Finding) -> bool:
    """Whether the mean decided and most calls changed by less than half as much."""
    if finding.decided_by != "mean" or finding.low is None or finding.mean is None:
        return False
    sign = direction(finding)
    return sign * math.log(finding.low.value) < sign * math.log(finding.mean.value) / 2


def _from_to(delta: Change) -> str:
    show = memory if delta.metric.unit == "bytes" else count
    if show(delta.base) == show(delta.head):  # they differ in digits that are not shown
        return f"{count(delta.base)} -> {count(delta.head)}{' bytes' if delta.metric.unit == 'bytes' else ''}"
    return f"{show(delta.base)} -> {show(delta.head)}"


def _share(delta: Change, pattern: str) -> str:
    """The relative change, put into `pattern`; empty if it is not known or rounds to zero."""
    share = change(delta.ratio)
    return pattern.format(share) if share and share != "0.0%" else ""
