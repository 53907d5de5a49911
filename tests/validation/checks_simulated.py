"""Checks on a simulated core that is shared: two changed definitions of six cases each, one of which may be slower.

The core is that of `shared_simulated`. New code may respond to sharing otherwise than the old one: the ratio of all
blocks then depends on how often the core was shared, and that of quiet blocks does not.
"""

import math
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import Times, log_ratio, undisturbed_log_ratio
from rnnbench.analysis.pairs import PairRatio
from rnnbench.analysis.verdict import Judged, Trial
from rnnbench.check.check import measure
from rnnbench.store.records import Case, Group
from tests.doubles import workload as small
from tests.validation.noise import START_SECONDS
from tests.validation.shared_simulated import PROCESS_SPREAD, SHARINGS, Machine, Sharing, visit
from tests.validation.verdicts_simulated import MARGIN, OBSERVING_SECONDS, PROCESSES

CASES = 12
FAMILY = 6
VISIT_SECONDS = 0.12  # of a case on both sides
CALL_SECONDS = 2e-4
UNLIKE = 0.1  # the head's response to sharing differs from the base's by up to this factor
SHOWN = (
    "always quiet",
    "quiet 50-90% of a visit",
    "quiet 20-50% of a visit",
    "quiet 10-30% of a visit, bouts of 3 ms",
    "always shared",
)


@dataclass(frozen=True)
class Change:
    """How much slower the head is: the cases of the first definition, or its first case alone."""

    slower: float = 0.0
    cases: int = FAMILY


CHANGES = {
    "nothing slower": Change(),
    "a definition 5% slower": Change(0.05),
    "a definition 10% slower": Change(0.10),
    "one case 10% slower": Change(0.10, 1),
}


class SharedRunner:
    """Draws the pairs of `PairedRunner` on a shared core, and counts its time."""

    def __init__(
        self, rng: random.Random, sharing: Sharing, change: Change, cases: Sequence[Case], *, by_quiet: bool
    ) -> None:
        """`by_quiet`: whether quiet blocks are known; else all cases are judged by all blocks."""
        self.ratios = defaultdict[str, list[PairRatio]](list)
        self.replicates, self.seconds = 0, OBSERVING_SECONDS
        self._rng, self._sharing, self._by_quiet = rng, sharing, by_quiet
        self._of_run = rng.uniform(*sharing.quiet)
        self._logs = {
            case.key: math.log1p(change.slower) if number < change.cases else 0.0 for number, case in enumerate(cases)
        }
        self._responses = {}
        for case in cases:
            response = rng.uniform(*sharing.response)
            self._responses[case.key] = {"base": response, "head": response * (1 + rng.uniform(-UNLIKE, UNLIKE))}

    def replicate(self, groups: Sequence[Group], left: float, on_visit: Callable[[int], None]) -> None:
        """Draw one pair: the ratios of each case of the groups."""
        on_visit(0)
        for group in groups:
            key = group.cases[0].key
            quiet = self._rng.uniform(*self._sharing.quiet) if self._sharing.by == "visit" else self._of_run
            head = CALL_SECONDS * math.exp(self._logs[key] + self._rng.gauss(0, PROCESS_SPREAD))
            machine = Machine(self._rng, quiet, self._sharing.bout)
            times = visit(machine, {"base": CALL_SECONDS, "head": head}, self._responses[key])
            self.ratios[key].append(self._ratio(times["base"], times["head"], quiet))
        self.replicates += 1
        self.seconds += self.expected_seconds(groups)

    def _ratio(self, base: Times, head: Times, quiet: float) -> PairRatio:
        low, _ = undisturbed_log_ratio(head, base) if self._by_quiet else (math.nan, 0)
        mean = math.nan
        if math.isfinite(low) and base.quiet is not None and head.quiet is not None:
            mean = math.log(head.quiet.mean / base.quiet.mean)
        of_all = log_ratio(head, base), math.log(head.mean / base.mean)
        return PairRatio(self.replicates, *of_all, low, mean, pulses=1000, quiet_pulses=round(1000 * quiet))

    def expected_seconds(self, groups: Sequence[Group]) -> float:
        """Seconds that a pair takes."""
        return START_SECONDS + VISIT_SECONDS * len(groups)

    def failed(self, case: Case) -> bool:
        """No case fails."""
        return False


def one_check(
    rng: random.Random, sharing: Sharing, change: Change, budget_seconds: float, *, by_quiet: bool, by_family: bool
) -> tuple[list[Judged], list[int], float]:
    """One check: what it says of each case, how many pairs each took, and the seconds of all."""
    cases = [small.case("vanilla", batch_size=number + 1) for number in range(CASES)]
    groups = [Group(case.workload, (case,)) for case in cases]
    runner: Any = SharedRunner(rng, sharing, change, cases, by_quiet=by_quiet)
    keys = [case.key for case in cases]
    shared = {"slow": keys[:FAMILY], "same": keys[FAMILY:]} if by_family else {}
    trial = Trial(dict.fromkeys(keys, MARGIN), families=shared)
    measure(runner, groups, trial, budget_seconds, lambda step: None)
    judged = trial.verdicts()
    return [judged[key] for key in keys], [len(runner.ratios[key]) for key in keys], runner.seconds


def error_rates(suites: int, budget_seconds: float = 60.0) -> pd.DataFrame:
    """One row for each way of sharing, change and way of judging."""
    ways = [(False, False), (True, False), (True, True)]
    kinds = [(sharing, change, *way) for sharing in SHOWN for change in CHANGES for way in ways]
    with ProcessPoolExecutor(PROCESSES) as pool:
        return pd.DataFrame(list(pool.map(partial(_row, suites, budget_seconds), *zip(*kinds, strict=True))))


def _row(
    suites: int, budget_seconds: float, sharing: str, name: str, by_quiet: bool, by_family: bool
) -> dict[str, Any]:
    rng, change = random.Random(f"{sharing} {name}"), CHANGES[name]
    checks = [
        one_check(rng, SHARINGS[sharing], change, budget_seconds, by_quiet=by_quiet, by_family=by_family)
        for _ in range(suites)
    ]
    words = np.array([[judged.verdict for judged in check[0]] for check in checks])
    pairs = np.array([check[1] for check in checks])
    slow = np.arange(CASES) < (change.cases if change.slower else 0)
    found = words[:, slow] == "regressed"
    undisturbed = np.mean([[judged.state == "undisturbed" for judged in check[0]] for check in checks])
    return {
        "the core is": sharing,
        "truth": name,
        "judged by": f"{'quiet' if by_quiet else 'all'} blocks, {'cases and families' if by_family else 'cases'}",
        "checks": suites,
        "median seconds": float(np.median([check[2] for check in checks])),
        "undisturbed": undisturbed,
        "decided": float((words != "undecided").mean()),
        "checks with a false alarm": float(np.isin(words[:, ~slow], ["regressed", "improved"]).any(axis=1).mean()),
        "slower: found": float(found.mean()) if slow.any() else math.nan,
        "slower: found in 5 pairs": float((found & (pairs[:, slow] <= 5)).mean()) if slow.any() else math.nan,
        "slower: found in 6 pairs": float((found & (pairs[:, slow] <= 6)).mean()) if slow.any() else math.nan,
    }
