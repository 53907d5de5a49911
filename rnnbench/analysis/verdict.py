"""Verdicts: what the tests of all cases together say about each.

For each case two ratios of head to base are judged: that of the typical call, which is precise, and that of
their mean, which also shows what slows only some calls. `regressed` is a rejection of `ratio <= 1 + margin` for one of
the two, `improved` one of `ratio >= 1 / (1 + margin)`; `unchanged` says that the interval of the typical call lies
inside the margin, and that the mean does, too.

The mean is an alarm. Its interval is often wider than the margin, so only its value counts for `unchanged`. A head
whose mean alone is slower by little more than the margin may therefore be called so.

How the error rate is split. Each of the two ratios gets half of a case's. Over the looks at growing data it is spent in
the shares `spent` of `Trial.look`: a p-value is divided by its look's share, and the smallest so far counts, which
keeps it a valid p-value whenever the checking stops (Bonferroni over looks; tests that correlate only make it smaller).
`unchanged` spends nothing: what counts is that a case beyond the margin is not called so at any look. With intervals
at `LOOK_CONFIDENCE` that happens to a slowdown of 3% in at most 0.5% of cases, and the last intervals, which are
shown, hold the true ratios in 96% of cases or more (`tests/validation/verdicts_simulated.py`). Slow modes limit this:
if only a share of the processes is slow, all pairs so far may be fast ones by chance, and look as if nothing had
changed. A check therefore calls nothing `unchanged` on few pairs. Even so the 0.5% can't be kept: if half of the
processes are slow, 1% of such cases are called `unchanged`, and eight pairs miss a mode of 30% of the processes in 6%.

Over cases, Benjamini & Hochberg 1995 at q = 0.01, which holds on average over many checks and not for each of them: of
the cases called regressed, at most one in a hundred is not; where nothing regressed, at most one check in a hundred
reports a regression. `improved` has an error rate of its own of the same size.

Cases that share changed code (a *family*) are tested together, too: the mean of their log-ratios in each pair. It is
beyond the margin only if at least one of the cases is, so these tests need an error rate of their own. If there is a
family, `FAMILY_SHARE` of q is for all tests of families, and the rest for those of cases, each as above. Where nothing
regressed, the two together report a regression in at most one check in a hundred. Over its looks and its two ratios, a
family spends its part as a case does. Families get less, since the mean of several cases is precise, and a single slow
case is found by its own test alone.
A family that is rejected says of some of its cases that they are slower, not of which. A case is `regressed` with its
family only if its own ratio in the same look is beyond the margin, and above 1 by a test at `MEMBER_ERROR`, which is
spent over both ratios and all looks, too: a case that is not slower at all is called so in at most one of a hundred
families with slower ones. That it is beyond the margin is said of the family, not proven of each case. Two cases at
least must agree, since one slow case is no matter of the family. `unchanged` is a claim of each case.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from rnnbench.analysis.estimate import UNKNOWN, Estimate, Location, as_ratio, locations

Verdict = Literal["regressed", "improved", "unchanged", "undecided", "incomparable"]
Outcome = Verdict | Literal["accepted"]  # accepted: a regression that the team has accepted
CHANGED: tuple[Verdict, ...] = ("regressed", "improved")  # the verdicts that the time, or a count, has changed
RatioName = Literal["low", "mean"]
Q = 0.01
ONE_LOOK_CONFIDENCE = 0.95  # of the two-sided intervals of a single look
LOOK_CONFIDENCE = 0.99  # of those of each look, if there are several
FAMILY_SHARE = 0.25  # of Q, for the tests of families, if there are any
MEMBER_ERROR = 0.01  # that a case which is not slower at all is called slower with its family
MIN_MEMBERS = 2  # of a family that are beyond the margin, so that it is the family that changed


@dataclass(frozen=True)
class Family:
    """The cases that share changed code, which changed together."""

    name: str  # of the definition that changed
    cases: int
    ratio: Estimate  # head over base, in the mean of the cases


@dataclass(frozen=True)
class Judged:
    """One case: its verdict, and both ratios with the intervals that it rests on, as values and not logarithms.

    `decided_by` is the ratio whose test gave `regressed` or `improved`; None for other verdicts. Its interval lies
    beyond the margin, or that of the `family` does, if the case changed together with others.
    """

    verdict: Verdict
    low: Estimate
    mean: Estimate
    decided_by: RatioName | None = None
    state: str = ""  # of the core: `undisturbed`, `on a shared core`, or empty
    family: Family | None = None

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
    state: str = ""  # of the core


@dataclass(frozen=True)
class FamilyLook:
    """What one look at the cases of a family showed: of all together, and of each, whose tests are against no change.

    A member whose ratio is inside the margin has p-values of 1.
    """

    whole: Look
    members: Mapping[str, Look]


@dataclass
class Trial:
    """The cases of a suite, judged at one or several looks at growing data."""

    margins: Mapping[str, float]  # case -> how much slower is too slow: 0.025
    looks: dict[str, list[Look]] = field(default_factory=dict)  # of each case; one without looks is undecided
    families: Mapping[str, Sequence[str]] = field(default_factory=dict)  # name of what changed -> cases that share it
    family_looks: dict[str, list[FamilyLook]] = field(default_factory=dict)

    def look(
        self,
        case: str,
        low: Location,
        mean: Location,
        spent: float = 1.0,
        *,
        confidence: float = ONE_LOOK_CONFIDENCE,
        may_be_unchanged: bool = True,
        state: str = "",
    ) -> None:
        """Add a look at where a case's log-ratios lie.

        `spent`: share of the error rate, at most 1 over all looks; `confidence`: of the intervals; `state`: of the
        core.
        """
        edge = math.log1p(self.margins[case])
        of_low = low.interval(confidence)
        is_inside = may_be_unchanged and _is_inside(of_low, edge) and abs(mean.value) < edge
        look = Look(of_low, mean.interval(confidence), _tests(low, mean, edge, spent), is_inside, state)
        self.looks.setdefault(case, []).append(look)

    def look_at_family(
        self,
        name: str,
        low: Location,
        mean: Location,
        members: Mapping[str, tuple[Location, Location]],
        spent: float = 1.0,
        *,
        confidence: float = ONE_LOOK_CONFIDENCE,
        state: str = "",
    ) -> None:
        """Add a look at where the mean log-ratios of a family's cases lie, and the log-ratios of each of them.

        `spent`, `confidence` and `state`: as of `look`. If the members have several margins, the largest counts.
        """
        edges = {case: math.log1p(self.margins[case]) for case in members}

        def looked(low: Location, mean: Location, tests: Mapping[Verdict, Mapping[RatioName, float]]) -> Look:
            return Look(low.interval(confidence), mean.interval(confidence), tests, is_inside=False, state=state)

        of_members = {
            case: looked(*where, _member_tests(*where, edges[case], spent)) for case, where in members.items()
        }
        whole = looked(low, mean, _tests(low, mean, max(edges.values()), spent))
        self.family_looks.setdefault(name, []).append(FamilyLook(whole, of_members))

    def verdicts(self) -> dict[str, Judged]:
        """Return each case's verdict from what is known so far."""
        of_families = FAMILY_SHARE * Q if self.families else 0.0
        largest = {verdict: _largest_rejected(self.looks.values(), verdict, Q - of_families) for verdict in CHANGED}
        judged = {case: _judged(looks, largest) for case, looks in self.looks.items()}
        wholes = {name: [each.whole for each in self.family_looks.get(name, ())] for name in self.families}
        for verdict in CHANGED:
            rejected = _largest_rejected(wholes.values(), verdict, of_families)
            for name in self.families:
                for case, together in self._together(name, verdict, rejected).items():
                    if judged[case].verdict == "undecided":
                        judged[case] = together
        return judged

    def _together(self, name: str, verdict: Verdict, largest: float) -> dict[str, Judged]:
        """Return the cases of a family that changed together, if its p-values up to the `largest` are rejected."""
        looks = self.family_looks.get(name, [])
        together = dict[str, Judged]()
        for ratio in get_args(RatioName):
            clearest = min(looks, key=lambda look: look.whole.tests[verdict][ratio], default=None)
            if clearest is None or clearest.whole.tests[verdict][ratio] > largest:
                continue
            whole = clearest.whole.low if ratio == "low" else clearest.whole.mean
            family = Family(name, len(clearest.members), as_ratio(whole))
            agreeing = {
                case: Judged(verdict, as_ratio(member.low), as_ratio(member.mean), ratio, member.state, family)
                for look in looks
                for case, member in look.members.items()
                if member.tests[verdict][ratio] <= MEMBER_ERROR
            }
            if len(agreeing) >= MIN_MEMBERS:
                together = agreeing | together  # the typical call comes first
        return together

    def decided(self) -> set[str]:
        """Return the cases that need no more data."""
        return {case for case, judged in self.verdicts().items() if judged.verdict != "undecided"}


def _is_inside(log: Estimate, edge: float) -> bool:
    """Return True if an interval lies between both edges; False if it is not known."""
    return -edge < log.lower and log.upper < edge


def _tests(low: Location, mean: Location, edge: float, spent: float) -> dict[Verdict, dict[RatioName, float]]:
    """Return the p-values of both ratios in both directions, over the share of the error rate that is `spent`."""
    tested: dict[RatioName, Location] = {"low": low, "mean": mean}
    return {
        "regressed": {ratio: min(1.0, 2 / spent * where.p_above(edge)) for ratio, where in tested.items()},
        "improved": {ratio: min(1.0, 2 / spent * where.p_below(-edge)) for ratio, where in tested.items()},
    }


def _member_tests(low: Location, mean: Location, edge: float, spent: float) -> dict[Verdict, dict[RatioName, float]]:
    """Return the p-values of no change at all; 1 for a ratio that is inside the margin, or beyond it on the other side.

    A ratio without an error has a p-value of 1, too.
    """
    tests = _tests(low, mean, 0.0, spent)
    tested: dict[RatioName, Location] = {"low": low, "mean": mean}
    for ratio, where in tested.items():
        if where.value <= edge:
            tests["regressed"][ratio] = 1.0
        if where.value >= -edge:
            tests["improved"][ratio] = 1.0
    return tests


def _largest_rejected(samples: Iterable[Sequence[Look]], verdict: Verdict, error: float) -> float:
    """Return the largest p-value that Benjamini & Hochberg reject at an error rate; negative if they reject none."""
    p_values = [min((p for look in looks for p in look.tests[verdict].values()), default=1.0) for looks in samples]
    if not p_values:
        return -1.0
    from scipy import stats  # its import takes half a second or more: not where nothing was timed

    adjusted = stats.false_discovery_control(p_values)
    return max((p for p, level in zip(p_values, adjusted, strict=True) if level <= error), default=-1.0)


def share_of_look(number: int) -> float:
    """Return the share of the error rate that a look may spend, for looks 1, 2, 3, ...: all shares sum to 1."""
    return 1 / (number * (number + 1))


def located(logs: Mapping[str, Sequence[float] | np.ndarray]) -> dict[str, Location]:
    """Return the location of each case's log-ratios."""
    return dict(zip(logs, locations(list(logs.values())), strict=True))


def _judged(looks: Sequence[Look], largest: Mapping[Verdict, float]) -> Judged:
    """Return the verdict of one case, whose p-values up to the `largest` are rejected, with the ratio that decided it.

    Both ratios are as they were at the look that did, or else at the last one.
    """
    if not looks:
        return Judged("undecided", UNKNOWN, UNKNOWN)
    for verdict in CHANGED:  # a case may be slower in one ratio and faster in the other; then it is slower
        low, mean = (min(looks, key=lambda look: look.tests[verdict][ratio]) for ratio in get_args(RatioName))
        by_low = low.tests[verdict]["low"] <= largest[verdict]
        by_mean = mean.tests[verdict]["mean"] <= largest[verdict]
        is_farther = mean.mean.lower > low.low.upper if verdict == "regressed" else mean.mean.upper < low.low.lower
        # The typical call is precise. The mean decides where it alone rejects, or is surely more.
        if by_mean and (is_farther or not by_low):
            return Judged(verdict, as_ratio(mean.low), as_ratio(mean.mean), "mean", mean.state)
        if by_low:
            return Judged(verdict, as_ratio(low.low), as_ratio(low.mean), "low", low.state)
    last = looks[-1]
    word: Verdict = "unchanged" if last.is_inside else "undecided"
    return Judged(word, as_ratio(last.low), as_ratio(last.mean), state=last.state)
