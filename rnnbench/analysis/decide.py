"""The verdict of one case: `decide` asks the rules in order, and the first that speaks has decided.

A rule takes all that is known of the case, its `Evidence`, and returns a `Ruling`, or None if it has nothing to say.
To add one, write its function, put it into `RULES`, and name it in `RuleName` of `comparison.py`.

Counts are not timed: base and head differ in them only if the code does, so the margin alone decides.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from rnnbench.analysis.comparison import (
    GROWTH,
    SAME_CODE,
    USUAL_MEMORY,
    Change,
    Finding,
    InstructionChange,
    MemoryMargin,
    RuleName,
    judged_changes,
)
from rnnbench.analysis.verdict import Judged, Verdict
from rnnbench.store.metrics import BY_NAME, METRICS
from rnnbench.store.records import Case, Measurement
from rnnbench.suite.accepted import Acceptance

Gate = Literal["growth", "instructions"]  # what must not grow, whatever the time says
LACKS = "the base lacks what it measures"
NOT_COUNTED_HERE = "its instructions were not counted"
# After these rules the row has only its reason: no ratio, no counts, and no family.
WITHOUT_NUMBERS: tuple[RuleName, ...] = ("one side", "apart", "same code", "new", "mended", "status")


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that is known of a case when its verdict is decided."""

    case: Case
    margin: float = 0.0
    memory: MemoryMargin = USUAL_MEMORY
    only_in: str = ""  # the only side that has the case, if one lacks it
    apart: str = ""  # why nothing of the sides can be compared: another machine, say
    is_same_code: bool = False  # both sides run the same code, so that it was not timed
    base: Measurement | None = None
    head: Measurement | None = None
    mended_file: str = ""  # that the head has changed, and without which the base can't load the case
    is_new: bool = False  # the base was lent the suite and lacks what the case measures
    judged: Judged | None = None  # what the tests of all cases say of its time; None if no time was compared
    replicates: int = 0
    open_because: str = ""  # why no time was compared, or why it can't decide
    unlike_clocks: str = ""  # at which clock rates a GPU ran on the sides, if they are too far apart to compare times
    instructions: InstructionChange | None = None  # None: not counted
    is_uncounted: bool = False  # instructions are a gate, and none of any case were counted
    gates: frozenset[Gate] = frozenset()
    acceptances: tuple[Acceptance, ...] = ()  # what the team accepts of this change, as far as it names the case
    cause: str = ""  # why both sides may run unlike code, so that it was timed; empty if nobody was asked
    is_kept: bool = False  # it runs the same code, as far as is known, but looked changed in a pair of workers
    definitions: tuple[str, ...] = ()  # that it may run and that differ

    @property
    def changes(self) -> tuple[Change, ...]:
        """The counts that are known on both sides and differ."""
        return () if self.base is None or self.head is None else changes(self.base.metrics, self.head.metrics)

    @property
    def judged_changes(self) -> tuple[Change, ...]:
        """The counts that went beyond their margin and decide; more memory of a faster case does so as a gate only."""
        beyond = judged_changes(self.changes, self.margin, self.memory)
        if self.by_time != "improved" or "growth" in self.gates:
            return beyond
        return tuple(change for change in beyond if BY_NAME[change.metric].unit != "bytes")

    @property
    def by_time(self) -> Verdict:
        """The verdict of the time alone."""
        if self.unlike_clocks:
            return "incomparable"
        return "undecided" if self.judged is None else self.judged.verdict

    @property
    def why_untimed(self) -> str:
        """Why no time was compared; empty if it was."""
        if self.unlike_clocks:
            return self.unlike_clocks
        return self.open_because if self.judged is None else ""


@dataclass(frozen=True)
class Ruling:
    """What a rule says: the verdict, None if the case is not compared, and why, where the numbers do not say it."""

    verdict: Verdict | None
    reason: str = ""
    rule: RuleName = "time"  # that decided


Rule = Callable[[Evidence], Ruling | None]


def _one_sided(evidence: Evidence) -> Ruling | None:
    return Ruling(None, f"only in the {evidence.only_in}") if evidence.only_in else None


def _apart(evidence: Evidence) -> Ruling | None:
    return Ruling("incomparable", evidence.apart) if evidence.apart else None


def _same_code(evidence: Evidence) -> Ruling | None:
    return Ruling("unchanged", SAME_CODE) if evidence.is_same_code else None


def _new(evidence: Evidence) -> Ruling | None:
    """Rule that only the head has a case of a suite that the base was lent."""
    broken = _status(evidence)
    if broken is None or broken.verdict != "incomparable" or not (evidence.mended_file and evidence.is_new):
        return None
    return Ruling(None, f"only in the head: {LACKS}: {broken.reason}")


def _mended(evidence: Evidence) -> Ruling | None:
    """Rule that the head has mended a case that the base can't load because of a file that the head has changed."""
    broken = _status(evidence)
    if broken is None or broken.verdict != "incomparable" or not evidence.mended_file:
        return None
    return Ruling("improved", f"{broken.reason}; the head has changed {evidence.mended_file} and works")


def _status(evidence: Evidence) -> Ruling | None:
    """Rule on a case that does not work on both sides.

    A case that failed in the base counts as fixed only if the failure was its own: a base that can't be imported, whose
    worker was lost, or that failed after it had worked has not been measured. A case that failed on both sides is not
    compared, whatever the failures were.
    """
    base = evidence.base
    head = evidence.head
    if base is None or head is None or (base.works and head.works):
        return None
    if base.works and head.status in ("failed", "skipped"):
        return Ruling("regressed", f"{'fails' if head.status == 'failed' else 'is skipped'} now: {head.reason}")
    return Ruling(_verdict_by_status(base, head), _statuses(base, head))


def _verdict_by_status(base: Measurement, head: Measurement) -> Verdict | None:
    statuses = (base.status, head.status)
    if statuses == ("skipped", "failed"):
        return "regressed"
    if head.works and base.failure == "running" and base.parity.kind == "unknown":
        return "improved"
    if "failed" in statuses:
        is_own_fault = base.status == "failed" and base.failure == "running"
        is_compared = statuses != ("failed", "failed") and (head.works or not is_own_fault)
        return "incomparable" if is_compared else None
    is_unreached = any(side.status == "pending" and not side.works for side in (base, head))
    return "undecided" if is_unreached and "skipped" not in statuses else None


def _statuses(base: Measurement, head: Measurement) -> str:
    """Return why a case does not work on the sides on which it does not."""
    if (base.status, base.reason) == (head.status, head.reason):
        return f"{head.status} on both sides: {head.reason}"
    sides = ((base, "in the base"), (head, "in the head"))
    return "; ".join(f"{side.status} {where}: {side.reason}" for side, where in sides if not side.works)


def _slower(evidence: Evidence) -> Ruling | None:
    return Ruling("regressed") if evidence.by_time == "regressed" else None


def _more_counts(evidence: Evidence) -> Ruling | None:
    is_more = any(change.ratio > 1 for change in evidence.judged_changes)
    return Ruling("regressed", evidence.why_untimed) if is_more else None


def _more_instructions(evidence: Evidence) -> Ruling | None:
    is_more = evidence.instructions is not None and evidence.instructions.is_more
    return Ruling("regressed", evidence.why_untimed) if is_more and "instructions" in evidence.gates else None


def _uncounted(evidence: Evidence) -> Ruling | None:
    """Rule on a check that would pass its gate without having counted anything."""
    return Ruling("incomparable", NOT_COUNTED_HERE) if evidence.is_uncounted else None


def _fewer_counts(evidence: Evidence) -> Ruling | None:
    is_other = evidence.by_time != "improved" and evidence.judged_changes
    return Ruling("improved", evidence.why_untimed) if is_other else None


def _growth(evidence: Evidence) -> Ruling | None:
    """Rule that operator calls or allocations must not grow, unless the case became faster all the same."""
    grows = any(change.metric in GROWTH and change.head > change.base for change in evidence.changes)
    is_open = evidence.by_time in ("undecided", "unchanged")
    return Ruling("regressed", evidence.why_untimed) if grows and is_open and "growth" in evidence.gates else None


def _time(evidence: Evidence) -> Ruling | None:
    if evidence.unlike_clocks:
        return Ruling("incomparable", evidence.unlike_clocks)
    return Ruling(evidence.by_time, evidence.open_because if evidence.by_time == "undecided" else "")


# In this order: what can't be timed, what makes a case slower whatever else is so, and then the rest.
RULES: Mapping[RuleName, Rule] = {
    "one side": _one_sided,
    "apart": _apart,
    "same code": _same_code,
    "new": _new,
    "mended": _mended,
    "status": _status,
    "slower": _slower,
    "more counts": _more_counts,
    "more instructions": _more_instructions,
    "uncounted": _uncounted,
    "fewer counts": _fewer_counts,
    "growth": _growth,
    "time": _time,
}


def decide(evidence: Evidence) -> Ruling:
    """Return the verdict of a case, with the rule that decided it and why."""
    rulings = ((name, rule(evidence)) for name, rule in RULES.items())
    return next(replace(ruling, rule=name) for name, ruling in rulings if ruling is not None)


def finding_of(evidence: Evidence) -> Finding:
    """Return the row of a case, with its verdict, and why it is accepted if it regressed."""
    row = _judged_row(evidence, decide(evidence))
    return replace(row, accepted=accepted_because(row, evidence.acceptances))


def accepted_because(row: Finding, acceptances: Iterable[Acceptance]) -> str:
    """Return why the team has accepted a regression; empty if it has not. A failure is never accepted.

    `acceptances`: those about this change that name the case.
    """
    if not row.is_slowdown:
        return ""
    return next((entry.reason for entry in acceptances if entry.allows(row.lower)), "")


def _judged_row(evidence: Evidence, ruling: Ruling) -> Finding:
    """Return the row of a case; a ratio without an interval is left out, so that nothing shows it."""
    row = Finding(
        evidence.case,
        ruling.verdict,
        evidence.margin,
        ruling.reason,
        rule=ruling.rule,
        cause=evidence.cause,
        is_kept=evidence.is_kept,
        definitions=evidence.definitions,
        memory=evidence.memory,
    )
    if ruling.rule in WITHOUT_NUMBERS:
        return replace(row, is_broken=evidence.head is not None and evidence.head.status == "failed")
    sides = [side for side in (evidence.base, evidence.head) if side is not None]
    row = replace(
        row,
        changes=evidence.changes,
        is_counted=all(side.metrics.get("operators") is not None for side in sides),
        instructions=evidence.instructions,
    )
    if (judged := evidence.judged) is None or evidence.unlike_clocks:
        return row
    return replace(
        row,
        low=judged.low if judged.low.has_interval else None,
        mean=judged.mean if judged.mean.has_interval else None,
        replicates=evidence.replicates,
        time_verdict=judged.verdict,
        deciding_ratio=judged.decided_by,
        state=judged.state,
        family=judged.family,
    )


def changes(base: Mapping[str, float], head: Mapping[str, float]) -> tuple[Change, ...]:
    """Return the counts that are known on both sides and differ."""
    names = [metric.name for metric in METRICS if metric.verdict and metric.name in base and metric.name in head]
    both = [Change(name, int(base[name]), int(head[name])) for name in names]
    return tuple(change for change in both if change.base != change.head)


def one_sided(base: Mapping[str, Case], head: Mapping[str, Case]) -> list[Finding]:
    """Return the findings of the cases that only one side has; `base` and `head` by key."""
    sides = (("base", base, head), ("head", head, base))
    return [
        finding_of(Evidence(case=case, only_in=name))
        for name, cases, others in sides
        for key, case in cases.items()
        if key not in others
    ]
