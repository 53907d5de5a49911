"""Numbers as a reader sees them: three significant digits, with their unit."""

import math
from collections.abc import Callable

from rnnbench.store.metrics import Unit

MISSING = "—"
TIMES = ((1e-9, "ns"), (1e-6, "µs"), (1e-3, "ms"), (1.0, "s"))
SIZES = ((1.0, "B"), (1e3, "kB"), (1e6, "MB"), (1e9, "GB"), (1e12, "TB"))
ENERGIES = ((1e-9, "nJ"), (1e-6, "µJ"), (1e-3, "mJ"), (1.0, "J"), (1e3, "kJ"))
PREFIXES = ((1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T"), (1e15, "P"))
MAX_NUMBER = 1e9  # the end of an uninformative interval may have hundreds of digits
MAX_PLAIN_COUNT = 9_999.5  # larger ones are read more easily with a prefix


def digits(value: float) -> str:
    """Three significant digits, never in exponents where a plain number would do: 0.987, 6.88, 12.3, 1,234."""
    if not math.isfinite(value):
        return MISSING
    if abs(value) >= MAX_NUMBER:
        return f"{value:.3g}"
    if abs(value) >= 999.5:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".") if value else "0"


def duration(seconds: float) -> str:
    """`1.23 ms`."""
    return _scaled(seconds, *_unit(seconds, TIMES))


def duration_interval(low: float, high: float) -> str:
    """`1.20–1.31 ms`: both ends in the unit of the higher."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return MISSING
    size, unit = _unit(high, TIMES)
    return f"{digits(low / size)}–{_scaled(high, size, unit)}"


def duration_tick(seconds: float) -> str:
    """`1 ms`, `200 µs`: a round time, for axes."""
    size, unit = _unit(seconds, TIMES)
    return f"{seconds / size:g} {unit}"


def ratio(value: float) -> str:
    """`6.88×`."""
    return f"{digits(value)}×" if math.isfinite(value) else MISSING


def ratio_interval(low: float, high: float) -> str:
    """`6.71–7.05`."""
    return f"{digits(low)}–{digits(high)}" if math.isfinite(low) and math.isfinite(high) else MISSING


def ratio_tick(value: float) -> str:
    """`1×`, `0.5×`: a round ratio, for axes."""
    return f"{value:g}×"


def ratio_box(value: float) -> str:
    """A ratio that fits a box of a heat map: 0.002, 0.95, 1.04, 6.9, 12; most precise near 1, where it matters."""
    if value < 0.0995:  # never 0.00
        return f"{value:.1g}"
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 1.995 else f"{value:.2f}"


def percent(share: float) -> str:
    """`5.1%`, `58%`: a share without its sign. One decimal below 10% and just below 100%."""
    size = abs(100 * share)
    if 99.5 <= size < 100:
        return f"{min(size, 99.9):.1f}%"
    return f"{size:.1f}%" if size < 9.95 else f"{size:,.0f}%" if size < MAX_NUMBER else f"{size:.0e}%"


def whole_percent(share: float) -> str:
    """`35%`: a part of a whole."""
    return f"{100 * share:.0f}%" if math.isfinite(share) else MISSING


def percent_digits(share: float) -> str:
    """`4.10%`: three significant digits."""
    return f"{digits(100 * share)}%"


def round_percent(share: float) -> str:
    """`2.5%`, `5%`: a round share, as somebody chose it."""
    return f"{100 * share:.3g}%"


def count(value: float) -> str:
    """`1,234,567`."""
    return f"{value:,.0f}" if math.isfinite(value) else MISSING


def large_count(value: float) -> str:
    """`1,234`, and `17.1 M` where the number is long."""
    return count(value) if abs(value) < MAX_PLAIN_COUNT else _scaled(value, *_unit(value, PREFIXES))


def energy(joules: float) -> str:
    """`12.3 mJ`."""
    return _scaled(joules, *_unit(joules, ENERGIES))


def rate(value: float, what: str = "") -> str:
    """`12.3 G/s`, or with a unit `51.9 GMAC/s`."""
    size, prefix = _unit(value, PREFIXES)
    return _scaled(value, size, f"{prefix}{what}/s")


def rate_tick(value: float) -> str:
    """`200 M`, `1 G`: a round number per second, for axes."""
    size, prefix = _unit(value, PREFIXES)
    return f"{value / size:g} {prefix}".rstrip()


def quantity(value: float, unit: Unit) -> str:
    """A metric's value with its unit."""
    return FORMATS[unit](value) if math.isfinite(value) else MISSING


def plural(number: int, noun: str) -> str:
    """`1 case`, `1,200 cases`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def memory(size: float) -> str:
    """`33.5 GB`, in powers of 1,000 as torchinfo counts."""
    return _scaled(size, *_unit(size, SIZES))


def millions(value: float) -> str:
    """Millions with two decimals, as torchinfo prints multiply-adds (M) and bytes (MB)."""
    return f"{value / 1e6:,.2f}" if math.isfinite(value) else MISSING


def _unit(value: float, units: tuple[tuple[float, str], ...]) -> tuple[float, str]:
    """The first unit in which the value stays below 1,000 after rounding."""
    return next((unit for unit in units if abs(value) < 999.5 * unit[0]), units[-1])


def _scaled(value: float, size: float, unit: str) -> str:
    return f"{digits(value / size)} {unit}" if math.isfinite(value) else MISSING


FORMATS: dict[Unit, Callable[[float], str]] = {
    "count": large_count,
    "bytes": memory,
    "joules": energy,
    "per second": rate,
    "seconds": duration,
    "times": ratio,
}
