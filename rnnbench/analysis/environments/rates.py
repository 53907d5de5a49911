"""Whether the measured rates of two machines differ."""

from collections.abc import Mapping

from rnnbench.store.ceilings import Rate
from rnnbench.text import printable

MIN_APART = 0.25  # noise leaves that much between the best rates of one machine
Rates = Mapping[tuple[str, str, int], Mapping[str, Rate]]  # (device, dtype, threads) -> name -> rate


def rate_differences(base: Rates, head: Rates, floor: float = MIN_APART) -> list[str]:
    """A clause about the rates that are further apart than both spreads together, and than `floor`; empty if none is.

    Only rates that both sides have are compared. The clause names the one that differs most.
    """
    common = [(place, name) for place in base if place in head for name in base[place] if name in head[place]]
    pairs = {(place, name): (base[place][name], head[place][name]) for place, name in common}
    differ = {key: pair for key, pair in pairs.items() if _apart(*pair) > max(floor, _noise(*pair))}
    if not differ:
        return []
    (place, name), (then, now) = max(differ.items(), key=lambda item: _apart(*item[1]))
    others = len(differ) - 1
    device, dtype, threads = place
    where = f"{device} {dtype}, {threads} {'thread' if threads == 1 else 'threads'}"
    more = f", and {others} other {'rate differs' if others == 1 else 'rates differ'}" if others else ""
    return [printable(f"{name} reach {_text(name, now)} and reached {_text(name, then)} before ({where}){more}")]


def _apart(then: Rate, now: Rate) -> float:
    """The share by which the higher rate exceeds the lower one."""
    return max(then.value, now.value) / min(then.value, now.value) - 1


def _noise(then: Rate, now: Rate) -> float:
    return (1 + then.spread) * (1 + now.spread) - 1


def _text(name: str, rate: Rate) -> str:
    """`127 GMAC/s` for arithmetic, `15.2 GB/s` for reads and copies."""
    giga, unit = rate.value / 1e9, "B" if name.startswith(("reads", "copies")) else "MAC"
    return f"{giga:,.0f} G{unit}/s" if giga >= 100 else f"{giga:.3g} G{unit}/s"
