"""The answer of `rnnbench bisect` for programs."""

import json
import math
from collections.abc import Mapping
from typing import Any

from rnnbench.analysis.bisection import Bisection, CaseChange, Commit, SlowCommit

SCHEMA_VERSION = 1


def render(answer: Bisection) -> str:
    """Everything that is known, as one JSON object."""
    content = {
        "schema_version": SCHEMA_VERSION,
        "suite": answer.suite,
        "good": _commit(answer.good),
        "bad": _commit(answer.bad),
        "commits": answer.commits,
        "is_complete": answer.is_complete,
        "is_finished": answer.is_finished,
        "max_error": answer.max_error,
        "total": _cases(answer.total),
        "causes": [_cause(cause) for cause in answer.causes],
        "skipped": dict(answer.skipped),
        "unexplained": list(answer.unexplained),
        "suspects": [_commit(commit) for commit in answer.suspects],
        "notes": list(answer.notes),
        "seconds": answer.seconds,
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _cause(cause: SlowCommit) -> dict[str, Any]:
    return {
        "commit": _commit(cause.commit),
        "parent": _commit(cause.parent),
        "merged_by": _commit(cause.merged_by) if cause.merged_by else None,
        "is_confirmed": cause.is_confirmed,
        "witness": cause.witness,
        "cases": _cases(cause.cases),
        "untested": [_commit(commit) for commit in cause.untested],
    }


def _commit(commit: Commit) -> dict[str, str]:
    return {"sha": commit.sha, "subject": commit.subject, "date": commit.date}


def _cases(cases: Mapping[str, CaseChange]) -> list[dict[str, Any]]:
    return [{"case": key, **_finite(change.to_json())} for key, change in cases.items()]


def _finite(line: dict[str, Any]) -> dict[str, Any]:
    """The line with None for ends of intervals that are not known."""
    ratio = line["ratio"]
    if ratio is not None:
        ratio = {name: value if math.isfinite(value) else None for name, value in ratio.items()}
    return {**line, "ratio": ratio}
