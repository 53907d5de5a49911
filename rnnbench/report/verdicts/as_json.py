"""The comparison for programs: one JSON object, or one JSON line for each finding."""

import json
import math
from typing import Any, get_args

from rnnbench.analysis.comparison import Comparison, Finding
from rnnbench.analysis.estimate import Estimate, estimate_columns
from rnnbench.analysis.instructions import InstructionChange
from rnnbench.analysis.verdict import Verdict
from rnnbench.report.verdicts import answer
from rnnbench.report.verdicts.rows import VerdictRow, all_rows
from rnnbench.report.words.case_names import names

SCHEMA_VERSION = 1
MAX_LISTED = 20  # operators, and functions, of one case
DECIDED_BY = {"low": "ratio", "mean": "mean_ratio"}  # the key of the ratio that gave the verdict


def render(comparison: Comparison) -> str:
    """Everything that is known, as one object, with the sentences that the terminal shows."""
    case_names = names(finding.case for finding in comparison.findings)
    first, rest = answer.sentences(comparison, case_names)
    content = {
        "schema_version": SCHEMA_VERSION,
        "suite": comparison.suite,
        "base": comparison.base,
        "head": comparison.head,
        "way": comparison.way,
        "seconds": _number(comparison.seconds),
        "answer": first,
        "details": rest,
        "method": answer.method(comparison, case_names),
        "notes": list(comparison.notes),
        "counts": {
            **{verdict: comparison.count(verdict) for verdict in get_args(Verdict)},
            "not_compared": comparison.count(None),
        },
        "findings": findings(comparison),
    }
    return json.dumps(content, allow_nan=False, indent=2) + "\n"


def lines(comparison: Comparison) -> str:
    """The findings, one object a line."""
    return "".join(json.dumps(finding, allow_nan=False) + "\n" for finding in findings(comparison))


def findings(comparison: Comparison) -> list[dict[str, Any]]:
    """Each finding as an object, the worst first."""
    return [_finding(row) for row in all_rows(comparison)]


def _finding(row: VerdictRow) -> dict[str, Any]:
    finding = row.finding
    return {
        **finding.case.axes(),
        "case": finding.case.key,
        "verdict": finding.verdict,
        "reason": finding.reason,
        "sentence": row.why,
        "margin": finding.margin,
        **_ratio("ratio", finding.low),
        **_ratio("mean_ratio", finding.mean),
        "decided_by": _decided_by(finding),
        "described_by": "mean_ratio" if finding.is_by_mean else "ratio",
        "replicates": finding.replicates,
        "changes": [
            {"metric": change.metric.name, "base": change.base, "head": change.head} for change in finding.changes
        ],
        "instructions": _instructions(finding.instructions),
    }


def _decided_by(finding: Finding) -> str | None:
    if finding.is_by_instructions:
        return "instructions"
    if finding.is_by_code:
        return "code"
    return "counts" if finding.is_by_counts else DECIDED_BY.get(finding.decided_by or "")


def _instructions(change: InstructionChange | None) -> dict[str, Any] | None:
    """What was counted, with the operators and the functions that changed most."""
    if change is None:
        return None
    return {
        "counter": change.head.counter,
        "ratio": change.ratio,
        "spread": change.spread,
        "is_beyond_margin": change.is_beyond,
        "base": change.base.total,
        "head": change.head.total,
        "parts": change.parts(),
        "operators": [vars(changed) for changed in change.operators()[:MAX_LISTED]],
        "functions": [vars(changed) for changed in change.functions()[:MAX_LISTED]],
    }


def _ratio(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    return {column: _number(value) for column, value in estimate_columns(name, estimate).items()}


def _number(value: float | None) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if value is not None and math.isfinite(value) else None
