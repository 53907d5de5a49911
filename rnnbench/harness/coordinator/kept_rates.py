"""The rates of this machine, which runs measure until they can be believed, and then take from the user's cache.

On a core that is shared all the time, two runs agree on rates that are too low: there pulses decide.
"""

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnbench.errors import UserError
from rnnbench.harness.devices import is_shared
from rnnbench.harness.machine import variables
from rnnbench.harness.machine.cores import allowed_cores, cpu_limit, processor
from rnnbench.store.ceilings import Ceiling
from rnnbench.store.user_cache import CacheFile

MAX_APART = 0.05  # of two measurements of a rate that agree
# Of the pulses before and after: each rate is the best of many tries, so some of them have the core to themselves.
MOSTLY_QUIET = 0.7
MEASURED_BY = [  # code whose change makes other rates
    Path(__file__).parents[1] / "worker" / name for name in ("ceilings.py", "kernels.c")
]


def agree(before: Ceiling, now: Ceiling) -> bool:
    """Return True if two runs have measured the same rates, so that later ones need not measure them again.

    Noise that comes and goes makes two measurements differ.
    """
    if before.rates.keys() != now.rates.keys():
        return False
    pairs = [(before.rates[name].value, now.rates[name].value) for name in before.rates]
    pairs.append((before.dispatch_seconds, now.dispatch_seconds))
    return all(max(pair) <= (1 + MAX_APART) * min(pair) for pair in pairs)


@dataclass(frozen=True)
class Kept:
    """The best rates of one place that runs have measured so far."""

    ceiling: Ceiling
    agrees: (
        bool  # the last measurement was made on a quiet core or, where pulses can't tell, agreed with the one before
    )


class KeptRates:
    """The rates of this machine for one Python and torch, in a file for each place of the processor.

    A GPU's rates depend on its clocks, so they are measured in each run.
    """

    def __init__(self, folder: Path | None, software: Mapping[str, Any]) -> None:
        """`folder`: of the user's cache, None if there is none; `software`: what the first worker said of itself."""
        versions = {name: software.get(name) for name in ("python", "torch")}
        self._folder = folder if all(versions.values()) else None
        self._about = {
            "processor": processor().to_json(),
            "host": platform.node(),
            "cores": allowed_cores(),
            "limit": cpu_limit(),
            "variables": variables.settings(),
            "code": [hashlib.sha256(file.read_bytes()).hexdigest() for file in MEASURED_BY],
            **versions,
        }

    def ceiling_at(self, place: tuple[str, str, int]) -> Ceiling | None:
        """Return the rates of a place if they can be believed."""
        entry = self._read(place)
        return entry.ceiling if entry is not None and entry.agrees else None

    def keep(self, measured: Ceiling, quiet_share: float | None = None) -> Ceiling:
        """Keep what a run has measured at its beginning; returns the best of this and of what was kept before.

        `quiet_share`: of the pulses around it; None where pulses can't tell.
        """
        before = self._read(measured.place)
        best = measured if before is None else before.ceiling.joined(measured)
        if quiet_share is None:
            is_believed = before is not None and agree(before.ceiling, measured)
        else:
            is_believed = quiet_share >= MOSTLY_QUIET
        self._write(Kept(best, is_believed))
        return best

    def correct(self, seen: Ceiling) -> None:
        """Doubt the kept rates of a place if a run has seen a higher rate: the next run measures again."""
        entry = self._read(seen.place)
        if entry is None:
            return
        kept_values = entry.ceiling.rates
        rates = [(kept_values[name].value, rate.value) for name, rate in seen.rates.items() if name in kept_values]
        if any(now > (1 + MAX_APART) * then for then, now in rates):
            self._write(Kept(entry.ceiling.joined(seen), agrees=False))

    def _file(self, place: tuple[str, str, int]) -> CacheFile:
        folder = self._folder if is_shared(place[0]) else None
        return CacheFile(folder, "rates", {"place": place, **self._about})

    def _read(self, place: tuple[str, str, int]) -> Kept | None:
        """Return the kept rates of a place; None if there are none, or if they can't be read."""
        content = self._file(place).read()
        try:
            entry = Kept(Ceiling.from_json(content["ceiling"]), content["agrees"] is True)
        except (UserError, KeyError):  # of another version, or cut off: it is measured again
            return None
        return entry if entry.ceiling.place == place else None

    def _write(self, entry: Kept) -> None:
        self._file(entry.ceiling.place).write({"ceiling": entry.ceiling.to_json(), "agrees": entry.agrees})
