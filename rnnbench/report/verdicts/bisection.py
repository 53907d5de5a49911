"""What `rnnbench bisect` prints: each commit that made cases slower, with its change, and what is left open."""

import math
from collections.abc import Iterable, Mapping

from rnnbench.analysis.bisection import Bisection, CaseChange, Commit, SlowCommit
from rnnbench.report.words.axes import one_line
from rnnbench.report.words.case_names import names
from rnnbench.report.words.changes import change_span, difference, slower
from rnnbench.report.words.units import duration, percent
from rnnbench.text import first_few, plural

Labels = Mapping[str, str]  # a case's key -> its name
NAMED = 3  # cases, skipped commits or suspects; more are counted


def render(answer: Bisection) -> str:
    """The whole answer as plain text."""
    case_names = names(answer.cases)
    labels = {case.key: case_names.name(case) for case in answer.cases}
    lines = [
        *_head(answer, labels),
        "",
        *(line for cause in answer.causes for line in (*_cause(cause, answer, labels), "")),
    ]
    lines += _open(answer, labels)
    return "\n".join(lines)


def _head(answer: Bisection, labels: Labels) -> Iterable[str]:
    good, bad = answer.good.short, answer.bad.short
    yield (
        f"{answer.suite}: {plural(answer.commits, 'commit')} from good {good} to bad {bad}"
        f"{f', {_not_running(len(answer.skipped))}' if answer.skipped else ''}. "
        f"{duration(answer.seconds)}."
    )
    slow = {key: change for key, change in answer.total.items() if change.verdict == "regressed"}
    of_all = plural(len(answer.total), "case")
    yield f"{bad} against {good}: {len(slow)} of {of_all} slower{f'; {_worst(slow, labels)}' if slow else ''}."
    count = len(answer.causes)
    confirmed = sum(cause.is_confirmed for cause in answer.causes)
    if count and confirmed == count:
        yield f"{'This commit' if count == 1 else f'These {count} commits'} made them slower:"
    elif count:
        yield f"{'This commit does' if count == 1 else f'These {count} commits do'} more work:"
    else:
        yield "No commit was found."


def _not_running(number: int) -> str:
    return f"{plural(number, 'commit')} tried {'does' if number == 1 else 'do'} not run"


def _worst(changes: Mapping[str, CaseChange], labels: Labels) -> str:
    """The case that changed most, with its interval."""
    key = max(changes, key=lambda key: _value(changes[key]))
    return f"{'the worst is ' if len(changes) > 1 else ''}{labels[key]}: {_size(changes[key])}"


def _value(change: CaseChange) -> float:
    return change.ratio.value if change.ratio and math.isfinite(change.ratio.value) else 0.0


def _size(change: CaseChange) -> str:
    """`5.1% slower (+4.2% to +6.0%)`."""
    ratio = change.ratio
    if ratio is None or not math.isfinite(ratio.value):
        return "its time is not known"
    return f"{slower(ratio.value)}{f' ({change_span(ratio)})' if ratio.has_interval else ''}"


def _cause(cause: SlowCommit, answer: Bisection, labels: Labels) -> Iterable[str]:
    merged = f", merged by {cause.merged_by.short}" if cause.merged_by else ""
    yield f"  {_commit(cause.commit)}{merged}"
    slow = {key: change for key, change in cause.cases.items() if change.verdict == "regressed"}
    shown = slow or cause.cases
    for key in sorted(shown, key=lambda key: -_value(shown[key]))[:NAMED]:
        yield f"    {labels[key]}: {_size(shown[key])}"
    if len(shown) > NAMED:
        yield f"    and {plural(len(shown) - NAMED, 'more case')}"
    changes = max((change.changes for change in shown.values()), key=len, default=())
    work = [difference(change) for change in changes if change.metric.time_follows]
    if work:
        yield f"    Likely cause: {', '.join(work)}"
    elif slow:
        yield "    As many operator calls and allocations as before: slower kernels, or other code between them"
    if cause.is_confirmed:
        how_sure = f"wrong in at most {_error(answer)} of searches"
        yield f"    Confirmed by a comparison with its parent {cause.parent.short} ({how_sure})"
    elif cause.witness == "counts":
        yield f"    The counts are exact; the time against its parent {cause.parent.short} is not decided"
    else:
        yield f"    Not confirmed by the time against its parent {cause.parent.short}"
    if cause.untested:
        yield f"    The cause may also be a commit before it that does not run: {_commits(cause.untested)}"


def _error(answer: Bisection) -> str:
    return percent(answer.max_error).removesuffix(".0%").removesuffix("%") + "%"


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


def _commit(commit: Commit) -> str:
    return f"{commit.short} {commit.date[:10]} {one_line(commit.subject)}"


def _commits(commits: Iterable[Commit]) -> str:
    return first_few([commit.short for commit in commits], NAMED)
