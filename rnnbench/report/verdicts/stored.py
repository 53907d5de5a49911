"""The types of `verdicts.json`, as far as it is read: another job may have written it."""

from dataclasses import dataclass, field
from typing import Literal

from rnnbench.analysis.verdict import Verdict
from rnnbench.store.record import Count, Number, Record


@dataclass(frozen=True)
class StoredInstructions(Record):
    """The instructions of a case in `verdicts.json`, as far as they are read."""

    is_beyond_margin: bool
    ratio: Number


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


@dataclass(frozen=True)
class StoredFinding(Record):
    """A case in `verdicts.json`, as far as it is read."""

    verdict: Verdict | Literal["inconclusive"] | None  # the second by an older version
    reason: str
    sentence: str
    margin: Number
    decided_by: Literal["ratio", "mean_ratio", "counts", "instructions", "code"] | None
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


@dataclass(frozen=True)
class StoredVerdicts(Record):
    """The content of `verdicts.json`, as far as it is read; another job may have written it."""

    suite: str
    base: str
    head: str
    way: Literal["paired", "stored", "saved"]
    seconds: Number | None
    notes: list[str]
    findings: list[StoredFinding]
    needed: str = ""
    preparing: Number | None = None
