"""The row of a case in the verdicts of a comparison: its finding with words, as JSON, and read back from it."""

from dataclasses import dataclass, fields, replace
from typing import Any

from rnnbench.analysis.comparison import GROWTH, WORK, Change, Finding, RuleName
from rnnbench.analysis.estimate import estimate_columns
from rnnbench.analysis.verdict import OLDER_WORDS
from rnnbench.report.verdicts.reasons import together, why
from rnnbench.report.verdicts.stored import StoredFinding
from rnnbench.report.words.names import one_line
from rnnbench.report.words.units import IN_THE_MEAN, between, change, change_interval, change_span, slower
from rnnbench.store.records import Case

MAX_LISTED = 20  # operators of one case in the file
FIRST_WORK = (*GROWTH, *(name for name in WORK if name not in GROWTH))  # counts of the work, the one to name first
RULE_OF: dict[str | None, RuleName] = {  # a rule that has a witness, for rows of files
    "code": "same code",
    "counts": "more counts",
    "instructions": "more instructions",
}


@dataclass(frozen=True)
class VerdictRow(Finding):
    """The row of a case with its words: every output shows these."""

    name: str = ""  # without what all cases share
    sentence: str = ""  # why, without a full stop; empty where the numbers say all

    @property
    def word(self) -> str:
        """Return the verdict for people, also where there is none."""
        return self.outcome or "not compared"

    @property
    def grounds(self) -> str:
        """Return why it is accepted, and why it has its verdict."""
        return "; ".join(filter(None, [f"accepted: {self.accepted}" if self.accepted else "", self.sentence]))

    @property
    def explanation(self) -> str:
        """Return why it is accepted, why it has its verdict, and why it was timed."""
        return "; ".join(filter(None, [self.grounds, f"timed because {self.doubt}" if self.doubt else ""]))

    @property
    def change(self) -> str:
        """Return `+5.1%`, or nothing."""
        return change(self.deciding.value) if self.deciding else ""

    @property
    def interval(self) -> str:
        """Return `[+4.2%, +6.0%]`, or nothing."""
        return change_interval(self.deciding) if self.deciding else ""

    def first_work(self, sign: int) -> Change | None:
        """Return the first count of the work of a call that grew, or shrank if `sign` is -1; None if none did."""
        by_metric = {each.metric: each for each in self.changes}
        moved = (by_metric[name] for name in FIRST_WORK if name in by_metric)
        return next((change for change in moved if (change.head - change.base) * sign > 0), None)

    @property
    def is_by_time(self) -> bool:
        """Return True if the time, not a count, gave the verdict or leaves it open."""
        return self.deciding is not None and self.witness not in ("counts", "instructions")

    @property
    def together(self) -> str:
        """Return what the cases of its family lost together; empty if it has none."""
        return together(self.family, is_by_mean=self.witness == "mean_ratio") if self.family else ""

    @property
    def brief(self) -> str:
        """Return `5.1% slower (+4.2% to +6.0%)`, or the sentence if the time did not decide.

        Of a case that regressed with others it is what they lost together, without the cause.
        """
        return self.together or self.own_brief

    @property
    def own_brief(self) -> str:
        """Return `5.1% slower (+4.2% to +6.0%)` of the case itself, or the sentence if the time did not decide."""
        if self.is_by_sentence or self.deciding is None:
            return self.sentence
        if self.verdict == "undecided":
            return f"{f'{IN_THE_MEAN} ' if self.is_by_mean else ''}{between(self.deciding)}"
        where = f" {IN_THE_MEAN}" if self.is_by_mean else ""
        return f"{slower(self.deciding.value)}{where} ({change_span(self.deciding)})"

    @property
    def is_by_sentence(self) -> bool:
        """Return True if no number says why the case has its verdict, so that `own_brief` is the sentence."""
        return self.deciding is None or bool(self.reason) or not self.is_by_time


def row_of(finding: Finding, name: str) -> VerdictRow:
    """Return the row of a case that was just judged; `name`: without what all cases share."""
    values = {field.name: getattr(finding, field.name) for field in fields(Finding)}
    return VerdictRow(**values, name=name, sentence=one_line(why(finding)))


def row_from(line: StoredFinding, case: Case, name: str) -> VerdictRow:
    """Return the row of a case in a file, which another job may have written."""
    verdict = OLDER_WORDS.get(line.verdict or "", line.verdict)
    row = VerdictRow(case, verdict, line.margin, line.reason)  # type: ignore[arg-type]
    return replace(
        row,
        name=name,
        sentence=one_line(line.sentence),
        low=line.low,
        mean=line.mean,
        replicates=line.replicates,
        changes=tuple(Change(each.metric, each.base, each.head) for each in line.changes),
        decided_by=line.by_time,
        rule=RULE_OF.get(line.decided_by, "time"),
        instructions=None if line.instructions is None else line.instructions.change(),
        state=line.state,
        is_broken=line.is_broken,
        doubt=one_line(line.doubt),
        is_kept=line.is_kept,
        definitions=tuple(map(one_line, line.definitions)),
        accepted=one_line(line.accepted),
        family=None if line.family is None else line.family.family(),
    )


def described_by(row: Finding) -> str:
    """Return the ratio that describes the time of a case, by its name in frames and files."""
    return "mean_ratio" if row.is_by_mean else "ratio"


def line_of(row: VerdictRow) -> dict[str, Any]:
    """Return the row of a case as values for JSON."""
    family = row.family
    line = {
        **row.case.axes(),
        "case": row.case.key,
        "verdict": row.verdict,
        "reason": row.reason,
        "sentence": row.sentence,
        "margin": row.margin,
        "decided_by": row.witness,
        "described_by": described_by(row),
        "replicates": row.replicates,
        "changes": [each._asdict() for each in row.changes],
        "instructions": _instructions(row),
        "state": row.state,
        "is_broken": row.is_broken,
        "doubt": row.doubt,
        "is_kept": row.is_kept,
        "definitions": [*row.definitions],
        "accepted": row.accepted,
        "family": family and {"name": family.name, "cases": family.cases} | estimate_columns("ratio", family.ratio),
    }
    return line | estimate_columns("ratio", row.low) | estimate_columns("mean_ratio", row.mean)


def _instructions(row: Finding) -> dict[str, Any] | None:
    if (instructions := row.instructions) is None:
        return None
    return {
        "counter": instructions.head.counter,
        "ratio": instructions.ratio,
        "spread": instructions.spread,
        "is_beyond_margin": instructions.is_beyond,
        "base": instructions.base.total,
        "head": instructions.head.total,
        "parts": instructions.parts(),
        "operators": [
            {"name": name, "base": base, "head": head} for name, base, head in instructions.operators()[:MAX_LISTED]
        ],
    }
