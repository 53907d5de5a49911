"""Changes as a reader sees them: `+5.1%`, `5.1% slower`."""

import math

from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.verdict import Judged, Verdict
from rnnbench.report.words.units import MAX_FACTOR, MISSING, NOT_KNOWN, percent, span

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


def verdict_cell(verdict: Verdict | None) -> str:
    """Return `▲ regressed`, for the cells of tables."""
    return f"{GLYPHS[verdict]}\N{NO-BREAK SPACE}{verdict or 'not compared'}"


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
