"""The types of `verdicts.json`, as far as it is read: another job may have written it."""

from dataclasses import dataclass, field
from typing import Literal

from rnnbench.analysis.comparison import Comparison, InstructionChange, InstructionCounts, Witness
from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.verdict import Family, RatioName, Verdict
from rnnbench.store.stored_record import Count, Number, Record, Seconds, Size


@dataclass(frozen=True)
class StoredInstructions(Record):
    """The instructions of a case in `verdicts.json`, as far as they are read."""

    base: Size
    head: Size
    spread: Seconds = 0.0  # a share of the base's
    counter: str = ""

    def change(self) -> InstructionChange:
        """Return the change from base to head, whose parts and operators are not read."""
        base = InstructionCounts(self.counter, (self.base,), between=round(self.spread * self.base))
        return InstructionChange(base, InstructionCounts(self.counter, (self.head,)))


@dataclass(frozen=True)
class StoredChange(Record):
    """A metric that differs between both sides of a case in `verdicts.json`."""

    metric: str
    base: Count
    head: Count


@dataclass(frozen=True)
class StoredFamily(Record):
    """The cases with which a case changed, in `verdicts.json`."""

    name: str
    cases: Count
    ratio: Number
    ratio_low: Number
    ratio_high: Number

    def family(self) -> Family:
        """Return the family."""
        return Family(self.name, self.cases, Estimate(self.ratio, self.ratio_low, self.ratio_high))


@dataclass(frozen=True)
class StoredFinding(Record):
    """A case in `verdicts.json`, as far as it is read."""

    verdict: Verdict | Literal["inconclusive"] | None  # the second by an older version
    reason: str
    sentence: str
    margin: Number
    decided_by: Witness | None
    replicates: Count
    ratio: Number | None
    ratio_low: Number | None
    ratio_high: Number | None
    mean_ratio: Number | None
    mean_ratio_low: Number | None
    mean_ratio_high: Number | None
    changes: list[StoredChange]
    described_by: Literal["ratio", "mean_ratio"] | None = None
    instructions: StoredInstructions | None = None
    state: str = ""
    doubt: str = ""
    is_kept: bool = False
    is_broken: bool = False
    accepted: str = ""
    definitions: list[str] = field(default_factory=list)
    family: StoredFamily | None = None

    @property
    def low(self) -> Estimate | None:
        """The ratio of the typical call; None if it is not known."""
        return _estimate(self.ratio, self.ratio_low, self.ratio_high)

    @property
    def mean(self) -> Estimate | None:
        """The ratio of the mean of the calls; None if it is not known."""
        return _estimate(self.mean_ratio, self.mean_ratio_low, self.mean_ratio_high)

    @property
    def by_time(self) -> RatioName | None:
        """The ratio that decided the time, or against which a count decided."""
        if self.verdict in ("undecided", "inconclusive", "unchanged", None):
            return None
        if self.described_by == "mean_ratio" or self.decided_by == "mean_ratio":
            return "mean"
        return "low" if self.decided_by == "ratio" else None


def _estimate(value: float | None, low: float | None, high: float | None) -> Estimate | None:
    return None if value is None or low is None or high is None else Estimate(value, low, high)


@dataclass(frozen=True)
class StoredVerdicts(Record):
    """The content of `verdicts.json`, as far as it is read; another job may have written it."""

    suite: str
    base: str
    head: str
    way: Literal["paired", "stored"]
    seconds: Number | None
    notes: list[str]
    findings: list[StoredFinding]
    needed: str = ""
    preparing: Number | None = None

    def comparison(self) -> Comparison:
        """Return the comparison, without its findings."""
        return Comparison(
            self.suite,
            self.base,
            self.head,
            self.way,
            (),
            tuple(self.notes),
            self.needed,
            seconds=self.seconds,
            preparing=self.preparing,
        )
