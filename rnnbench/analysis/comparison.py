"""Base against head, case by case: the row of a case, `Finding`, which is decided, stored and shown.

`decide.py` makes the rows, `verdicts.json` holds them, and every output and the exit code are made from them.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from statistics import median
from typing import Annotated, Any, Literal, Self, get_args

from annotated_types import MinLen

from rnnbench.analysis.estimate import ENDS, Estimate, estimate_columns
from rnnbench.analysis.verdict import Family, Outcome, RatioName, Verdict
from rnnbench.store.metrics import BY_NAME, METRICS
from rnnbench.store.records import Case
from rnnbench.store.stored_record import Count, Number, Record, Size, clean, placed

OnUndecided = Literal["pass", "fail"]
OnGrowth = Literal["pass", "fail"]
RANKS: dict[Outcome | None, int] = {
    "regressed": 0,
    "incomparable": 1,
    "undecided": 2,
    "accepted": 3,
    "improved": 4,
    "unchanged": 5,
    None: 6,
}
WORK = tuple(metric.name for metric in METRICS if metric.time_follows)  # of a call
GROWTH = ("operators", "allocations")  # what a call does in Python, counted without error
FIRST_WORK = (*GROWTH, *(name for name in WORK if name not in GROWTH))  # counts of the work, the one to name first
RuleName = Literal[  # in the order in which `decide.py` asks them
    "one side",
    "apart",
    "same code",
    "new",
    "mended",
    "status",
    "slower",
    "more counts",
    "more instructions",
    "uncounted",
    "fewer counts",
    "growth",
    "time",
]
Witness = Literal["ratio", "mean_ratio", "counts", "instructions", "code"]
WITNESS_OF: dict[RatioName | None, Witness] = {"low": "ratio", "mean": "mean_ratio"}
WITNESSES: dict[RuleName, Witness] = {  # of rules that do not go by time
    "same code": "code",
    "more counts": "counts",
    "fewer counts": "counts",
    "growth": "counts",
    "more instructions": "instructions",
}
SAME_CODE = "runs the same code on both sides"
Part = Literal["python", "dispatch", "kernels"]
INSTRUCTION_PARTS: tuple[Part, ...] = get_args(Part)
INSTRUCTION_MARGIN = 0.003  # of the base's instructions: a smaller change is not reported
MAX_SPREAD_SHARE = 0.5  # the largest spread, as a share of the change, with which the change is reported


@dataclass(frozen=True)
class Change:
    """A metric that is counted, and that is not the same on both sides."""

    metric: str  # its name
    base: Count
    head: Count

    def __post_init__(self) -> None:
        """Raise ValueError if there is no such metric."""
        if self.metric not in BY_NAME:
            raise ValueError(f"no metric is called {self.metric!r}")

    @property
    def ratio(self) -> float:
        """The count of the head over that of the base; infinite if the base has none."""
        return self.head / self.base if self.base else math.inf


@dataclass(frozen=True)
class MemoryMargin:
    """How much more memory is no regression: a change is beyond the margin if it is larger than both."""

    share: Number = 0.1  # of the memory
    bytes: Count = 1_000_000


USUAL_MEMORY = MemoryMargin()


def judged_changes(changes: Iterable[Change], margin: float, memory: MemoryMargin) -> tuple[Change, ...]:
    """Return the counts that went beyond their margin, in either direction, and so decide a verdict."""
    beyond = []
    for change in changes:
        metric = BY_NAME[change.metric]
        if metric.verdict != "judged":
            continue
        edge = 1 + margin
        least = 0
        if metric.unit == "bytes":
            edge = 1 + memory.share
            least = memory.bytes
        is_beyond = not 1 / edge <= change.ratio <= edge
        if is_beyond and abs(change.head - change.base) > least:
            beyond.append(change)
    return tuple(beyond)


@dataclass(frozen=True)
class InstructionCounts:
    """Instructions of one call, counted in several rounds, and the parts of the one with the fewest, if known."""

    counter: str  # callgrind or perf_event
    rounds: Annotated[tuple[Size, ...], MinLen(1)]
    parts: Mapping[Part, int] = field(default_factory=dict)
    operators: Mapping[str, int] = field(default_factory=dict)  # calls of each torch operator, also by others
    between: int = 0  # how much the fewest instructions of several processes differ

    @property
    def total(self) -> int:
        """Instructions of the round with the fewest: chance only adds some, by collisions in a cache for example."""
        return min(self.rounds)

    @property
    def spread(self) -> int:
        """Instructions that the median round has more than the round with the fewest, or that processes differ by."""
        return max(round(median(self.rounds) - self.total), self.between)

    def pooled(self, again: Self) -> Self:
        """Return these counts with those of another process of the same code, whose difference is owed to chance."""
        fewest = min(self, again, key=lambda each: each.total)
        between = max(self.between, abs(self.total - again.total))
        return replace(fewest, rounds=(*self.rounds, *again.rounds), between=between)


@dataclass(frozen=True)
class InstructionChange:
    """The counts of one case on both sides."""

    base: InstructionCounts
    head: InstructionCounts

    @property
    def ratio(self) -> float:
        """Instructions of the head over those of the base."""
        return self.head.total / self.base.total

    @property
    def spread(self) -> float:
        """The larger spread of the two sides, as a share of the base's instructions."""
        return max(self.base.spread, self.head.spread) / self.base.total

    @property
    def is_beyond(self) -> bool:
        """Return True if the change is larger than the margin and than twice the spread."""
        size = abs(self.ratio - 1)
        return size > INSTRUCTION_MARGIN and MAX_SPREAD_SHARE * size > self.spread

    @property
    def is_more(self) -> bool:
        """Return True if the head takes more instructions, beyond the margin."""
        return self.is_beyond and self.ratio > 1

    def parts(self) -> dict[Part, float]:
        """Return the change of each part, as a share of the base's instructions; empty if only totals are known."""
        base = self.base.parts
        head = self.head.parts
        return {
            part: (head.get(part, 0) - base.get(part, 0)) / self.base.total
            for part in INSTRUCTION_PARTS
            if base and head
        }

    def operators(self) -> list[tuple[str, int, int]]:
        """Return the torch operators whose calls differ, with those of base and head, the largest change first."""
        base = self.base.operators
        head = self.head.operators
        both = ((name, base.get(name, 0), head.get(name, 0)) for name in {**head, **base})
        return sorted((each for each in both if each[1] != each[2]), key=lambda each: -abs(each[2] - each[1]))


@dataclass(frozen=True)
class Finding(Record):
    """What a comparison says about one case.

    It has three texts. The `reason` says why the case has its verdict where the numbers do not say it, the `cause` why
    it was timed, and `accepted` why the team accepts that it regressed.
    """

    case: Case
    verdict: Verdict | None  # None: not compared, for the reason given
    margin: Number  # 0.025: up to 2.5% slower is not called a regression
    reason: str = ""  # why it fails, is not compared or incomparable; empty if the numbers say all
    low: Estimate | None = None  # head over base of the typical call: 1.05 is 5% slower
    mean: Estimate | None = None  # the same in the mean of the calls, which also shows what slows only some
    replicates: Count = 0
    changes: tuple[Change, ...] = ()  # counts that differ
    time_verdict: Verdict | None = None  # of the time alone, without the counts
    deciding_ratio: RatioName | None = None  # that made `time_verdict` `regressed` or `improved`
    instructions: InstructionChange | None = None  # None: not counted
    is_counted: bool = False  # whether the work of a call was counted on both sides
    cause: str = ""  # why both sides may run unlike code, so that it was timed; empty if nobody was asked
    is_kept: bool = False  # it runs the same code, as far as is known, but looked changed in a pair of workers
    definitions: tuple[str, ...] = ()  # that it may run and that differ: `cell.py:Cell.forward`, or `cell.py`
    state: str = ""  # of the core: `undisturbed`, `on a shared core`, or empty if it was quiet or nobody knows
    family: Family | None = None  # the cases with which it changed, if its own test alone does not show it
    is_broken: bool = False  # the head failed, whatever the base did
    accepted: str = ""  # why the team has accepted that it regressed; empty if it has not
    memory: MemoryMargin = USUAL_MEMORY
    rule: RuleName = field(default="time", compare=False)  # that gave the verdict

    @property
    def outcome(self) -> Outcome | None:
        """The verdict, or `accepted` if it is a regression that the team has accepted."""
        return "accepted" if self.accepted else self.verdict

    @property
    def is_slowdown(self) -> bool:
        """Return True if the time or the counts of a case regressed that works on both sides."""
        is_measured = self.deciding is not None or bool(self.changes) or self.instructions is not None
        return self.verdict == "regressed" and is_measured

    @property
    def deciding(self) -> Estimate | None:
        """The ratio that describes the time: the one that decided or leaves it open; None if no time was compared."""
        return self.mean if self.is_by_mean else self.low

    @property
    def lower(self) -> float | None:
        """The lower end of `deciding`, if it is known."""
        return self.deciding.lower if self.deciding else None

    @property
    def is_by_mean(self) -> bool:
        """Return True if `deciding` is the mean: it decided, or leaves open what the typical call alone would not."""
        if self.deciding_ratio is not None or self.verdict != "undecided" or self.low is None or self.mean is None:
            return self.deciding_ratio == "mean"
        edge = 1 + self.margin
        return 1 / edge < self.low.lower and self.low.upper < edge

    @property
    def witness(self) -> Witness | None:
        """What gave the verdict; None for a case that fails, can't be compared, or is decided by nothing yet."""
        is_by_time = self.rule in ("slower", "time")
        return WITNESS_OF.get(self.deciding_ratio) if is_by_time else WITNESSES.get(self.rule)

    @property
    def work(self) -> tuple[Change, ...]:
        """The counts of the work of a call that differ, of which time follows."""
        return tuple(change for change in self.changes if change.metric in WORK)

    @property
    def judged_changes(self) -> tuple[Change, ...]:
        """The counts that went beyond their margin, in either direction, and so decide a verdict."""
        return judged_changes(self.changes, self.margin, self.memory)

    @property
    def word(self) -> str:
        """The verdict for people, also where there is none."""
        return self.outcome or "not compared"

    @property
    def is_by_time(self) -> bool:
        """Return True if the time, not a count, gave the verdict or leaves it open."""
        return self.deciding is not None and self.witness not in ("counts", "instructions")

    @property
    def described_by(self) -> Literal["ratio", "mean_ratio"]:
        """The ratio that describes the time, by its name in frames and files."""
        return "mean_ratio" if self.is_by_mean else "ratio"

    def first_work(self, sign: int) -> Change | None:
        """Return the first count of the work of a call that grew, or shrank if `sign` is -1; None if none did."""
        by_metric = {each.metric: each for each in self.changes}
        moved = (by_metric[name] for name in FIRST_WORK if name in by_metric)
        return next((change for change in moved if (change.head - change.base) * sign > 0), None)

    def to_json(self) -> dict[str, Any]:
        """Return one flat object: the axes and the key of the case, what is known of it, and each ratio with its ends.

        `decided_by` and `described_by` follow from the rest; they are for other readers.
        """
        facts = {name: value for name, value in super().to_json().items() if name not in ("case", "low", "mean")}
        witnesses = {"decided_by": self.witness, "described_by": self.described_by}
        line = {**clean(self.case.axes()), "case": clean(self.case.key), **facts, **witnesses}
        return line | estimate_columns("ratio", self.low) | estimate_columns("mean_ratio", self.mean)

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Self:
        """Return the inverse of `to_json`; raises UserError if a value is wrong or missing."""
        ratios = {"low": _estimate_in(line, "ratio"), "mean": _estimate_in(line, "mean_ratio")}
        return super().from_json({**line, "case": {**line, "workload": line}, **ratios})


def _estimate_in(line: Mapping[str, Any], name: str) -> Any:
    """Return the fields of the estimate that `estimate_columns` has made columns of a line; None if it has none."""
    values = [line.get(f"{name}{end}") for end in ENDS]
    if values[0] is None:
        return None
    return dict(zip(("value", "lower", "upper"), values, strict=True))


@dataclass(frozen=True)
class Comparison(Record):
    """All findings of one comparison, the worst first."""

    suite: str
    base: str  # in words: a revision, a folder, an interpreter, a run
    head: str
    way: Literal["paired", "stored"]  # in turns, or two runs by their ratios to torch.nn
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    needed: str = ""  # what would decide the undecided cases: `about 6 min more would be enough for 2 of 3 ...`
    seconds: Number | None = None
    preparing: Number | None = None  # of these, until the first pair that was judged

    @property
    def compares(self) -> bool:
        """Return True if something could be compared, and no more than half of the cases fail in the head.

        A live check that leaves a case undecided needs more time, but a case of two stored runs without an interval
        stays without one.
        """
        if self.is_mostly_broken:
            return False
        verdicts = {each.verdict for each in self.findings if self.way == "paired" or each.verdict != "undecided"}
        return bool(verdicts - {None, "incomparable"}) or any(each.deciding for each in self.findings)

    @property
    def failures(self) -> int:
        """The number of cases that fail in the head."""
        return sum(each.is_broken for each in self.findings)

    @property
    def is_mostly_broken(self) -> bool:
        """Return True if more than half of the cases fail in the head."""
        return 2 * self.failures > len(self.findings)

    @property
    def is_decided(self) -> bool:
        """Return True if each case that can be compared has a verdict; a regression is one."""
        return self.compares and not self.count("undecided") and not self.count("incomparable")

    def count(self, outcome: Outcome | None) -> int:
        """Count the findings with this verdict; regressions that are accepted are counted apart."""
        return sum(finding.outcome == outcome for finding in self.findings)

    @property
    def open_cases(self) -> int:
        """The number of timed cases, if none of them is decided; else 0."""
        timed = [each for each in self.findings if each.verdict is not None and each.witness != "code"]
        return len(timed) if all(each.verdict == "undecided" for each in timed) else 0

    def exit_code(self, *, on_undecided: OnUndecided | None = None) -> int:
        """Return 0 if nothing regressed, 1 if a case did, 2 if one, or all, can't be compared; or 3.

        It is 3 if a case is undecided and `on_undecided` is `fail`. Without `on_undecided` it is 3 if a live check has
        timed cases and decided none of them.

        A case that the base or both sides skip, or that only one side has, is listed and does not count, nor does a
        regression that is accepted.
        """
        if self.count("regressed"):
            return 1
        if self.count("incomparable") or not self.compares:
            return 2
        if on_undecided == "fail":
            return 3 if self.count("undecided") else 0
        decided_nothing = self.way == "paired" and self.open_cases > 0
        return 3 if on_undecided is None and decided_nothing else 0

    def to_json(self) -> dict[str, Any]:
        """Return the fields, with the findings as their own objects."""
        facts = clean(
            {field.name: getattr(self, field.name) for field in fields(Comparison) if field.name != "findings"}
        )
        return {**facts, "findings": [finding.to_json() for finding in self.findings]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return the inverse of `to_json`; raises UserError if a value is wrong or missing."""
        findings = []
        for number, line in enumerate(content["findings"]):
            with placed(f"findings[{number}]"):
                findings.append(Finding.from_json(line))
        return super().from_json({**content, "findings": findings})


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort findings, the worst first: by verdict, then by how much slower; a new failure comes before all others."""

    def rank(finding: Finding) -> tuple[int, float]:
        return RANKS[finding.outcome], -(finding.deciding.value if finding.deciding else math.inf)

    return tuple(sorted(findings, key=rank))
