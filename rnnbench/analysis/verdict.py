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
from typing import Literal, get_args

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
class Look:
    """What one look at a case's log-ratios showed."""

    low: Estimate  # of the logarithm
    mean: Estimate
    tests: Mapping[Verdict, Mapping[RatioName, float]]  # p-values for `regressed` and `improved`, over the look's share
    is_inside: bool  # all that `unchanged` needs lies inside the margin


@dataclass
class Trial:
    """The cases of a suite, judged at one or several looks at growing data."""

    margins: Mapping[str, float]  # case -> how much slower is too slow: 0.025
    looks: dict[str, list[Look]] = field(default_factory=dict)  # of each case; one without looks is undecided

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
        tested: dict[RatioName, Location] = {"low": low, "mean": mean}
        tests: dict[Verdict, dict[RatioName, float]] = {
            "regressed": {ratio: min(1.0, 2 / spent * where.p_above(edge)) for ratio, where in tested.items()},
            "improved": {ratio: min(1.0, 2 / spent * where.p_below(-edge)) for ratio, where in tested.items()},
        }
        logs = [where.interval(confidence) for where in (low, mean, whole_low or low)]
        is_inside = may_be_unchanged and all(-edge < log.lower and log.upper < edge for log in logs)
        self.looks.setdefault(case, []).append(Look(logs[0], logs[1], tests, is_inside))

    def verdicts(self) -> dict[str, Judged]:
        """Return each case's verdict from what is known so far."""
        largest = {verdict: self._largest_rejected(verdict) for verdict in CHANGED}
        return {case: _judged(looks, largest) for case, looks in self.looks.items()}

    def _largest_rejected(self, verdict: Verdict) -> float:
        """Return the largest p-value that Benjamini & Hochberg reject at Q; negative if they reject none."""
        p_values = [
            min((p for look in looks for p in look.tests[verdict].values()), default=1.0)
            for looks in self.looks.values()
        ]
        adjusted = stats.false_discovery_control(p_values)
        return max((p for p, level in zip(p_values, adjusted, strict=True) if level <= Q), default=-1.0)

    def decided(self) -> set[str]:
        """Return the cases that need no more data."""
        return {case for case, judged in self.verdicts().items() if judged.verdict != "undecided"}


def share_of_look(number: int) -> float:
    """Return the share of the error rate that a look may spend, for looks 1, 2, 3, ...: all shares sum to 1."""
    return 1 / (number * (number + 1))


def located(logs: Mapping[str, Sequence[float] | np.ndarray], min_to_trim: int = MIN_TO_TRIM) -> dict[str, Location]:
    """Return the location of each case's log-ratios; with fewer than `min_to_trim` of them, none is left out."""
    return dict(zip(logs, locations(list(logs.values()), min_to_trim), strict=True))


def _judged(looks: Sequence[Look], largest: Mapping[Verdict, float]) -> Judged:
    """Return the verdict of one case, whose p-values up to the `largest` are rejected, with the ratio that decided it.

    Both ratios are as they were at the look that did, or else at the last one.
    """
    if not looks:
        return Judged("undecided", UNKNOWN, UNKNOWN)
    for verdict in CHANGED:  # a case may be slower in one ratio and faster in the other; then it is slower
        low, mean = (min(looks, key=lambda look: look.tests[verdict][ratio]) for ratio in get_args(RatioName))
        by_low, by_mean = (p <= largest[verdict] for p in (low.tests[verdict]["low"], mean.tests[verdict]["mean"]))
        is_farther = mean.mean.lower > low.low.upper if verdict == "regressed" else mean.mean.upper < low.low.lower
        # The typical call is precise. The mean decides where it alone rejects, or is surely more.
        if by_mean and (is_farther or not by_low):
            return Judged(verdict, as_ratio(mean.low), as_ratio(mean.mean), "mean")
        if by_low:
            return Judged(verdict, as_ratio(low.low), as_ratio(low.mean), "low")
    last = looks[-1]
    return Judged("unchanged" if last.is_inside else "undecided", as_ratio(last.low), as_ratio(last.mean))
