"""Numbers as a reader sees them: three significant digits with their unit, and changes as `+5.1%`, `5.1% slower`.

A number that is too large or too small to say anything is written as a bound: see `digits` and `percent`. No number has
an exponent, and none is `nan` or `inf`.
"""

import math
from collections.abc import Callable
from typing import Any

import pandas as pd

from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.verdict import Outcome
from rnnbench.store.metrics import Unit

MISSING = "—"
TIME_UNITS = ((1e-9, "ns"), (1e-6, "µs"), (1e-3, "ms"), (1.0, "s"))
BYTE_SIZES = ((1.0, "B"), (1e3, "kB"), (1e6, "MB"), (1e9, "GB"), (1e12, "TB"))
ENERGIES = ((1e-9, "nJ"), (1e-6, "µJ"), (1e-3, "mJ"), (1.0, "J"), (1e3, "kJ"))
PREFIXES = ((1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T"), (1e15, "P"))
NOT_KNOWN = "not known"
# The ends of an uninformative interval lie beyond these: only that is said of them.
MIN_NUMBER = 1e-4
MAX_NUMBER = 1e6
MAX_PERCENT = 9_999
MAX_FACTOR = 100  # of a change; a larger one says no more
MAX_PLAIN_COUNT = 9_999.5  # larger ones are read more easily with a prefix
IN_THE_MEAN = "in the mean of its calls"
GLYPHS: dict[Outcome | None, str] = {  # beside the colour of a verdict, for who can't tell colours apart
    "regressed": "▲",
    "incomparable": "✕",
    "undecided": "◇",
    "accepted": "△",
    "improved": "▼",
    "unchanged": "●",
    None: "–",
}
FAR = f"over {MAX_FACTOR}×"


def digits(value: float) -> str:
    """Return three significant digits, never in exponents: 0.987, 6.88, 12.3, 1,234, <0.0001, >1,000,000."""
    if not math.isfinite(value):
        return MISSING
    if value > MAX_NUMBER:
        return f">{MAX_NUMBER:,.0f}"
    if 0 < abs(value) < MIN_NUMBER:
        return f"<{MIN_NUMBER:.4f}"
    if abs(value) >= 999.5:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".") if value else "0"


def round_digits(value: float) -> str:
    """Return three significant digits without the zeros at their end: 2.5, 5, 0.4."""
    text = digits(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def span(low: str, high: str, joint: str = " to ") -> str:
    """Return two ends of a range as they are written: `1.31 to 1.42`, or `1.31` if both are written alike."""
    return low if low == high else f"{low}{joint}{high}"


def duration(seconds: float) -> str:
    """Return `1.23 ms`."""
    return scaled(seconds, TIME_UNITS)


def wall_time(seconds: float) -> str:
    """Return `75 s`, `12 min` or `3.4 h`: how long a command took."""
    minutes = seconds / 60
    if minutes < 3:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def duration_interval(low: float, high: float) -> str:
    """Return `1.20–1.31 ms`: both ends in the unit of the higher."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return MISSING
    size, unit = _unit(high, TIME_UNITS)
    start = digits(low / size)
    end = digits(high / size)
    return f"{span(start, end, '–')} {unit}"


def duration_tick(seconds: float) -> str:
    """Return `1 ms`, `200 µs`: a round time, for axes."""
    size, unit = _unit(seconds, TIME_UNITS)
    return f"{seconds / size:g} {unit}"


def ratio(value: float) -> str:
    """Return `6.88×`."""
    return f"{digits(value)}×" if math.isfinite(value) else MISSING


def ratio_interval(low: float, high: float) -> str:
    """Return `6.71–7.05`; a dash if it is not known, or holds every ratio."""
    if not (math.isfinite(low) and math.isfinite(high)) or (low < MIN_NUMBER and high > MAX_NUMBER):
        return MISSING
    return span(digits(low), digits(high), "–")


def ratio_with_interval(value: float, low: float, high: float) -> str:
    """Return `6.88× (6.71–7.05)`, or `6.88× (no interval)`."""
    interval = ratio_interval(low, high)
    return f"{ratio(value)} ({'no interval' if interval == MISSING else interval})"


def ratio_tick(value: float) -> str:
    """Return `1×`, `0.5×`: a round ratio, for axes."""
    return f"{value:g}×"


def ratio_box(value: float) -> str:
    """Return a ratio that fits a box of a heat map, most precise near 1: 0.002, 0.95, 1.04, 6.9, 12."""
    if not MIN_NUMBER <= value <= MAX_NUMBER:
        return digits(value)
    if value < 0.0995:  # never 0.00
        return f"{value:.1g}"
    if value >= 9.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1.995 else f"{value:.2f}"


def percent(share: float) -> str:
    """Return `5.1%`, `58%`: a share without its sign, with one decimal below 10% and just below 100%."""
    size = abs(100 * share)
    return f"{size:.1f}%" if size < 9.95 or 99.5 <= size < 99.95 else _bounded(size, count)


def half_width(half: float) -> str:
    """Return how precise a ratio is, from the half-width of its interval: `±5.1%` for 0.051."""
    return f"±{percent(half)}" if 0 <= half < math.inf else NOT_KNOWN


def whole_percent(share: float) -> str:
    """Return `35%`: a part of a whole."""
    size = _bounded(abs(100 * share), count)
    return f"-{size}" if share < 0 and size != "0%" else size


def round_percent(share: float) -> str:
    """Return `2.5%`, `5%`: a round share, as somebody chose it."""
    return _bounded(abs(100 * share), round_digits)


def count(value: float) -> str:
    """Return `1,234,567`."""
    return f"{value:,.0f}" if math.isfinite(value) else MISSING


def memory(size: float) -> str:
    """Return `33.5 GB`, in powers of 1,000 as torchinfo counts."""
    return scaled(size, BYTE_SIZES)


def _unit(value: float, units: tuple[tuple[float, str], ...]) -> tuple[float, str]:
    """Return the first unit in which the value stays below 1,000 after rounding."""
    return next((unit for unit in units if abs(value) < 999.5 * unit[0]), units[-1])


def _bounded(percents: float, write: Callable[[float], str]) -> str:
    if not math.isfinite(percents):
        return MISSING
    return f">{MAX_PERCENT:,}%" if percents >= MAX_PERCENT + 0.5 else f"{write(percents)}%"


def scaled(value: float, units: tuple[tuple[float, str], ...], more: str = "") -> str:
    """Return a value with the unit in which it has one to three digits before the point."""
    size, unit = _unit(value, units)
    return f"{digits(value / size)} {unit}{more}" if math.isfinite(value) else MISSING


FORMAT_OF_UNIT: dict[Unit, Callable[[float], str]] = {  # of metrics
    "count": lambda value: count(value) if abs(value) < MAX_PLAIN_COUNT else scaled(value, PREFIXES),
    "bytes": memory,
    "joules": lambda joules: scaled(joules, ENERGIES),
    "per second": lambda value: scaled(value, PREFIXES, "/s"),
    "seconds": duration,
    "times": ratio,
}


def change(ratio: float) -> str:
    """Return `+5.1%` for 1.051, `over 100×` for any ratio above a hundred; empty if it is not known."""
    if not math.isfinite(ratio):
        return ""
    size = _size(ratio)
    return size if size in ("0.0%", FAR) else f"{'+' if ratio > 1 else '-'}{size}"


def change_interval(estimate: Estimate) -> str:
    """Return `[+4.2%, +6.0%]`; empty if it is not known."""
    ends = span(change(estimate.lower), change(estimate.upper), ", ")
    return f"[{ends}]" if estimate.has_interval else ""


def change_cell(ratio: float) -> str:
    """Return as `change`, and a dash if it is not known: for the cells of tables."""
    return change(ratio) or MISSING


def interval_cell(low: float, high: float) -> str:
    """Return as `change_interval`, and a dash if it is not known: for the cells of tables."""
    return change_interval(Estimate(math.nan, low, high)) or MISSING


def verdict_cell(verdict: Outcome | None) -> str:
    """Return `▲ regressed`, for the cells of tables."""
    return f"{GLYPHS[verdict]}\N{NO-BREAK SPACE}{verdict or 'not compared'}"


def change_span(estimate: Estimate) -> str:
    """Return `+4.2% to +6.0%`: the interval in running text; its ends must be known."""
    return span(change(estimate.lower), change(estimate.upper))


def slower(ratio: float) -> str:
    """Return `5.1% slower`, `1.2% faster`, `over 100× slower`, or `0.0% different` for a tiny change."""
    if not math.isfinite(ratio):
        return NOT_KNOWN
    size = _size(ratio)
    return f"{size} different" if size == "0.0%" else f"{size} {'slower' if ratio > 1 else 'faster'}"


def between(estimate: Estimate) -> str:
    """Return `between 1.2% faster and 3.9% slower`."""
    low = slower(estimate.lower)
    high = slower(estimate.upper)
    return low if low == high else f"between {low} and {high}"


def _size(ratio: float) -> str:
    """Return how far a ratio is from 1."""
    return FAR if ratio > MAX_FACTOR else percent(ratio - 1)


def in_words(frame: pd.DataFrame) -> pd.DataFrame:
    """Return columns of a result as a reader sees them: a time, a ratio and one column for its interval, as texts."""
    columns: dict[Any, Any] = {}
    for name in frame:
        if name == "seconds":
            columns["time"] = frame[name].map(duration)
        elif name == "ratio":
            columns["ratio"] = frame[name].map(ratio)
        elif name == "ratio_low":
            ends = zip(frame["ratio_low"], frame["ratio_high"], strict=True)
            columns["95% interval"] = [MISSING if low == high else ratio_interval(low, high) for low, high in ends]
        elif name != "ratio_high":
            columns[name] = frame[name]
    return pd.DataFrame(columns, index=frame.index)
