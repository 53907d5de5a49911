"""Base against head, case by case: time, exact counts and status put together into one verdict each."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from rnnbench.analysis.changes import Change, changes
from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.verdict import Judged, Verdict
from rnnbench.store.records import Measurement

RANKS: dict[Verdict | None, int] = {
    "regressed": 0,
    "incomparable": 1,
    "inconclusive": 2,
    "improved": 3,
    "unchanged": 4,
    None: 5,
}


class Subject(Protocol):
    """What is compared: a case, or a benchmark that somebody else named."""

    @property
    def key(self) -> str:
        """The same on both sides."""

    def axes(self) -> dict[str, str | float]:
        """What is known of it besides its key."""


@dataclass(frozen=True)
class Finding:
    """What a comparison says of one case."""

    case: Subject
    verdict: Verdict | None  # None: not compared, for the reason given
    margin: float  # 0.025: up to 2.5% slower is not called a regression
    reason: str = ""  # why it fails, is not compared or incomparable; empty where the numbers say all
    low: Estimate | None = None  # head over base in the low quantile of the calls: 1.05 is 5% slower
    mean: Estimate | None = None  # the same in the mean of the calls, which also sees what slows only some
    replicates: int = 0
    changes: tuple[Change, ...] = ()  # counts that differ
    time_verdict: Verdict | None = None  # what the time alone says, before counts are looked at

    @property
    def judged_changes(self) -> tuple[Change, ...]:
        """The counts that went beyond the margin, in either direction, and so decide a verdict."""
        edge = 1 + self.margin
        return tuple(one for one in self.changes if one.is_judged and not 1 / edge <= one.ratio <= edge)


@dataclass(frozen=True)
class Comparison:
    """All findings of one comparison, the worst first."""

    suite: str
    base: str  # in words: a revision, a folder, an interpreter, a run
    head: str
    way: Literal[
        "paired", "stored", "saved"
    ]  # in turns, two runs by their ratios to torch.nn, pytest-benchmark's files
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    seconds: float | None = None

    def count(self, verdict: Verdict | None) -> int:
        """Findings with this verdict."""
        return sum(finding.verdict == verdict for finding in self.findings)

    def exit_code(self, *, strict: bool) -> int:
        """0: nothing regressed; 1: something did; 2: nothing could be compared; 3: `strict`, and not all is decided."""
        if self.count("regressed"):
            return 1
        if self.count("incomparable") or self.count(None) == len(self.findings):
            return 2
        return 3 if strict and self.count("inconclusive") else 0


def finding(
    base: Measurement, head: Measurement, judged: Judged | None, margin: float, replicates: int, unjudged: str
) -> Finding:
    """What is known of a case on both sides; `judged` is None where its time was not compared, as `unjudged` says."""
    case = head.case
    if base.works and head.status == "failed":
        return Finding(case, "regressed", margin, f"fails now: {head.reason}")
    if base.status == "failed" and head.works:
        return Finding(case, "improved", margin, f"failed in the base: {base.reason}")
    apart = [
        f"{side.status} {where}: {side.reason}"
        for side, where in ((base, "in the base"), (head, "in the head"))
        if not side.works
    ]
    if apart:
        same = base.status == head.status and base.reason == head.reason
        return Finding(case, None, margin, f"{head.status} on both sides: {head.reason}" if same else "; ".join(apart))
    differ = changes(base.metrics, head.metrics)
    if judged is None:
        found = Finding(case, "inconclusive", margin, unjudged, changes=differ)
    else:
        found = Finding(case, judged.verdict, margin, "", judged.low, judged.mean, replicates, differ, judged.verdict)
    return with_counts(found)


def one_sided(cases: Iterable[Subject], where: str) -> list[Finding]:
    """Cases that only one side has."""
    return [Finding(case, None, 0.0, f"only {where}") for case in cases]


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The worst first: by verdict, then by how much slower, a new failure before all."""

    return tuple(sorted(findings, key=lambda one: (RANKS[one.verdict], -_slowest(one))))


def _slowest(one: Finding) -> float:
    """How much slower, by the mean where it shows what the low quantile can't see; no bound where nothing was timed."""
    if one.low is None or one.mean is None:
        return float("inf")
    return max(one.low.value, one.mean.value) if one.mean.low > 1 + one.margin else one.low.value


def with_counts(found: Finding) -> Finding:
    """The same, with the verdict that its counts call for: they have no error, so the margin alone decides."""
    ratios = [one.ratio for one in found.judged_changes]
    verdict = found.verdict
    if any(ratio > 1 for ratio in ratios):
        verdict = "regressed"
    elif ratios and verdict != "regressed":
        verdict = "improved"
    return replace(found, verdict=verdict)
