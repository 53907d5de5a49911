"""Checks on a simulated core that is shared: two changed definitions of six cases each, one of which may be slower.

The core is that of `shared_simulated`. New code may respond to sharing otherwise than the old one: the ratio of all
blocks then depends on how often the core was shared, and that of quiet blocks does not. Pairs of workers are simulated
once for each way of sharing, call by call, and suites then draw their cases and pairs from these. What all cases of a
pair have in common is added, with tails that no test assumes.
"""

import itertools
import math
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.analysis.pairs import PairRatio
from rnnbench.analysis.replicate_times import Times, log_ratio, undisturbed_log_ratio
from rnnbench.analysis.verdict import Judged, Trial
from rnnbench.check.looks import measure
from rnnbench.store.records import Case, Group
from tests.doubles import workload as small
from tests.validation.noise import START_SECONDS
from tests.validation.shared_simulated import NONE, PROCESS_SPREAD, SHARINGS, Machine, Sharing, SomeCalls, visit
from tests.validation.verdicts_simulated import MARGIN, OBSERVING_SECONDS, PROCESSES

CASES = 12
FAMILY = 6
VISIT_SECONDS = 0.12  # of a case on both sides
CALL_SECONDS = 2e-4
UNLIKE = 0.1  # the head's response to sharing differs from the base's by up to this factor
IN_COMMON = 0.002  # spread of what the cases of a pair share, Student's t with three degrees of freedom
POOL_CASES, POOL_PAIRS = 24, 30  # that are simulated for each way of sharing
OF_ALL, OF_QUIET = ("low", "mean"), ("quiet_low", "quiet_mean")  # fields of `PairRatio`
SHOWN = (
    "always quiet",
    "quiet 50-90% of a visit",
    "quiet 20-50% of a visit",
    "quiet 10-30% of a visit, bouts of 3 ms",
    "always shared",
)
QUIET_AT_TIMES = SHOWN[:3]
Pool = Sequence[Sequence[PairRatio]]  # of each case, its pairs


@dataclass(frozen=True)
class Change:
    """How much slower the head is: the cases of the first definition, or its first case alone."""

    slower: float = 0.0  # of all calls
    cases: int = FAMILY
    some: SomeCalls = NONE


CHANGES = {
    "nothing slower": Change(),
    "a definition 5% slower": Change(0.05),
    "a definition 10% slower": Change(0.10),
    "one case 10% slower": Change(0.10, 1),
    "every tenth call of a definition 50% slower": Change(some=SomeCalls(0.1, 1.5)),
    "one call in 100 of a definition takes 20 times as long": Change(some=SomeCalls(0.01, 20.0)),
}


def pool_of(sharing: Sharing, some: SomeCalls, seed: str, cases: int, pairs: int) -> Pool:
    """Simulate pairs of cases whose head is as fast as their base, but for some calls."""
    rng = random.Random(f"{sharing} {some} {seed}")
    pool = []
    for _ in range(cases):
        response = rng.uniform(*sharing.response)
        responses = {"base": response, "head": response * (1 + rng.uniform(-UNLIKE, UNLIKE))}
        pool.append([_pair(rng, sharing, responses, some) for _ in range(pairs)])
    return pool


def _pair(rng: random.Random, sharing: Sharing, responses: dict[str, float], some: SomeCalls) -> PairRatio:
    quiet = rng.uniform(*sharing.quiet)
    machine = Machine(rng, quiet, sharing.bout, sharing.stalls)
    costs = {"base": CALL_SECONDS, "head": CALL_SECONDS * math.exp(rng.gauss(0, PROCESS_SPREAD))}
    times = visit(machine, costs, responses, {"head": some})
    return _ratio(times["base"], times["head"], quiet)


def _ratio(base: Times, head: Times, quiet: float) -> PairRatio:
    of_all = log_ratio(head, base), math.log(head.mean / base.mean)
    ratio = PairRatio(0, *of_all, pulses=1000, quiet_pulses=round(1000 * quiet))
    low, counted = undisturbed_log_ratio(head, base)
    if not counted or head.quiet is None or base.quiet is None:
        return ratio
    return replace(ratio, quiet_low=low, quiet_mean=math.log(head.quiet.mean / base.quiet.mean))


def centred(pool: Pool, *, is_equal: bool) -> Pool:
    """Return a pool whose cases all have the pool's means over quiet blocks: zero if both sides are equally fast.

    Few pairs of a case differ from these by chance. Its means over all blocks stay: they depend on its responses.
    """
    quiet_ratios = [ratio for pairs in pool for ratio in pairs if ratio.is_quiet]
    names = OF_QUIET if quiet_ratios else ()
    means = {name: 0.0 if is_equal else fmean(getattr(ratio, name) for ratio in quiet_ratios) for name in names}
    result = []
    for pairs in pool:
        quiet = [ratio for ratio in pairs if ratio.is_quiet]
        shift = {name: means[name] - fmean(getattr(ratio, name) for ratio in quiet) for name in OF_QUIET if quiet}
        result.append([moved(ratio, shift) for ratio in pairs])
    return result


def moved(ratio: PairRatio, by: Mapping[str, float]) -> PairRatio:
    """Return the ratio with some logarithms shifted."""
    return replace(ratio, **{name: getattr(ratio, name) + shift for name, shift in by.items()})


class SharedRunner:
    """Draws the pairs of `PairedRunner` from what was simulated of a shared core, and counts its time."""

    def __init__(
        self, rng: np.random.Generator, equal: Pool, slower: Pool, change: Change, cases: Sequence[Case]
    ) -> None:
        """`equal`, `slower`: pools of cases that are as fast as before, and of those that the change slows."""
        self.ratios = defaultdict[str, list[PairRatio]](list)
        self.replicates, self.seconds = 0, OBSERVING_SECONDS
        self._rng = rng
        self._pairs: dict[str, Sequence[PairRatio]] = {}
        self._logs: dict[str, float] = {}
        for number, case in enumerate(cases):
            is_slower = number < change.cases
            pool = slower if is_slower else equal
            self._pairs[case.key] = pool[int(rng.integers(len(pool)))]
            self._logs[case.key] = math.log1p(change.slower) if is_slower else 0.0

    def replicate(self, groups: Sequence[Group], left: float, on_visit: Callable[[int], None]) -> None:
        """Draw one pair: the ratios of each case of the groups."""
        on_visit(0)
        common = IN_COMMON * float(self._rng.standard_t(3)) / math.sqrt(3)
        for group in groups:
            key = group.cases[0].key
            pairs = self._pairs[key]
            ratio = pairs[int(self._rng.integers(len(pairs)))]
            ratio = moved(ratio, dict.fromkeys((*OF_ALL, *OF_QUIET), self._logs[key] + common))
            self.ratios[key].append(replace(ratio, pair=self.replicates))
        self.replicates += 1
        self.seconds += self.expected_seconds(groups)

    def expected_seconds(self, groups: Sequence[Group]) -> float:
        """Seconds that a pair takes."""
        return START_SECONDS + VISIT_SECONDS * len(groups)

    def failed(self, case: Case) -> bool:
        """No case fails."""
        return False


def one_check(
    rng: np.random.Generator, equal: Pool, slower: Pool, change: Change, budget_seconds: float
) -> tuple[list[Judged], float]:
    """One check: what it says of each case, and its seconds."""
    cases = [small.case("vanilla", batch_size=number + 1) for number in range(CASES)]
    groups = [Group(case.workload, (case,)) for case in cases]
    runner: Any = SharedRunner(rng, equal, slower, change, cases)
    keys = [case.key for case in cases]
    trial = Trial(dict.fromkeys(keys, MARGIN), families={"slow": keys[:FAMILY], "same": keys[FAMILY:]})
    measure(runner, groups, trial, budget_seconds, lambda step: None)
    judged = trial.verdicts()
    return [judged[key] for key in keys], runner.seconds


def kinds() -> list[tuple[str, str]]:
    """Return the rows of the table: how the core is shared, and what is slower."""
    of_all = [name for name, change in CHANGES.items() if change.some == NONE]
    of_some = [name for name, change in CHANGES.items() if change.some != NONE]
    return [*itertools.product(SHOWN, of_all), *itertools.product(QUIET_AT_TIMES, of_some)]


def error_rates(suites: int, budget_seconds: float = 60.0, *, cases: int = POOL_CASES) -> pd.DataFrame:
    """One row for each way of sharing and change; `cases`: of each pool."""
    rows = kinds()
    wanted = list(dict.fromkeys((sharing, some) for sharing, name in rows for some in (NONE, CHANGES[name].some)))
    with ProcessPoolExecutor(PROCESSES) as pool:
        simulated = pool.map(_named_pool, *zip(*wanted, strict=True), [cases] * len(wanted))
        pools = dict(zip(wanted, simulated, strict=True))
        chosen = [(pools[sharing, NONE], pools[sharing, CHANGES[name].some]) for sharing, name in rows]
        made = pool.map(partial(_row, suites, budget_seconds), *zip(*rows, strict=True), *zip(*chosen, strict=True))
        return pd.DataFrame(list(made))


def _named_pool(sharing: str, some: SomeCalls, cases: int) -> Pool:
    pool = pool_of(SHARINGS[sharing], some, "pool", cases, POOL_PAIRS)
    return centred(pool, is_equal=some == NONE)


def _row(suites: int, budget_seconds: float, sharing: str, name: str, equal: Pool, slower: Pool) -> Any:
    rng, change = np.random.default_rng([*f"{sharing} {name}".encode()]), CHANGES[name]
    checks = [one_check(rng, equal, slower, change, budget_seconds) for _ in range(suites)]
    words = np.array([[judged.verdict for judged in check[0]] for check in checks])
    is_slow = np.arange(CASES) < (0 if change == CHANGES["nothing slower"] else change.cases)
    others, slow = words[:, ~is_slow], words[:, is_slow]
    row = {
        "the core is": sharing,
        "truth": name,
        "checks": suites,
        "median seconds": float(np.median([check[1] for check in checks])),
        "undisturbed": np.mean([[judged.state == "undisturbed" for judged in check[0]] for check in checks]),
        "decided": float((words != "undecided").mean()),
        "checks with a false alarm": float(np.isin(others, ["regressed", "improved"]).any(axis=1).mean()),
        "equal: unchanged": float((others == "unchanged").mean()),
    }
    if not is_slow.any():
        return row
    return row | {
        "slower: found": float((slow == "regressed").mean()),
        "slower: unchanged": float((slow == "unchanged").mean()),
    }
