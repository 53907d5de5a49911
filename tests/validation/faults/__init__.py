"""`python -m tests.validation faults`: runs that are killed, interrupted, or find no room, and what was lost.

Everything is real: the command line, its workers, the signals and the disks. Each fault comes at times that are spread
evenly over the whole life of the command, drawn from a fixed seed.
"""

import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from tests.validation.faults import clocks, disks, interrupts, kills, misbehaving, stopped, together
from tests.validation.faults.outcome import Outcome

SEED = 11
FAULTS: dict[str, tuple[int, Callable[[Path, int, int], Iterator[Outcome]]]] = {  # how many times, and what does it
    "coordinator killed": (200, kills.coordinator),
    "worker killed": (200, kills.workers),
    "Ctrl-C": (200, interrupts.interrupts),
    "full disk": (30, disks.full),
    "no room for temporary files": (3, disks.no_temporary),
    "read-only folder": (3, disks.read_only),
    "clock that jumps": (6, clocks.jumps),
    "the same run resumed twice at once": (10, together.twice),
    "cell that misbehaves": (2 * len(misbehaving.DEEDS), misbehaving.cells),
    "command that is stopped and goes on": (40, stopped.stops),
}


def faults(share: float = 1.0, only: str = "") -> pd.DataFrame:
    """One row for each kind of fault and the stage in which it came; `share` of the full number of times."""
    found: list[Outcome] = []
    for name, (times, make) in FAULTS.items():
        if only not in name:
            continue
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            for number, outcome in enumerate(make(Path(folder), max(1, round(times * share)), SEED), 1):
                found.append(outcome)
                said = "; ".join(outcome.wrong) or "well"
                print(f"{name} {number}: {outcome.stage}: {said}", file=sys.stderr, flush=True)
    return _table(found)


def _table(found: list[Outcome]) -> pd.DataFrame:
    rows = []
    for (fault, stage), members in itertools.groupby(sorted(found, key=_place), _place):
        group = list(members)
        rows.append(
            {
                "fault": fault,
                "when": stage,
                "times": sum(not one.skipped for one in group),
                "windows before": sum(one.windows for one in group),
                "windows lost": sum(one.lost for one in group),
                "windows doubled": sum(one.doubled for one in group),
                "not as it should be": sum(bool(one.wrong) for one in group),
                "what": "; ".join(dict.fromkeys(text for one in group for text in (*one.wrong, one.skipped) if text)),
            }
        )
    return pd.DataFrame(rows)


def _place(outcome: Outcome) -> tuple[str, str]:
    return outcome.fault, outcome.stage
