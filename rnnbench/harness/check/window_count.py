"""How many windows each case gets in a pair of workers: what a window costs and tells, against a fresh pair.

A pair costs the start of two processes and the preparation of its cases, whatever is timed in it. If windows of a pair
differ much and pairs little, more windows are the cheaper way to a precise answer; if pairs differ, more pairs are
(Kalibera & Jones 2013, doi:10.1145/2491894.2464160). And a verdict takes several pairs at least: where these are
precise enough with few windows, more windows only make it later.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from rnnbench.harness.check.looks import MIN_PAIRS_FOR_UNCHANGED
from rnnbench.store.records import Window

MIN_WINDOWS = 2  # of each case and side; an even number, so that the order of turns is balanced
MAX_WINDOWS = 4  # with more, a minute has so few pairs that their spread is hardly known
EXPECTED_SPREAD = 0.007  # of a case's log-ratio from pair to pair, until there are two pairs
ERRORS_IN_MARGIN = 3.0  # standard errors of a mean over pairs that fit into the margin if a case is `unchanged`
MIN_SHARE = 0.1  # of the variance of a pair's result that is taken to be that of pairs: it is not known precisely


@dataclass
class WindowVariances:
    """How log-ratios of head to base vary from window to window within a pair, and from pair to pair."""

    within: dict[str, list[float]] = field(default_factory=dict)  # case -> variance of windows in each pair
    results: dict[str, list[float]] = field(default_factory=dict)  # case -> mean of its windows in each pair
    of_results: dict[str, list[float]] = field(default_factory=dict)  # case -> what windows add to that mean's variance

    def add(self, windows: Mapping[str, Sequence[Window]]) -> None:
        """Add the windows of a visit, by side; both sides have equally many of each case."""
        by_case: dict[str, dict[str, list[float]]] = {}
        for side, own in windows.items():
            for window in own:
                logs = by_case.setdefault(window.case, {}).setdefault(side, [])
                logs.append(math.log(window.seconds / window.calls))
        for case, sides in by_case.items():
            differences = np.subtract(sides["head"], sides["base"])
            variance = float(differences.var(ddof=1))
            self.within.setdefault(case, []).append(variance)
            self.results.setdefault(case, []).append(float(differences.mean()))
            self.of_results.setdefault(case, []).append(variance / len(differences))

    def spread(self, cases: Iterable[str]) -> "Spread":
        """The variances of these cases, each the median over them; nothing varies before the first pair."""
        known = [case for case in cases if case in self.results]
        if not known:
            return Spread(0.0, 0.0)
        within = float(np.median([np.mean(self.within[case]) for case in known]))
        several = [case for case in known if len(self.results[case]) > 1]
        if not several:
            return Spread(within, EXPECTED_SPREAD**2)
        results = float(np.median([np.var(self.results[case], ddof=1) for case in several]))
        added = float(np.median([np.mean(self.of_results[case]) for case in several]))
        return Spread(within, max(results - added, MIN_SHARE * results))


@dataclass(frozen=True)
class Spread:
    """Variances of a case's log-ratio of head to base."""

    windows: float  # within a pair
    pairs: float  # of what all windows of a pair have in common


def window_count(spread: Spread, margin: float, pair_seconds: float, window_seconds: float) -> int:
    """The number of windows of each case and side with which `unchanged` is expected soonest.

    `margin`: a relative change; `pair_seconds`: of a pair for each case, without windows; `window_seconds`: of a window
    on both sides.
    """
    if not (spread.windows > 0 and margin > 0 and pair_seconds > 0 and window_seconds > 0):
        return MIN_WINDOWS

    def seconds(windows: int) -> float:
        error = math.sqrt(spread.pairs + spread.windows / windows)
        pairs = max(MIN_PAIRS_FOR_UNCHANGED, (ERRORS_IN_MARGIN * error / math.log1p(margin)) ** 2)
        return pairs * (pair_seconds + windows * window_seconds)

    return min(range(MIN_WINDOWS, MAX_WINDOWS + 1, 2), key=seconds)
