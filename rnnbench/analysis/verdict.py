"""Verdicts: what the tests of all cases together say about each.

For each case two ratios of head to base are judged: that of the typical call, which is precise, and that of
their mean, which also shows what slows only some calls. `regressed` is a rejection of `ratio <= 1 + margin` for one of
the two, `improved` one of `ratio >= 1 / (1 + margin)`; `unchanged` says that both intervals of a look lie inside the
margin.

How the error rate is split. Each of the two ratios gets half of a case's. Over the looks at growing data it is spent in
the shares `spent` of `Trial.look`: a p-value is divided by its look's share, and the smallest so far counts, which
keeps it a valid p-value whenever the checking stops (Bonferroni over looks; tests that correlate only make it smaller).
`unchanged` spends nothing: what counts is that a case beyond the margin is not called so at any look. With intervals
at `LOOK_CONFIDENCE` that happens to a slowdown of 3% in at most 0.5% of cases, and the last intervals, which are
shown, hold the true ratios in 96% of cases or more (`tests/validation/verdicts_simulated.py`). Slow modes limit this:
if only a share of the processes is slow, all pairs so far may be fast ones by chance, and look as if nothing had
changed. A check therefore calls nothing `unchanged` on few pairs, and asks that the interval of the typical call
without trimming lies inside the margin, too. Even so the 0.5% can't be kept: if half of the processes are slow, 1% of
such cases are called `unchanged`, and eight pairs miss a mode of 30% of the processes in 6%.

Over cases, Benjamini & Hochberg 1995 at q = 0.01, which holds on average over many checks and not for each of them: of
the cases called regressed, at most one in a hundred is not; where nothing regressed, at most one check in a hundred
reports a regression. `improved` has an error rate of its own of the same size.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from scipy import stats

from rnnbench.analysis.estimate import MIN_TO_TRIM, UNKNOWN, Estimate, Location, as_ratio, locations

Verdict = Literal["regressed", "improved", "unchanged", "undecided", "incomparable"]
OLDER_WORDS = {"inconclusive": "undecided"}  # of verdicts, in files that older versions wrote
CHANGED: tuple[Verdict, ...] = ("regressed", "improved")  # the verdicts that the time, or a count, has changed
RatioName = Literal["low", "mean"]
Q = 0.01
CONFIDENCE = 0.95  # of the two-sided intervals of a single look
LOOK_CONFIDENCE = 0.99  # of those of each look, if there are several


@dataclass(frozen=True)
class Judged:
    """One case: its verdict, and both ratios with the intervals that it rests on, as values and not logarithms.

    `decided_by` is the ratio whose test gave `regressed` or `improved`; None for other verdicts. Its interval lies
    beyond the margin.
    """

    verdict: Verdict
    low: Estimate
    mean: Estimate
    decided_by: RatioName | None = None

    @property
    def deciding(self) -> Estimate:
        """The ratio that describes the verdict: the one that decided it, or the typical call."""
        return self.mean if self.decided_by == "mean" else self.low


@dataclass(frozen=True)
class Rejection:
    """The smallest p-value that one ratio has had so far, and both ratios at the look that gave it, as logarithms."""

    p: float = 1.0
    low: Estimate = UNKNOWN
    mean: Estimate = UNKNOWN


def _untested() -> dict[RatioName, Rejection]:
    return {"low": Rejection(), "mean": Rejection()}


@dataclass
class Evidence:
    """What is known about one case so far."""

    slower: dict[RatioName, Rejection] = field(default_factory=_untested)
    faster: dict[RatioName, Rejection] = field(default_factory=_untested)
    low: Estimate = UNKNOWN  # of the logarithm, at the last look
    mean: Estimate = UNKNOWN
    is_inside: bool = False  # all that `unchanged` needs lies inside the margin at the last look


@dataclass
class Trial:
    """The cases of a suite, judged at one or several looks at growing data."""

    margins: Mapping[str, float]  # case -> how much slower is too slow: 0.025
    evidence: dict[str, Evidence] = field(default_factory=dict)

    def look(
        self,
        case: str,
        low: Location,
        mean: Location,
        spent: float = 1.0,
        *,
        confidence: float = CONFIDENCE,
        whole_low: Location | None = None,
        may_be_unchanged: bool = True,
    ) -> None:
        """Add a look at where a case's log-ratios lie.

        `spent`: share of the error rate, at most 1 over all looks; `confidence`: of the intervals. `whole_low`: `low`
        with no replicate left out; if it is given, `unchanged` needs its interval inside the margin, too.
        """
        edge = math.log1p(self.margins[case])
        known = self.evidence.setdefault(case, Evidence())
        known.low, known.mean = (location.interval(confidence) for location in (low, mean))
        locations: dict[RatioName, Location] = {"low": low, "mean": mean}
        for ratio, location in locations.items():
            for tests, p in ((known.slower, location.p_above(edge)), (known.faster, location.p_below(-edge))):
                tests[ratio] = min(
                    tests[ratio], Rejection(2 / spent * p, known.low, known.mean), key=lambda test: test.p
                )
        needed = [known.low, known.mean, *([whole_low.interval(confidence)] if whole_low else [])]
        known.is_inside = may_be_unchanged and all(-edge < log.lower and log.upper < edge for log in needed)

    def verdicts(self) -> dict[str, Judged]:
        """Each case's verdict from what is known so far."""
        slower = _largest_rejected({case: _smallest(known.slower) for case, known in self.evidence.items()})
        faster = _largest_rejected({case: _smallest(known.faster) for case, known in self.evidence.items()})
        return {case: _judged(known, slower, faster) for case, known in self.evidence.items()}

    def decided(self) -> set[str]:
        """The cases that need no more data."""
        return {case for case, judged in self.verdicts().items() if judged.verdict != "undecided"}


def share_of_look(number: int) -> float:
    """The share of the error rate that a look may spend, for looks 1, 2, 3, ...: all shares sum to 1."""
    return 1 / (number * (number + 1))


def located(logs: Mapping[str, Sequence[float] | np.ndarray], min_to_trim: int = MIN_TO_TRIM) -> dict[str, Location]:
    """The location of each case's log-ratios; with fewer than `min_to_trim` of them, none is left out."""
    return dict(zip(logs, locations(list(logs.values()), min_to_trim), strict=True))


def _smallest(tests: Mapping[RatioName, Rejection]) -> float:
    return min(test.p for test in tests.values())


def _largest_rejected(p_values: Mapping[str, float]) -> float:
    """The largest p-value that Benjamini & Hochberg's procedure rejects at Q; negative if it rejects none."""
    values = list(p_values.values())
    adjusted = stats.false_discovery_control(values)
    return max((value for value, level in zip(values, adjusted, strict=True) if level <= Q), default=-1.0)


def _judged(known: Evidence, slower: float, faster: float) -> Judged:
    """The verdict of one case; p-values up to `slower` and `faster` are rejected."""
    # A case may be faster in one ratio and slower in the other; then it is slower.
    if _smallest(known.slower) <= slower:
        return _rejected("regressed", known.slower, slower)
    if _smallest(known.faster) <= faster:
        return _rejected("improved", known.faster, faster)
    return Judged("unchanged" if known.is_inside else "undecided", as_ratio(known.low), as_ratio(known.mean))


def _rejected(verdict: Verdict, tests: Mapping[RatioName, Rejection], largest: float) -> Judged:
    """The verdict with the ratio that decided it, and both ratios as they were at the look that did."""
    low, mean = tests["low"].low, tests["mean"].mean
    is_farther = mean.lower > low.upper if verdict == "regressed" else mean.upper < low.lower
    # The typical call is precise. The mean decides where it alone rejects, or is surely more.
    by: RatioName = "low" if tests["low"].p <= largest and not (is_farther and tests["mean"].p <= largest) else "mean"
    return Judged(verdict, as_ratio(tests[by].low), as_ratio(tests[by].mean), by)
