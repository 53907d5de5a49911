"""The verdicts of a check as its folder keeps them, for a page and its figures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from rnnbench.analysis.changes import Change
from rnnbench.analysis.comparison import Comparison, Finding, Subject
from rnnbench.analysis.estimate import ENDS, Estimate, estimate_columns
from rnnbench.analysis.verdict import OLDER_WORDS, RatioName, Verdict
from rnnbench.errors import UserError
from rnnbench.report.verdicts import answer, as_json
from rnnbench.report.verdicts.as_json import SCHEMA_VERSION
from rnnbench.report.verdicts.rows import all_rows
from rnnbench.report.words.axes import one_line
from rnnbench.report.words.case_names import Names, names
from rnnbench.store.metrics import BY_NAME
from rnnbench.store.records import Case
from rnnbench.store.regular_files import read_text
from rnnbench.text import plural

FILE = "verdicts.json"
NUMBERS = [f"{ratio}{end}" for ratio in ("ratio", "mean_ratio") for end in ENDS]
COLUMNS = ["case", "name", "verdict", "margin", *NUMBERS, "decided_by", "described_by", "replicates", "why"]
DECIDED_BY: dict[str | None, RatioName] = {"ratio": "low", "mean_ratio": "mean"}
# What a file of somebody else's making may lead to; the last two: a number without an end, and lists too deep.
WRONG = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True)
class StoredCheck:
    """A check that gave verdicts."""

    suite: str
    base: str  # which code, in words
    head: str
    seconds: float | None
    answer: str  # the sentence that the terminal showed
    details: str  # what the answer leaves out; may be empty
    method: str
    notes: tuple[str, ...]
    findings: pd.DataFrame  # a row of COLUMNS for each case, the worst first
    cases: tuple[Subject, ...]  # of these rows; their names tell apart the cases of this check alone


def read(folder: Path) -> StoredCheck | None:
    """Read a check's verdicts; None if it ended before it had any. Raises UserError if the file can't be read."""
    file = folder / FILE
    try:
        content = json.loads(read_text(file))
        if content["schema_version"] != SCHEMA_VERSION:
            raise UserError(
                f"{file}: schema_version is {content['schema_version']!r}; this rnnbench reads {SCHEMA_VERSION}; "
                "use the version that wrote it"
            )
        return _check(content)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as fault:
        raise UserError(f"{file}: can't be read: {fault.strerror}") from None
    except WRONG as fault:
        raise UserError(f"{file}: can't be read: {type(fault).__name__}: {fault}; was it edited?") from None


def _check(content: Mapping[str, Any]) -> StoredCheck:
    findings = [_finding(line) for line in content["findings"]]
    case_names = names(finding.case for finding in findings)
    seconds, way = content["seconds"], content["way"]
    suite, base, head = (one_line(content[key]) for key in ("suite", "base", "head"))
    notes = tuple(map(one_line, content["notes"]))
    comparison = Comparison(suite, base, head, way, tuple(findings), notes, None if seconds is None else float(seconds))
    first, rest = answer.sentences(comparison, case_names)  # nearly as printed: without what instructions say
    return StoredCheck(
        suite,
        base,
        head,
        comparison.seconds,
        one_line(content.get("answer", first)),
        one_line(content.get("details", rest)),
        one_line(content.get("method", answer.method(comparison, case_names))),
        notes,
        _frame(findings, content["findings"], case_names),
        tuple(finding.case for finding in findings),
    )


def _finding(line: Mapping[str, Any]) -> Finding:
    """A finding without its instructions; of a verdict by counts the verdict of the time is not known."""
    verdict = OLDER_WORDS.get(line["verdict"], line["verdict"])
    if verdict is not None and verdict not in get_args(Verdict):
        raise ValueError(f"verdict {verdict!r}")
    decided_by: RatioName | None = DECIDED_BY.get(line["decided_by"])
    return Finding(
        Case.from_axes(dict(line)),
        verdict,
        float(line["margin"]),
        str(line["reason"]),
        _estimate(line, "ratio"),
        _estimate(line, "mean_ratio"),
        replicates=int(line["replicates"]),
        changes=tuple(
            Change(BY_NAME[change["metric"]], int(change["base"]), int(change["head"]))
            for change in line["changes"]
            if change["metric"] in BY_NAME
        ),
        time_verdict=verdict if decided_by or verdict not in ("regressed", "improved") else None,
        decided_by=decided_by,
        is_by_code=line["decided_by"] == "code",
    )


def _estimate(line: Mapping[str, Any], ratio: str) -> Estimate | None:
    value, low, high = (line[f"{ratio}{end}"] for end in ENDS)
    if value is None:
        return None
    if not float(value) > 0:
        raise ValueError(f"{ratio} {value!r}")
    if low is None or high is None:  # written by an older version
        return None
    return Estimate(*map(float, (value, low, high)))


def frame(comparison: Comparison) -> pd.DataFrame:
    """The findings of a comparison, with a row of COLUMNS for each case, the worst first."""
    found = [row.finding for row in all_rows(comparison)]
    return _frame(found, as_json.findings(comparison), names(finding.case for finding in found))


def _frame(findings: Sequence[Finding], lines: Sequence[Mapping[str, Any]], called: Names) -> pd.DataFrame:
    pairs = zip(findings, lines, strict=True)
    rows = [_row(finding, line, called.name(finding.case)) for finding, line in pairs]
    return pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys([*NUMBERS, "margin"], float))


def _row(finding: Finding, line: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {
        "case": one_line(line["case"]),
        "name": name,
        "verdict": finding.verdict,
        "margin": finding.margin,
        **estimate_columns("ratio", finding.low),
        **estimate_columns("mean_ratio", finding.mean),
        "decided_by": line["decided_by"],
        "described_by": "mean_ratio" if finding.is_by_mean else "ratio",
        "replicates": finding.replicates,
        "why": one_line(line["sentence"]),
    }


def undrawable(findings: pd.DataFrame) -> Sequence[str]:
    """What a figure of the changes can't show, in sentences."""
    judged = findings[findings["verdict"].notna()]
    without_time = int(judged["ratio"].isna().sum())
    sentences = []
    if without_time:
        verb = "has" if without_time == 1 else "have"
        sentences.append(f"{plural(without_time, 'case')} {verb} a verdict without a time; the table says why.")
    return sentences
