"""What a comparison says: a row for each case, and the answer. Every output is made from these, and a check keeps them.

`of` makes them from a comparison that has just ended, `read` from the `verdicts.json` of a check's folder.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from rnnbench.analysis.comparison import GROWTH, RANKS, WORK, Change, Comparison, Finding, Subject
from rnnbench.analysis.estimate import ENDS, Estimate, estimate_columns
from rnnbench.analysis.summary import SHARED
from rnnbench.analysis.verdict import OLDER_WORDS, Family, Outcome, Verdict
from rnnbench.errors import UserError
from rnnbench.report.verdicts.reasons import shortened, together, why, with_family
from rnnbench.report.verdicts.stored import StoredVerdicts
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
from rnnbench.store.metrics import BY_NAME
from rnnbench.store.records import Case
from rnnbench.text import first_few, plural

FILE = "verdicts.json"
SCHEMA_VERSION = 1
MAX_LISTED = 20  # operators of one case in the file
RATIOS = ("ratio", "mean_ratio")
NUMBERS = [f"{ratio}{end}" for ratio in (*RATIOS, "change") for end in ENDS]
COLUMNS = ["case", "name", "verdict", "accepted", "margin", *NUMBERS, "decided_by", "described_by", "replicates", "why"]
FIRST_WORK = (*GROWTH, *(name for name in WORK if name not in GROWTH))  # counts of the work, the one to name first
NAMED = 2  # operators or definitions in one sentence
# What the answer says of the worst verdict, and the words before the name of the first case, if several have it.
LEADS: dict[Outcome | None, tuple[str, str]] = {
    "regressed": ("{} regressed", "the worst is"),
    "incomparable": ("{} can't be compared", "the first is"),
    "undecided": ("No regression was found, but {} stayed undecided", "the first is"),
    "accepted": ("Nothing regressed but what is accepted, {}", "the worst is"),
    "improved": ("Nothing regressed; {} improved", "the most improved is"),
}
WAYS = {
    "paired": "Measured in turns on the same cores",
    "stored": "Two stored runs, compared by the ratios to their references",
    "saved": "pytest-benchmark's files, each of one process, compared by the ratio to a reference in the same process "
    "where there is one, else by time",
}


@dataclass(frozen=True)
class VerdictRow:
    """One case of a comparison."""

    subject: Subject
    name: str  # without what all cases share
    line: Mapping[str, Any]  # all of it as JSON, with the axes
    verdict: Verdict | None  # None: not compared
    reason: str  # in full, as the case's own code may have given it
    sentence: str  # why, without a full stop; empty where the numbers say all
    margin: float
    decided_by: str | None  # what gave the verdict: ratio, mean_ratio, counts, instructions or code
    described_by: str  # the ratio that describes the time: ratio or mean_ratio
    replicates: int
    instructions: Mapping[str, Any] | None  # None: not counted
    ratio: Estimate | None  # head over base of the typical call; None where no time was compared
    mean_ratio: Estimate | None  # the same in the mean of the calls
    doubt: str = ""  # why it was timed: what of its code may have changed; empty if nobody was asked
    is_kept: bool = False  # it was timed although it runs the same code, as far as is known
    definitions: tuple[str, ...] = ()  # that it may run and that differ
    accepted: str = ""  # why the team has accepted that it regressed; empty if it has not
    family: Family | None = None  # the cases with which it changed, if its own test alone does not show it

    @property
    def outcome(self) -> Outcome | None:
        """Return the verdict, or `accepted` if it is a regression that the team has accepted."""
        return "accepted" if self.accepted else self.verdict

    @property
    def word(self) -> str:
        """Return the verdict for people, also where there is none."""
        return self.outcome or "not compared"

    @property
    def grounds(self) -> str:
        """Return why it is accepted, and why it has its verdict."""
        return "; ".join(filter(None, [f"accepted: {self.accepted}" if self.accepted else "", self.sentence]))

    @property
    def told(self) -> str:
        """Return why it is accepted, why it has its verdict, and why it was timed."""
        return "; ".join(filter(None, [self.grounds, f"timed because {self.doubt}" if self.doubt else ""]))

    @property
    def described(self) -> Estimate | None:
        """Return the change of the time; None where no time was compared."""
        return self.mean_ratio if self.described_by == "mean_ratio" else self.ratio

    @property
    def change(self) -> str:
        """Return `+5.1%`, or nothing."""
        return change(self.described.value) if self.described else ""

    @property
    def interval(self) -> str:
        """Return `[+4.2%, +6.0%]`, or nothing."""
        return change_interval(self.described) if self.described else ""

    def work(self, sign: int) -> Change | None:
        """Return the first count of the work of a call that grew, or shrank if `sign` is -1; None if none did."""
        changes = {line["metric"]: Change(**line) for line in self.line["changes"]}
        moved = (changes[name] for name in FIRST_WORK if name in changes)
        return next((change for change in moved if (change.head - change.base) * sign > 0), None)

    @property
    def is_by_time(self) -> bool:
        """Return True if the time, not a count, gave the verdict or leaves it open."""
        return self.described is not None and self.decided_by not in ("counts", "instructions")

    @property
    def together(self) -> str:
        """Return what the cases of its family lost together; empty if it has none."""
        return together(self.family, is_by_mean=self.decided_by == "mean_ratio") if self.family else ""

    @property
    def brief(self) -> str:
        """Return `5.1% slower (+4.2% to +6.0%)`, or the sentence if the time did not decide.

        Of a case that regressed with others it is what they lost together, without the cause.
        """
        return self.together or self.own_brief

    @property
    def own_brief(self) -> str:
        """Return `5.1% slower (+4.2% to +6.0%)` of the case itself, or the sentence if the time did not decide."""
        if self.described is None or self.reason or not self.is_by_time:
            return self.sentence
        by_mean = self.described_by == "mean_ratio"
        if self.verdict == "undecided":
            return f"{f'{IN_THE_MEAN} ' if by_mean else ''}{between(self.described)}"
        return f"{slower(self.described.value)}{f' {IN_THE_MEAN}' if by_mean else ''} ({change_span(self.described)})"


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
    preparing: float | None = None  # seconds before the first pair that was judged

    @cached_property
    def by_verdict(self) -> Mapping[Outcome | None, list[VerdictRow]]:
        """Return the rows of each verdict, in the order of RANKS; regressions that are accepted stand apart."""
        return {outcome: [row for row in self.rows if row.outcome == outcome] for outcome in RANKS}

    @cached_property
    def judged(self) -> list[VerdictRow]:
        """Return the rows that have a verdict."""
        return [row for row in self.rows if row.verdict is not None]

    @property
    def subject(self) -> str:
        """Return `quick: base main against head the working tree: 2 of 10 cases may run changed code: Cell.forward`."""
        return one_line(
            ": ".join(filter(None, [f"{self.suite}: base {self.base} against head {self.head}", self.timed]))
        )

    @property
    def timed(self) -> str:
        """Return how many cases may run changed code, and which; empty if nobody was asked."""
        if not any(row.doubt or row.decided_by == "code" for row in self.rows):
            return ""
        kept = sum(row.is_kept for row in self.judged)
        changed = [row for row in self.judged if row.decided_by != "code" and not row.is_kept]
        causes = Counter(cause for row in changed for cause in _causes(row))
        text = f"{len(changed):,} of {plural(len(self.judged), 'case')} may run changed code"
        text = f"{text}: {first_few([cause for cause, _ in causes.most_common()], NAMED)}" if causes else text
        more = (
            f"{plural(kept, 'case')} {'looks' if kept == 1 else 'look'} changed in a pair of workers, though no code is"
        )
        return f"{text}; {more}" if kept else text

    @property
    def margins(self) -> str:
        """Return `2.5%`, or `2.5% to 5%` if margins differ; `none` if nothing was judged."""
        margins = [row.margin for row in self.judged]
        return span(round_percent(min(margins)), round_percent(max(margins))) if margins else "none"

    @property
    def method(self) -> str:
        """Return how it was compared, what the numbers are, and what all cases have in common."""
        spent = f" in {duration(self.seconds)}" if self.seconds is not None else ""
        if spent and self.preparing:
            spent += f" ({duration(self.preparing)} of it to prepare)"
        typical = "lower quartile of the rounds" if self.way == "saved" else "typical call"
        what = f"{WAYS[self.way]}{spent}. Change: head over base in the {typical}, or in their mean where that decides"
        if all(row.described is None for row in self.rows):
            what = f"No times were compared{spent}"
        return f"{what}. Margin: {self.margins}.{f' Everywhere: {self.shared}.' if self.shared else ''}"

    @property
    def answer(self) -> str:
        """Return whether something regressed, and the worst case with its number."""
        if self.is_mostly_broken:
            return f"Not checked: {self.broken:,} of {plural(len(self.rows), 'case')} failed."
        if not self.judged:
            return shortened(f"No case was compared: {self.rows[0].sentence if self.rows else 'there is no case'}.")
        worst = self.judged[0].outcome
        if worst == "undecided" and self.work:
            return f"{self.work}."
        rows = self.by_verdict[worst]
        of_all = f"{len(rows):,} of {plural(len(self.judged), 'case')}"
        if worst == "unchanged":
            return f"Nothing regressed: {of_all} unchanged within {self.margins}."
        if worst == "improved":
            rows = sorted(rows, key=lambda row: row.described.value if row.described else math.inf)
        first, (text, leader) = rows[0], LEADS[worst]
        if self.by_verdict["accepted"]:
            text = text.replace("No regression was found,", "No regression was found but what is accepted,")
        text = (worst == "undecided" and self.nothing) or text.format(of_all)
        reasons = {row.reason or row.together for row in rows}
        if len(rows) == 1 or len(reasons) > 1 or "" in reasons:  # else they have one reason
            text = f"{text}{f'; {leader} ' if len(rows) > 1 else ': '}{first.name}"
        return shortened(f"{text}: {first.brief}" if first.brief else text) + "."

    @property
    def broken(self) -> int:
        """Return the number of cases that fail in the head."""
        return sum(bool(row.line.get("is_broken")) for row in self.rows)

    @property
    def is_mostly_broken(self) -> bool:
        """Return True if more than half of the cases fail in the head, and nothing else is worse."""
        return self.broken * 2 > len(self.rows) and not self.by_verdict["regressed"]

    @property
    def work(self) -> str:
        """Return `Work grew in 2 of 10 cases: +8 operator calls (7%); time undecided`; empty if it did not change.

        Of the undecided cases only. The number is that of the case in which the work grew most, or else shrank most.
        """
        of_all = plural(len(self.judged), "case")
        for word, sign in (("grew", 1), ("fell", -1)):
            moved = [change for row in self.by_verdict["undecided"] if (change := row.work(sign))]
            if moved:
                most = max(moved, key=lambda change: abs(math.log(change.ratio)) if change.base else math.inf)
                share = f" ({percent(abs(most.ratio - 1))})" if most.base else ""
                up_to = "up to " if len({(each.metric, each.head - each.base) for each in moved}) > 1 else ""
                size = f"{up_to}{most.head - most.base:+,} {BY_NAME[most.metric].label}{share}"
                return f"Work {word} in {len(moved):,} of {of_all}: {size}; time undecided"
        return ""

    @property
    def nothing(self) -> str:
        """Return `Not checked: 0 of 12 decided` if no case that was timed is decided; otherwise empty."""
        timed = [row for row in self.judged if row.decided_by != "code"]
        is_open = all(row.verdict == "undecided" for row in timed)
        return f"Not checked: 0 of {len(timed):,} decided" if timed and is_open else ""

    @property
    def families(self) -> list[str]:
        """Return what the cases of each family lost together, a sentence each, without the one that the answer says."""
        told = dict.fromkeys(row.together for row in self.rows if row.family)
        return [f"{text[0].upper()}{text[1:]}." for text in told if text not in self.answer]

    @property
    def details(self) -> str:
        """Return what the answer leaves out: other verdicts, families, what is needed, instructions; may be empty."""
        counts = [f"{len(rows):,} {word or 'not compared'}" for word, rows in self.by_verdict.items() if rows]
        is_open = bool(self.judged) and self.judged[0].verdict == "undecided"
        if (self.is_mostly_broken or (is_open and (self.work or self.nothing))) and counts[1:]:
            sentences = [f"In all {', '.join(counts)}."]  # the answer tells another number than these
        else:
            sentences = [f"Also {', '.join(counts[1:])}."] if counts[1:] else []
        sentences += self.families
        if needed := self.needed or ("raise --budget" if self.by_verdict["undecided"] and self.way == "paired" else ""):
            sentences.append(f"{needed[0].upper()}{needed[1:]}.")
        if counted := [row.instructions for row in self.rows if row.instructions]:
            more = sum(each["is_beyond_margin"] and each["ratio"] > 1 for each in counted)
            takes = f"{'take' if more > 1 else 'takes'} more instructions"
            sentences.append(f"{more or 'None'} of {plural(len(counted), 'counted case')} {takes}.")
        if shared := sum(row.line.get("state") == SHARED for row in self.rows):
            sentences.append(f"{plural(shared, 'case')} {'was' if shared == 1 else 'were'} timed {SHARED}.")
        return " ".join(sentences)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Return a row of COLUMNS for each case; `change` is the ratio that describes the time."""
        lines = [
            {**vars(row), "case": one_line(row.subject.key), "why": row.told}
            | estimate_columns("ratio", row.ratio)
            | estimate_columns("mean_ratio", row.mean_ratio)
            | estimate_columns("change", row.described)
            for row in self.rows
        ]
        return pd.DataFrame(lines, columns=COLUMNS).astype(dict.fromkeys([*NUMBERS, "margin"], float))

    def json(self) -> str:
        """Return everything that is known as one object, with the sentences that the terminal shows."""
        keys = (
            "suite",
            "base",
            "head",
            "way",
            "seconds",
            "preparing",
            "timed",
            "answer",
            "details",
            "method",
            "needed",
            "notes",
        )
        counts = {verdict or "not_compared": len(rows) for verdict, rows in self.by_verdict.items()}
        content = {"schema_version": SCHEMA_VERSION, **{key: getattr(self, key) for key in keys}}
        content |= {"counts": counts, "findings": [row.line for row in self.rows]}
        return json.dumps(content, allow_nan=False, indent=2) + "\n"

    def json_lines(self) -> str:
        """Return the rows, one object a line."""
        return "".join(json.dumps(row.line, allow_nan=False) + "\n" for row in self.rows)


def _causes(row: VerdictRow) -> list[str]:
    """Return the definitions for which a case was timed, without their files, or else the reason."""
    if row.definitions:
        return [*dict.fromkeys(definition.rpartition(":")[2] for definition in row.definitions)]
    return [row.doubt] if row.doubt else []


def of(comparison: Comparison) -> Verdicts:
    """Return what a comparison says."""
    subjects = [finding.case for finding in comparison.findings]
    content = vars(comparison) | {"findings": [_line(finding) for finding in comparison.findings]}
    return replace(_verdicts(content, subjects), compares=comparison.compares)


def _line(finding: Finding) -> dict[str, Any]:
    """Return what is known of a case as values for JSON."""
    witnesses = {
        "code": finding.is_by_code,
        "counts": finding.is_by_counts,
        "instructions": finding.is_by_instructions,
        "ratio": finding.decided_by == "low",
        "mean_ratio": finding.decided_by == "mean",
    }
    family = finding.family
    counted = finding.instructions and {
        "counter": finding.instructions.head.counter,
        "ratio": finding.instructions.ratio,
        "spread": finding.instructions.spread,
        "is_beyond_margin": finding.instructions.is_beyond,
        "base": finding.instructions.base.total,
        "head": finding.instructions.head.total,
        "parts": finding.instructions.parts(),
        "operators": [
            {"name": name, "base": base, "head": head}
            for name, base, head in finding.instructions.operators()[:MAX_LISTED]
        ],
    }
    line = {
        **finding.case.axes(),
        "case": finding.case.key,
        "verdict": finding.verdict,
        "reason": finding.reason,
        "sentence": why(finding),
        "margin": finding.margin,
        "decided_by": next((witness for witness, decides in witnesses.items() if decides), None),
        "described_by": "mean_ratio" if finding.is_by_mean else "ratio",
        "replicates": finding.replicates,
        "changes": [each._asdict() for each in finding.changes],
        "instructions": counted,
        "state": finding.state,
        "is_broken": finding.is_broken,
        "doubt": finding.doubt,
        "is_kept": finding.is_kept,
        "definitions": [*finding.definitions],
        "accepted": finding.accepted,
        "family": family and {"name": family.name, "cases": family.cases} | estimate_columns("ratio", family.ratio),
    }
    return line | estimate_columns("ratio", finding.low) | estimate_columns("mean_ratio", finding.mean)


def read(folder: Path) -> Verdicts | None:
    """Read a check's verdicts; None if it ended before it had any. Raises UserError if the file can't be read."""
    file = folder / FILE
    if not file.exists():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["schema_version"] != SCHEMA_VERSION:
            raise UserError(f"schema_version is {content['schema_version']!r}; use the rnnbench that wrote it")
        StoredVerdicts.from_json(content)
        return _verdicts(content, [Case.from_axes(dict(line)) for line in content["findings"]])
    except UserError as fault:
        raise UserError(f"{file}: {fault}") from None
    except (OSError, LookupError, TypeError, ValueError) as fault:
        raise UserError(f"{file}: can't be read: {type(fault).__name__}: {fault}") from None


def _verdicts(content: Mapping[str, Any], subjects: Sequence[Subject]) -> Verdicts:
    """Return the verdicts whose `findings` are lines of JSON, one of each subject."""
    labels, shared = names(subjects)
    return Verdicts(
        one_line(content["suite"]),
        one_line(content["base"]),
        one_line(content["head"]),
        content["way"],
        content["seconds"],
        one_line(content.get("needed", "")),
        tuple(map(one_line, content["notes"])),
        tuple(_row(*each, labels[each[0].key]) for each in zip(subjects, content["findings"], strict=True)),
        shared,
        preparing=content.get("preparing"),
    )


def _row(subject: Subject, line: Mapping[str, Any], name: str) -> VerdictRow:
    ends = {ratio: [line[f"{ratio}{end}"] for end in ENDS] for ratio in RATIOS}
    ratios = {ratio: None if None in values else Estimate(*values) for ratio, values in ends.items()}
    family = _family(line)
    reason, sentence = line["reason"], one_line(line["sentence"])
    if family and reason:  # in files of an older version, reason and sentence tell what the family lost together
        cause = sentence.removeprefix(one_line(reason)).removeprefix("; ")
        reason, sentence = "", "; ".join(filter(None, [with_family(family), cause]))
    return VerdictRow(
        subject,
        name,
        line,
        OLDER_WORDS.get(line["verdict"], line["verdict"]),
        reason,
        sentence,
        line["margin"],
        line["decided_by"],
        line.get("described_by") or "ratio",
        line["replicates"],
        line.get("instructions"),
        **ratios,
        doubt=one_line(line.get("doubt", "")),
        is_kept=line.get("is_kept", False),
        definitions=tuple(map(one_line, line.get("definitions", ()))),
        accepted=one_line(line.get("accepted", "")),
        family=family,
    )


def _family(line: Mapping[str, Any]) -> Family | None:
    """Return the family of a line of JSON; None if it has none."""
    if not (known := line.get("family")):
        return None
    return Family(known["name"], known["cases"], Estimate(*(known[f"ratio{end}"] for end in ENDS)))
