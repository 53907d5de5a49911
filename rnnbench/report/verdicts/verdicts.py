"""What a comparison says: a row for each case, and the answer. Every output is made from these, and a check keeps them.

`of` makes them from a comparison that has just ended, `read` from the `verdicts.json` of a check's folder.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from rnnbench.analysis.comparison import RANKS, Comparison, Finding
from rnnbench.analysis.estimate import ENDS, estimate_columns
from rnnbench.analysis.summary import SHARED
from rnnbench.analysis.verdict import Outcome
from rnnbench.errors import UserError
from rnnbench.report.verdicts.reasons import explained, shortened, size_together, together, why
from rnnbench.report.words.names import names, one_line
from rnnbench.report.words.units import (
    duration,
    percent,
    round_percent,
    span,
)
from rnnbench.store.metrics import BY_NAME
from rnnbench.text import first_few, plural

VERDICTS_FILE = "verdicts.json"
VERDICTS_VERSION = 2
RATIO_NAMES = ("ratio", "mean_ratio")
NUMBER_NAMES = [f"{ratio}{end}" for ratio in (*RATIO_NAMES, "change") for end in ENDS]
VERDICT_COLUMNS = [
    "case",
    "name",
    "verdict",
    "accepted",
    "margin",
    *NUMBER_NAMES,
    "decided_by",
    "described_by",
    "replicates",
    "why",
]
CAUSES_NAMED = 2  # operators or definitions in one sentence
# What the answer says of the worst verdict, and the words before the name of the first case, if several have it.
LEADS: dict[Outcome | None, tuple[str, str]] = {
    "regressed": ("{} regressed", "the worst is"),
    "incomparable": ("{} can't be compared", "the first is"),
    "undecided": ("No regression was found{but}, but {} stayed undecided", "the first is"),
    "accepted": ("Nothing regressed but what is accepted, {}", "the worst is"),
    "improved": ("Nothing regressed; {} improved", "the most improved is"),
}
WAYS = {
    "paired": "Measured interleaved on the same cores",
    "stored": "Two stored runs, compared by the ratios to their references",
}


@dataclass(frozen=True)
class Verdicts(Comparison):
    """The verdicts of a comparison with their words, the worst first."""

    names: Mapping[str, str] = field(default_factory=dict)  # of each case by its key, without what all have in common
    shared: str = ""  # what all cases have in common

    @cached_property
    def by_verdict(self) -> Mapping[Outcome | None, list[Finding]]:
        """Return the rows of each verdict, in the order of RANKS; regressions that are accepted stand apart."""
        return {outcome: [row for row in self.findings if row.outcome == outcome] for outcome in RANKS}

    @cached_property
    def judged(self) -> list[Finding]:
        """Return the rows that have a verdict."""
        return [row for row in self.findings if row.verdict is not None]

    @property
    def subject(self) -> str:
        """Return `quick: base main against head the working tree: 2 of 10 cases may run changed code: Cell`."""
        return one_line(
            ": ".join(filter(None, [f"{self.suite}: base {self.base} against head {self.head}", self.timed]))
        )

    @cached_property
    def changed(self) -> list[Finding]:
        """Return the rows of the cases that may run changed code."""
        return [row for row in self.judged if row.witness != "code" and not row.is_kept]

    @cached_property
    def causes(self) -> list[str]:
        """Return why cases may run changed code, the most frequent reason first."""
        return [cause for cause, _ in Counter(cause for row in self.changed for cause in _causes(row)).most_common()]

    @property
    def timed(self) -> str:
        """Return how many cases may run changed code, and which; empty if nobody was asked."""
        if not any(row.cause or row.witness == "code" for row in self.findings):
            return ""
        same_code = sum(row.is_kept for row in self.judged)
        text = f"{len(self.changed):,} of {plural(len(self.judged), 'case')} may run changed code"
        text = f"{text}: {first_few(self.causes, CAUSES_NAMED)}" if self.causes else text
        looks = "looks" if same_code == 1 else "look"
        more = f"{plural(same_code, 'case')} {looks} changed in a pair of workers, though no code is"
        return f"{text}; {more}" if same_code else text

    @property
    def has_margins(self) -> bool:
        """Return True if the cases have unlike margins."""
        return len({round_percent(row.margin) for row in self.judged}) > 1

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
        what = (
            f"{WAYS[self.way]}{spent}. Change: head over base in the typical call, or in their mean where that decides"
        )
        if all(row.deciding is None for row in self.findings):
            were_timed = any(row.replicates for row in self.by_verdict["undecided"])
            what = f"{'Too few replicates were timed' if were_timed else 'No times were compared'}{spent}"
        return f"{what}. Margin: {self.margins}.{f' Everywhere: {self.shared}.' if self.shared else ''}"

    @property
    def headline(self) -> str:
        """Return the answer in a few words, such as `2 of 24 cases regressed`; it names no case."""
        if self.is_unchecked:
            return f"Not checked: {self.failures:,} of {plural(len(self.findings), 'case')} failed"
        if not self.judged:
            return "No case was compared"
        worst = self.judged[0].outcome
        of_all = f"{len(self.by_verdict[worst]):,} of {plural(len(self.judged), 'case')}"
        if worst == "unchanged":
            return f"Nothing regressed: {of_all} unchanged within {self.margins}"
        if worst == "undecided" and (self.work or self.nothing):
            return f"{self.work.partition(':')[0]}; time undecided" if self.work else self.nothing
        but = " but what is accepted" if self.by_verdict["accepted"] else ""
        return LEADS[worst][0].format(of_all, but=but)

    @property
    def answer(self) -> str:
        """Return whether something regressed, and the worst case with its number."""
        text = self.headline
        worst = self.judged[0].outcome if self.judged else None
        if self.is_unchecked or worst == "unchanged":
            return f"{text}."
        if not self.judged:
            return shortened(f"{text}: {why(self.findings[0]) if self.findings else 'there is no case'}.")
        if worst == "undecided" and self.work:
            return f"{self.work}."
        rows = self.by_verdict[worst]
        if worst == "improved":
            rows = sorted(rows, key=lambda row: row.deciding.value if row.deciding else math.inf)
        first = rows[0]
        leader = LEADS[worst][1]
        reasons = {row.reason or together(row) for row in rows}
        if len(rows) == 1 or len(reasons) > 1 or "" in reasons:  # else they have one reason
            text = f"{text}{f'; {leader} ' if len(rows) > 1 else ': '}{self.name(first)}"
        number = size_together(first)
        return shortened(f"{text}: {number}" if number else text) + "."

    @property
    def is_unchecked(self) -> bool:
        """Return True if more than half of the cases fail in the head, and nothing else is worse."""
        return self.is_mostly_broken and not self.by_verdict["regressed"]

    @property
    def work(self) -> str:
        """Return `Work grew in 2 of 10 cases: +8 operator calls (7%); time undecided`; empty if it did not change.

        Of the undecided cases only. The number is that of the case in which the work grew most, or else shrank most.
        """
        of_all = plural(len(self.judged), "case")
        for word, sign in (("grew", 1), ("fell", -1)):
            moved = [change for row in self.by_verdict["undecided"] if (change := row.first_work(sign))]
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
        return f"Not checked: 0 of {self.open_cases:,} decided" if self.open_cases else ""

    @property
    def families(self) -> list[str]:
        """Return what the cases of each family lost together, a sentence each, without the one that the answer says."""
        sentences = dict.fromkeys(together(row) for row in self.findings if row.family)
        return [f"{text[0].upper()}{text[1:]}." for text in sentences if text not in self.answer]

    @property
    def details(self) -> str:
        """Return what the answer leaves out: other verdicts, families, what is needed, instructions; may be empty."""
        counts = [f"{len(rows):,} {word or 'not compared'}" for word, rows in self.by_verdict.items() if rows]
        is_open = bool(self.judged) and self.judged[0].verdict == "undecided"
        if (self.is_unchecked or (is_open and (self.work or self.nothing))) and counts[1:]:
            sentences = [f"In all {', '.join(counts)}."]  # the answer tells another number than these
        else:
            sentences = [f"Also {', '.join(counts[1:])}."] if counts[1:] else []
        sentences += self.families
        if needed := self.needed or ("raise --budget" if self.by_verdict["undecided"] and self.way == "paired" else ""):
            sentences.append(f"{needed[0].upper()}{needed[1:]}.")
        if counted := [row.instructions for row in self.findings if row.instructions]:
            more = sum(each.is_more for each in counted)
            takes = f"{'take' if more > 1 else 'takes'} more instructions"
            sentences.append(f"{more or 'None'} of {plural(len(counted), 'counted case')} {takes}.")
        if shared := sum(row.state == SHARED for row in self.findings):
            sentences.append(f"{plural(shared, 'case')} {'was' if shared == 1 else 'were'} timed {SHARED}.")
        return " ".join(sentences)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Return a row of VERDICT_COLUMNS for each case; `change` is the ratio that describes the time."""
        lines = [
            {
                **vars(row),
                "case": one_line(row.case.key),
                "name": self.name(row),
                "decided_by": row.witness,
                "described_by": row.described_by,
                "why": explained(row),
            }
            | estimate_columns("ratio", row.low)
            | estimate_columns("mean_ratio", row.mean)
            | estimate_columns("change", row.deciding)
            for row in self.findings
        ]
        return pd.DataFrame(lines, columns=VERDICT_COLUMNS).astype(dict.fromkeys([*NUMBER_NAMES, "margin"], float))

    def json(self) -> str:
        """Return everything that is known as one object, with the sentences that the terminal shows."""
        counts = {verdict or "not_compared": len(rows) for verdict, rows in self.by_verdict.items()}
        sentences = {key: getattr(self, key) for key in ("timed", "answer", "details", "method")}
        content = {"schema_version": VERDICTS_VERSION, **sentences, "counts": counts, **self.to_json()}
        content["findings"] = self._lines()
        return json.dumps(content, allow_nan=False, indent=2) + "\n"

    def name(self, row: Finding) -> str:
        """Return the name of a case, without what all cases have in common."""
        return self.names[row.case.key]

    def json_lines(self) -> str:
        """Return the rows, one object a line."""
        return "".join(json.dumps(line, allow_nan=False) + "\n" for line in self._lines())

    def _lines(self) -> list[dict[str, Any]]:
        """Return each row as an object, with why it has its verdict in words."""
        return [{**row.to_json(), "why": explained(row)} for row in self.findings]


def outcomes_of(rows: pd.DataFrame) -> "pd.Series[Any]":
    """Return `Finding.outcome` of rows of `Verdicts.frame`; None for a case without a verdict."""
    verdicts = rows["verdict"].astype(object).where(rows["verdict"].notna(), None)
    return verdicts.mask(rows["accepted"].ne("") & verdicts.eq("regressed"), "accepted")


def _causes(row: Finding) -> list[str]:
    """Return the definitions for which a case was timed, without their files, or else the reason."""
    if row.definitions:
        return [*dict.fromkeys(definition.rpartition(":")[2] for definition in row.definitions)]
    return [row.cause] if row.cause else []


def verdicts_of(comparison: Comparison) -> Verdicts:
    """Return a comparison with its words, in text that moves no cursor."""
    labels, shared = names([finding.case for finding in comparison.findings])
    facts = {each.name: getattr(comparison, each.name) for each in fields(Comparison)}
    facts |= {name: one_line(facts[name]) for name in ("suite", "base", "head", "needed")}
    facts["notes"] = tuple(map(one_line, comparison.notes))
    facts["findings"] = tuple(map(_printable, comparison.findings))
    return Verdicts(**facts, names=labels, shared=shared)


def _printable(row: Finding) -> Finding:
    """Return a row whose texts are single printable lines; but its reason, which JUnit shows as a whole."""
    definitions = tuple(map(one_line, row.definitions))
    return replace(row, cause=one_line(row.cause), accepted=one_line(row.accepted), definitions=definitions)


def read_verdicts(folder: Path) -> Verdicts | None:
    """Read a check's verdicts; None if it ended before it had any. Raises UserError if the file can't be read."""
    file = folder / VERDICTS_FILE
    if not file.exists():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["schema_version"] != VERDICTS_VERSION:
            raise UserError(f"schema_version is {content['schema_version']!r}; use the rnnbench that wrote it")
        return verdicts_of(Comparison.from_json(content))
    except UserError as fault:
        raise UserError(f"{file}: {fault}") from None
    except (OSError, LookupError, TypeError, ValueError) as fault:
        raise UserError(f"{file}: can't be read: {type(fault).__name__}: {fault}") from None
