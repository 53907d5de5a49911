"""What a comparison says: a row for each case, and the answer. Every output is made from these, and a check keeps them.

`of` makes them from a comparison that has just ended, `read` from the `verdicts.json` of a check's folder.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from rnnbench.analysis.comparison import RANKS, Comparison, Finding, Subject
from rnnbench.analysis.estimate import Estimate, estimate_columns
from rnnbench.analysis.instructions import InstructionChange
from rnnbench.analysis.verdict import OLDER_WORDS, Verdict
from rnnbench.errors import UserError
from rnnbench.report.verdicts.words import shortened, why
from rnnbench.report.words.names import names, one_line
from rnnbench.report.words.units import (
    IN_THE_MEAN,
    between,
    change,
    change_interval,
    change_span,
    duration,
    percent,
    round_percent,
    slower,
    span,
)
from rnnbench.store.records import Case
from rnnbench.text import plural

FILE = "verdicts.json"
SCHEMA_VERSION = 1
MAX_LISTED = 20  # operators, and functions, of one case in the file
NUMBERS = [f"{ratio}{end}" for ratio in ("ratio", "mean_ratio") for end in ("", "_low", "_high")]
COLUMNS = ["case", "name", "verdict", "margin", *NUMBERS, "decided_by", "described_by", "replicates", "why"]
WAYS = {
    "paired": "Measured in turns on the same cores",
    "stored": "Two stored runs, compared by the ratios to their references",
    "saved": "pytest-benchmark's files, each of one process, compared by the ratio to a reference in the same process "
    "where there is one, else by time",
}
LEADS: tuple[tuple[Verdict, str, str], ...] = (  # the first verdict that a case has gives the answer
    ("regressed", "{count} regressed", "the worst is"),
    ("incomparable", "{count} can't be compared", "the first is"),  # before undecided cases
    ("improved", "Nothing regressed; {count} improved", "the most improved is"),
)


@dataclass(frozen=True)
class VerdictRow:
    """One case of a comparison."""

    subject: Subject
    name: str  # without what all cases share
    verdict: Verdict | None  # None: not compared
    reason: str  # in full, as the case's own code may have given it
    sentence: str  # why, without a full stop; empty where the numbers say all
    margin: float
    ratio: Estimate | None  # head over base of the typical call; None where no time was compared
    mean_ratio: Estimate | None  # the same in the mean of the calls
    decided_by: str | None  # what gave the verdict: ratio, mean_ratio, counts, instructions or code
    described_by: str  # the ratio that describes the time: ratio or mean_ratio
    replicates: int
    changes: Sequence[Mapping[str, Any]]  # counts that differ: metric, base and head
    instructions: Mapping[str, Any] | None  # None: not counted

    @property
    def word(self) -> str:
        """The verdict, also where there is none."""
        return self.verdict or "not compared"

    @property
    def described(self) -> Estimate | None:
        """The change of the time; None where no time was compared."""
        return self.mean_ratio if self.described_by == "mean_ratio" else self.ratio

    @property
    def change(self) -> str:
        """`+5.1%`, or nothing."""
        return change(self.described.value) if self.described else ""

    @property
    def interval(self) -> str:
        """`[+4.2%, +6.0%]`, or nothing."""
        return change_interval(self.described) if self.described else ""

    @property
    def brief(self) -> str:
        """`5.1% slower (+4.2% to +6.0%)`, or the sentence if the time did not decide."""
        if self.described is None or self.reason or self.decided_by in ("counts", "instructions"):
            return self.sentence
        by_mean = self.described_by == "mean_ratio"
        if self.verdict == "undecided":
            return f"{f'{IN_THE_MEAN} ' if by_mean else ''}{between(self.described)}"
        return f"{slower(self.described.value)}{f' {IN_THE_MEAN}' if by_mean else ''} ({change_span(self.described)})"

    @property
    def takes_more(self) -> bool:
        """Whether the head takes more instructions."""
        return bool(self.instructions and self.instructions["is_beyond_margin"] and self.instructions["ratio"] > 1)

    def line(self) -> dict[str, Any]:
        """The row as values for JSON."""
        return {
            **self.subject.axes(),
            "case": self.subject.key,
            "verdict": self.verdict,
            "reason": self.reason,
            "sentence": self.sentence,
            "margin": self.margin,
            **estimate_columns("ratio", self.ratio),
            **estimate_columns("mean_ratio", self.mean_ratio),
            "decided_by": self.decided_by,
            "described_by": self.described_by,
            "replicates": self.replicates,
            "changes": self.changes,
            "instructions": self.instructions,
        }


@dataclass(frozen=True)
class Verdicts:
    """The verdicts of a comparison, the worst first."""

    suite: str
    base: str  # which code, in words
    head: str
    way: str  # a key of WAYS
    seconds: float | None
    needed: str  # what would decide the undecided cases
    notes: tuple[str, ...]
    rows: tuple[VerdictRow, ...]
    shared: str  # what all cases have in common
    compares: bool = True  # whether something could be compared

    @cached_property
    def by_verdict(self) -> Mapping[Verdict | None, list[VerdictRow]]:
        """The rows that have a verdict, by each in the order of RANKS."""
        return {verdict: [row for row in self.rows if row.verdict == verdict] for verdict in RANKS}

    @cached_property
    def judged(self) -> list[VerdictRow]:
        """The rows that have a verdict."""
        return [row for row in self.rows if row.verdict is not None]

    @property
    def subject(self) -> str:
        """`quick: base main (1a2b3c4) against head the working tree: 3 of 24 cases run code that changed`."""
        changed = sum(row.decided_by != "code" for row in self.judged)
        runs = f": {changed:,} of {plural(len(self.judged), 'case')} {'runs' if changed == 1 else 'run'} code"
        of_all = f"{runs} that changed" if changed < len(self.judged) else ""
        return one_line(f"{self.suite}: base {self.base} against head {self.head}{of_all}")

    @property
    def margins(self) -> str:
        """`2.5%`, or `2.5% to 5%` if margins differ; `none` if nothing was judged."""
        known = {row.margin for row in self.judged}
        return span(round_percent(min(known)), round_percent(max(known))) if known else "none"

    @property
    def method(self) -> str:
        """How it was compared, what the numbers are, and what all cases have in common."""
        spent = f" in {duration(self.seconds)}" if self.seconds is not None else ""
        typical = "lower quartile of the rounds" if self.way == "saved" else "typical call"
        what = f"{WAYS[self.way]}{spent}. Change: head over base in the {typical}, or in their mean where that decides"
        if all(row.described is None for row in self.rows):
            what = f"No times were compared{spent}"
        return f"{what}. Margin: {self.margins}.{f' Everywhere: {self.shared}.' if self.shared else ''}"

    @property
    def answer(self) -> str:
        """Whether something regressed, and the worst case with its number."""
        if not self.judged:
            return shortened(f"No case was compared: {self.rows[0].sentence if self.rows else 'there is no case'}.")
        of_all, rows = plural(len(self.judged), "case"), self.by_verdict
        for verdict, lead, leader in LEADS:
            if found := rows[verdict]:
                if verdict == "improved":
                    found = sorted(found, key=lambda row: row.described.value if row.described else math.inf)
                return _led(lead.format(count=f"{len(found):,} of {of_all}"), found, leader)
            if verdict == "incomparable" and rows["undecided"]:
                return self._undecided(rows["undecided"], of_all)
        return f"Nothing regressed: {len(rows['unchanged']):,} of {of_all} unchanged within {self.margins}."

    def _undecided(self, opens: Sequence[VerdictRow], of_all: str) -> str:
        """How many cases are undecided, and what would decide them: an interval that tells nothing is no answer."""
        if len(opens) == len(self.judged) and not any(row.described for row in opens):
            return shortened(f"No time was compared: {opens[0].sentence}.")
        is_harmless = all(row.described is None or row.described.value <= 1 + row.margin for row in opens)
        needed = self.needed or ("raise --budget" if self.way == "paired" else "")
        count = f"{len(opens):,} of {of_all} {'is' if len(opens) == 1 else 'are'} undecided"
        return f"{'No regression was found, but ' if is_harmless else ''}{count}{f': {needed}' if needed else ''}."

    @property
    def details(self) -> str:
        """What the answer leaves out: other verdicts, what undecided cases need, instructions; may be empty."""
        stated, *others = [verdict for verdict in RANKS if self.by_verdict[verdict]] or [None]
        parts = [f"{len(self.by_verdict[verdict]):,} {verdict or 'not compared'}" for verdict in others]
        sentences = [f"Also {', '.join(parts)}."] if parts else []
        opens = {row.name: row.described for row in self.by_verdict["undecided"] if row.described}
        if stated == "undecided" and opens:
            name, change = max(opens.items(), key=lambda each: abs(math.log(each[1].value)))
            sentences = [f"The largest undecided change is {name}: {between(change)}.", *sentences]
        elif self.needed:
            sentences.append(f"{self.needed[0].upper()}{self.needed[1:]}.")
        return " ".join([*sentences, *self._instructions()])

    def _instructions(self) -> list[str]:
        counted = [row for row in self.rows if row.instructions is not None]
        more = sorted((row for row in counted if row.takes_more), key=_more_instructions)
        if not more:
            number = plural(len(counted), "case")
            return [f"Of {number} counted, none takes more instructions."] if counted else []
        take, which = ("takes", "") if len(more) == 1 else ("take", "the most is ")
        size = percent(-_more_instructions(more[0]) - 1)
        of_all = f"{len(more):,} of {plural(len(counted), 'case')}"
        return [f"{of_all} {take} more instructions: {which}{more[0].name}, {size}."]

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row of COLUMNS for each case."""
        lines = [
            {**row.line(), "case": one_line(row.subject.key), "name": row.name, "why": row.sentence}
            for row in self.rows
        ]
        return pd.DataFrame(lines, columns=COLUMNS).astype(dict.fromkeys([*NUMBERS, "margin"], float))

    def json(self) -> str:
        """Everything that is known as one object, with the sentences that the terminal shows."""
        counts = {verdict or "not_compared": len(rows) for verdict, rows in self.by_verdict.items()}
        keys = ("suite", "base", "head", "way", "seconds", "answer", "details", "method", "needed")
        content = {
            "schema_version": SCHEMA_VERSION,
            **{key: getattr(self, key) for key in keys},
            "notes": list(self.notes),
            "counts": counts,
            "findings": [row.line() for row in self.rows],
        }
        return json.dumps(content, allow_nan=False, indent=2) + "\n"

    def json_lines(self) -> str:
        """The rows, one object a line."""
        return "".join(json.dumps(row.line(), allow_nan=False) + "\n" for row in self.rows)


def _led(text: str, rows: Sequence[VerdictRow], leader: str) -> str:
    """How many cases have a verdict, and the first of them, unless all have it for one reason."""
    first = rows[0]
    if len(rows) > 1 and first.reason and len({row.reason for row in rows}) == 1:
        return shortened(f"{text}: {first.brief}") + "."
    named = f"{text}{f'; {leader} ' if len(rows) > 1 else ': '}{first.name}"
    return shortened(f"{named}: {first.brief}" if first.brief else named) + "."


def _more_instructions(row: VerdictRow) -> float:
    """The ratio of the instructions, negative: the most come first."""
    return -float(row.instructions["ratio"]) if row.instructions else 0.0


def of(comparison: Comparison) -> Verdicts:
    """Return what a comparison says."""
    called = names(finding.case for finding in comparison.findings)
    rows = tuple(_row(finding, called.name(finding.case)) for finding in comparison.findings)
    return Verdicts(
        one_line(comparison.suite),
        one_line(comparison.base),
        one_line(comparison.head),
        comparison.way,
        comparison.seconds,
        one_line(comparison.needed),
        tuple(map(one_line, comparison.notes)),
        rows,
        called.shared,
        comparison.compares,
    )


def _row(finding: Finding, name: str) -> VerdictRow:
    by_time = {"low": "ratio", "mean": "mean_ratio", None: None}[finding.decided_by]
    return VerdictRow(
        finding.case,
        name,
        finding.verdict,
        finding.reason,
        why(finding),
        finding.margin,
        finding.low,
        finding.mean,
        "instructions"
        if finding.is_by_instructions
        else "code"
        if finding.is_by_code
        else "counts"
        if finding.is_by_counts
        else by_time,
        "mean_ratio" if finding.is_by_mean else "ratio",
        finding.replicates,
        [{"metric": each.metric.name, "base": each.base, "head": each.head} for each in finding.changes],
        _counted(finding.instructions),
    )


def _counted(known: InstructionChange | None) -> dict[str, Any] | None:
    """What was counted, with the operators and the functions that changed most."""
    if known is None:
        return None
    return {
        "counter": known.head.counter,
        "ratio": known.ratio,
        "spread": known.spread,
        "is_beyond_margin": known.is_beyond,
        "base": known.base.total,
        "head": known.head.total,
        "parts": known.parts(),
        "operators": [vars(changed) for changed in known.operators()[:MAX_LISTED]],
        "functions": [vars(changed) for changed in known.functions()[:MAX_LISTED]],
    }


def read(folder: Path) -> Verdicts | None:
    """Read a check's verdicts; None if it ended before it had any. Raises UserError if the file can't be read."""
    file = folder / FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["schema_version"] != SCHEMA_VERSION:
            found = content["schema_version"]
            raise UserError(f"{file}: schema_version is {found!r}; use the rnnbench that wrote it")
        lines = content["findings"]
        cases = [Case.from_axes(dict(line)) for line in lines]
        called = names(cases)
        return Verdicts(
            one_line(content["suite"]),
            one_line(content["base"]),
            one_line(content["head"]),
            content["way"],
            content["seconds"],
            one_line(content.get("needed", "")),
            tuple(map(one_line, content["notes"])),
            tuple(_row_of(line, case, called.name(case)) for line, case in zip(lines, cases, strict=True)),
            called.shared,
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as fault:
        raise UserError(f"{file}: can't be read: {fault.strerror}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise UserError(f"{file}: can't be read: {type(fault).__name__}: {fault}; was it edited?") from None


def _row_of(line: Mapping[str, Any], case: Case, name: str) -> VerdictRow:
    verdict = OLDER_WORDS.get(line["verdict"], line["verdict"])
    if verdict not in (None, *get_args(Verdict)):
        raise ValueError(f"verdict {verdict!r}")
    ratio, mean_ratio = (
        Estimate(*ends) if None not in ends else None
        for ends in ([line[f"{key}{end}"] for end in ("", "_low", "_high")] for key in ("ratio", "mean_ratio"))
    )
    decided_by = line["decided_by"]
    return VerdictRow(
        case,
        name,
        verdict,
        line["reason"],
        one_line(line["sentence"]),
        float(line["margin"]),
        ratio,
        mean_ratio,
        decided_by,
        line.get("described_by") or ("mean_ratio" if decided_by == "mean_ratio" else "ratio"),
        int(line["replicates"]),
        line["changes"],
        line["instructions"],
    )


def earlier(folder: Path, suite: str, most: int = 8) -> list[dict[str, str]]:
    """Return what the last checks of a suite beside a check's folder found, the newest first.

    Each has `when`, `head`, `base`, `verdicts` and `largest`, the change of its worst case.
    """
    beside = [other for other in folder.parent.iterdir() if other.name.startswith(f"{suite}-check-")]
    found = []
    for other in sorted((other for other in beside if other.name < folder.name), reverse=True)[:most]:
        if not (other / FILE).exists():
            continue
        stamp = other.name.rsplit("-", 2)[1]
        line = {"when": f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]} {stamp[9:11]}:{stamp[11:13]}"}
        try:
            check = read(other)
        except UserError:
            check = None
        if check is None:
            found.append(line | {"verdicts": f"its {FILE} can't be read"})
            continue
        counts = Counter(row.word for row in check.rows)
        words = ", ".join(
            f"{counts[word]} {word}" for word in (verdict or "not compared" for verdict in RANKS) if counts[word]
        )
        largest = check.rows[0].change if check.rows else ""
        found.append(line | {"head": check.head, "base": check.base, "verdicts": words, "largest": largest})
    return found
