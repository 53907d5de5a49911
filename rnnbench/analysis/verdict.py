"""Verdicts: what the tests of all cases together say about each.

For each case two ratios of head to base are judged: that of a low quantile of the calls, which is precise, and that of
their mean, which also shows what slows only some calls. `regressed` is a rejection of `ratio <= 1 + margin` for one of
the two, `improved` one of `ratio >= 1 / (1 + margin)`; `unchanged` says that both intervals lie inside the margin.

How the error rate is split. Each of the two ratios gets half of a case's. Over the looks at growing data it is spent in
the shares `spent` of `Trial.look`: a p-value is divided by its look's share, and the smallest so far counts, which
keeps it a valid p-value whenever the checking stops (Bonferroni over looks; tests that correlate only make it smaller).
Over cases, Benjamini & Hochberg 1995 at q = 0.01, which holds on average over many checks and not for each of them: of
the cases called regressed, at most one in a hundred is not; where nothing regressed, at most one check in a hundred has
a false alarm.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from scipy import stats

from rnnbench.analysis.estimate import Estimate, as_ratio
from rnnbench.analysis.location import Location, locations

Verdict = Literal["regressed", "improved", "unchanged", "inconclusive", "incomparable"]
Q = 0.01
CONFIDENCE = 0.95  # of the two-sided intervals, over all looks
UNKNOWN = Estimate(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Judged:
    """One case: its verdict, and both ratios with the intervals that it rests on, as values and not logarithms."""

    verdict: Verdict
    low: Estimate
    mean: Estimate


@dataclass
class Evidence:
    """What is known about one case so far."""

    p_slower: float = 1.0
    p_faster: float = 1.0
    low: Estimate = UNKNOWN  # of the logarithm
    mean: Estimate = UNKNOWN
    is_inside: bool = False  # the intervals of the last look lie inside the margin


@dataclass
class Trial:
    """The cases of a suite, judged at one or several looks at growing data."""

    margins: Mapping[str, float]  # case -> how much slower is too slow: 0.025
    evidence: dict[str, Evidence] = field(default_factory=dict)

    def look(self, case: str, low: Location, mean: Location, spent: float = 1.0) -> None:
        """Add a look at where a case's log-ratios lie; `spent`: share of the error rate, at most 1 over all looks."""
        edge = math.log1p(self.margins[case])
        known = self.evidence.setdefault(case, Evidence())
        known.p_slower = min(known.p_slower, 2 / spent * min(location.p_above(edge) for location in (low, mean)))
        known.p_faster = min(known.p_faster, 2 / spent * min(location.p_below(-edge) for location in (low, mean)))
        known.low, known.mean = (location.interval(1 - (1 - CONFIDENCE) * spent) for location in (low, mean))
        known.is_inside = all(-edge < log.lower and log.upper < edge for log in (known.low, known.mean))

    def verdicts(self) -> dict[str, Judged]:
        """Each case's verdict from what is known so far."""
        slower = _rejected({case: known.p_slower for case, known in self.evidence.items()})
        faster = _rejected({case: known.p_faster for case, known in self.evidence.items()})
        return {
            case: Judged(
                _verdict(case in slower, case in faster, known.is_inside), as_ratio(known.low), as_ratio(known.mean)
            )
            for case, known in self.evidence.items()
        }

    def decided(self) -> set[str]:
        """The cases that need no more data."""
        return {case for case, judged in self.verdicts().items() if judged.verdict != "inconclusive"}


def located(logs: Mapping[str, Sequence[float] | np.ndarray]) -> dict[str, Location]:
    """The location of each case's log-ratios."""
    return dict(zip(logs, locations(list(logs.values())), strict=True))


def _rejected(p_values: Mapping[str, float]) -> set[str]:
    """The hypotheses that Benjamini & Hochberg's procedure rejects at Q."""
    if not p_values:
        return set()
    adjusted = stats.false_discovery_control(list(p_values.values()))
    return {case for case, value in zip(p_values, adjusted, strict=True) if value <= Q}


def _verdict(is_slower: bool, is_faster: bool, is_inside: bool) -> Verdict:
    # A case may be faster in one ratio and slower in the other; then it is slower.
    if is_slower:
        return "regressed"
    if is_faster:
        return "improved"
    return "unchanged" if is_inside else "inconclusive"
