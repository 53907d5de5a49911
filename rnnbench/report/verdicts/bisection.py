"""The answer of `rnnbench bisect`, in words and as JSON: each commit that made cases slower, and what is left open."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from rnnbench.analysis.bisection import Bisection, CaseChange, Commit, SlowCommit
from rnnbench.report.verdicts.words import difference
from rnnbench.report.words.names import names, one_line
from rnnbench.report.words.units import change_span, duration, percent, slower
from rnnbench.text import first_few, plural

Labels = Mapping[str, str]  # a case's key -> its name
NAMED = 3  # cases, skipped commits or suspects; more are counted
SCHEMA_VERSION = 1


def text(answer: Bisection) -> str:
    """Return the whole answer as plain text."""
    called = names(answer.cases)
    labels = {case.key: called.name(case) for case in answer.cases}
    causes = [line for cause in answer.causes for line in (*_cause(cause, answer, labels), "")]
    return "\n".join([*_head(answer, labels), "", *causes, *_open(answer, labels)])


def _head(answer: Bisection, labels: Labels) -> Iterable[str]:
    good, bad, skipped = answer.good.short, answer.bad.short, len(answer.skipped)
    not_running = f", {plural(skipped, 'commit')} tried {'does' if skipped == 1 else 'do'} not run" if skipped else ""
    commits = f"{plural(answer.commits, 'commit')} from good {good} to bad {bad}{not_running}"
    yield f"{answer.suite}: {commits}. {duration(answer.seconds)}."
    slow = _worst_first({key: change for key, change in answer.total.items() if change.verdict == "regressed"})
    worst = (
        f"; {'the worst is ' if len(slow) > 1 else ''}{labels[slow[0]]}: {_size(answer.total[slow[0]])}" if slow else ""
    )
    yield f"{bad} against {good}: {len(slow)} of {plural(len(answer.total), 'case')} slower{worst}."
    count = len(answer.causes)
    if not count:
        yield "No commit was found."
    elif all(cause.is_confirmed for cause in answer.causes):
        yield f"{'This commit' if count == 1 else f'These {count} commits'} made them slower:"
    else:
        yield f"{'This commit does' if count == 1 else f'These {count} commits do'} more work:"


def _worst_first(changes: Mapping[str, CaseChange]) -> list[str]:
    return sorted(changes, key=lambda key: -(ratio.value if _is_known(ratio := changes[key].ratio) and ratio else 0.0))


def _is_known(ratio: Any) -> bool:
    return ratio is not None and math.isfinite(ratio.value)


def _size(change: CaseChange) -> str:
    """`5.1% slower (+4.2% to +6.0%)`."""
    ratio = change.ratio
    if ratio is None or not _is_known(ratio):
        return "its time is not known"
    return f"{slower(ratio.value)}{f' ({change_span(ratio)})' if ratio.has_interval else ''}"


def _cause(cause: SlowCommit, answer: Bisection, labels: Labels) -> Iterable[str]:
    merged = f", merged by {cause.merged_by.short}" if cause.merged_by else ""
    yield f"  {cause.commit.short} {cause.commit.date[:10]} {one_line(cause.commit.subject)}{merged}"
    slow = {key: change for key, change in cause.cases.items() if change.verdict == "regressed"}
    shown = slow or cause.cases
    for key in _worst_first(shown)[:NAMED]:
        yield f"    {labels[key]}: {_size(shown[key])}"
    if len(shown) > NAMED:
        yield f"    and {plural(len(shown) - NAMED, 'more case')}"
    changes = max((change.changes for change in shown.values()), key=len, default=())
    if work := [difference(change) for change in changes if change.metric.time_follows]:
        yield f"    Likely cause: {', '.join(work)}"
    elif slow:
        yield "    As many operator calls and allocations as before: slower kernels, or other code between them"
    if cause.is_confirmed:
        error = percent(answer.max_error).removesuffix(".0%").removesuffix("%")
        how_sure = f"wrong in at most {error}% of searches"
        yield f"    Confirmed by a comparison with its parent {cause.parent.short} ({how_sure})"
    elif cause.witness == "counts":
        yield f"    The counts are exact; the time against its parent {cause.parent.short} is not decided"
    else:
        yield f"    Not confirmed by the time against its parent {cause.parent.short}"
    if cause.untested:
        yield f"    The cause may also be a commit before it that does not run: {_commits(cause.untested)}"


def _open(answer: Bisection, labels: Labels) -> Iterable[str]:
    if answer.unexplained:
        cases = "; ".join(labels[key] for key in answer.unexplained[:NAMED])
        more = f" and {len(answer.unexplained) - NAMED} more" if len(answer.unexplained) > NAMED else ""
        yield f"No commit was found for: {cases}{more}."
    if answer.suspects:
        yield f"The most likely of the commits searched: {_commits(answer.suspects)}."
    for short, reason in list(answer.skipped.items())[:NAMED]:
        yield f"{short} does not run: {one_line(reason)[:200]}"
    if len(answer.skipped) > NAMED:
        yield f"{len(answer.skipped) - NAMED} more do not run."
    yield from answer.notes


def _commits(commits: Iterable[Commit]) -> str:
    return first_few([commit.short for commit in commits], NAMED)


def as_json(answer: Bisection) -> str:
    """Return everything that is known, as one JSON object."""
    keys = ("suite", "commits", "is_complete", "is_finished", "max_error", "seconds")
    content = {
        "schema_version": SCHEMA_VERSION,
        **{key: getattr(answer, key) for key in keys},
        **{key: list(getattr(answer, key)) for key in ("unexplained", "notes")},
        "good": _commit(answer.good),
        "bad": _commit(answer.bad),
        "total": _cases(answer.total),
        "causes": [
            {
                **{key: _commit(getattr(cause, key)) for key in ("commit", "parent", "merged_by")},
                "is_confirmed": cause.is_confirmed,
                "witness": cause.witness,
                "cases": _cases(cause.cases),
                "untested": list(map(_commit, cause.untested)),
            }
            for cause in answer.causes
        ],
        "skipped": dict(answer.skipped),
        "suspects": list(map(_commit, answer.suspects)),
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _commit(commit: Commit | None) -> dict[str, str] | None:
    return {"sha": commit.sha, "subject": commit.subject, "date": commit.date} if commit else None


def _cases(cases: Mapping[str, CaseChange]) -> list[dict[str, Any]]:
    """Every case as values for JSON; None for ends of intervals that are not known."""
    lines = [{"case": key, **change.to_json()} for key, change in cases.items()]
    for line in filter(lambda line: line["ratio"], lines):
        line["ratio"] = {name: value if math.isfinite(value) else None for name, value in line["ratio"].items()}
    return lines
