"""`python -m tests.validation faults`: runs that are killed, and what they lose.

Everything is real: the command line, its workers and the signals. Each fault comes at random times from a
fixed seed, spread evenly over the whole life of the command.
"""

import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from tests.validation.faults import kills
from tests.validation.faults.command import Outcome

SEED = 11
FAULTS: dict[str, tuple[int, Callable[[Path, int, int], Iterator[Outcome]]]] = {  # name -> number of times, function
    "coordinator killed": (200, kills.coordinator),
    "worker killed": (200, kills.workers),
}


def faults(share: float = 1.0) -> pd.DataFrame:
    """One row for each kind of fault and stage in which it came; `share`: part of the full number of times."""
    outcomes: list[Outcome] = []
    for name, (times, make) in FAULTS.items():
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            for number, outcome in enumerate(make(Path(folder), max(1, round(times * share)), SEED), 1):
                outcomes.append(outcome)
                text = "; ".join(outcome.wrong) or "well"
                print(f"{name} {number}: {outcome.stage}: {text}", file=sys.stderr, flush=True)
    return _table(outcomes)


def _table(outcomes: list[Outcome]) -> pd.DataFrame:
    rows = []
    for (fault, stage), members in itertools.groupby(sorted(outcomes, key=_place), _place):
        group = list(members)
        rows.append(
            {
                "fault": fault,
                "when": stage,
                "times": len(group),
                "windows before": sum(outcome.windows for outcome in group),
                "windows lost": sum(outcome.lost for outcome in group),
                "windows doubled": sum(outcome.doubled for outcome in group),
                "not as it should be": sum(bool(outcome.wrong) for outcome in group),
                "what": "; ".join(dict.fromkeys(text for outcome in group for text in outcome.wrong)),
            }
        )
    return pd.DataFrame(rows)


def _place(outcome: Outcome) -> tuple[str, str]:
    return outcome.fault, outcome.stage
