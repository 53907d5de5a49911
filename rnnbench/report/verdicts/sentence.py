"""One sentence for each case: why it has its verdict, and the likely cause."""

from collections.abc import Iterable

from rnnbench.analysis.changes import Change
from rnnbench.analysis.comparison import Finding
from rnnbench.report.verdicts.instructions import instruction_change
from rnnbench.report.words.axes import one_line
from rnnbench.report.words.changes import (
    IN_THE_MEAN,
    between,
    change_span,
    counted,
    difference,
    direction,
    is_of_some_calls,
    relative,
    slower,
)
from rnnbench.report.words.units import count
from rnnbench.store.metrics import METRICS
from rnnbench.text import plural

WORK = [metric for metric in METRICS if metric.time_follows]
MORE_TIME = "undecided; raise --budget"
UNSURE = ", which is not sure enough among all cases"  # the interval lies beyond the margin, the tests do not reject
MAX_REASON_LENGTH = 300  # a reason may be a whole message of a user's code; the JSON has all of it


def render(finding: Finding) -> str:
    """Why a case has its verdict, in one line without a full stop; empty if the numbers say all."""
    judged = sorted(finding.judged_changes, key=lambda change: change.ratio, reverse=finding.verdict != "improved")
    counts, reason = _list(map(counted, judged)), one_line(finding.reason)
    if reason:
        undecided = _work(finding) if finding.verdict == "undecided" else ""
        return shortened("; ".join(filter(None, [counts, reason, undecided])))
    instructions = _of_instructions(finding)
    parts = [instructions, counts] if finding.is_by_instructions else [counts, *_of_time(finding), instructions]
    return shortened(_clauses(parts))


def shortened(text: str) -> str:
    """A text, cut to a length that fits a table."""
    return text if len(text) <= MAX_REASON_LENGTH else f"{text[: MAX_REASON_LENGTH - 1]}…"


def _of_time(finding: Finding) -> list[str]:
    if finding.verdict in ("regressed", "improved"):
        return [_in_the_mean(finding), _cause(finding)]
    if finding.verdict == "undecided":
        return [_undecided(finding), _work(finding)]
    return [_harmless(finding)] if finding.verdict == "unchanged" else []


def _of_instructions(finding: Finding) -> str:
    """The change of instructions, if it is beyond the margin or the time changed, and whether the time agrees."""
    change = finding.instructions
    if change is None:
        return ""
    if not change.is_beyond:
        return "As many instructions as before: memory, caches or the clock" if direction(finding) else ""
    agrees = direction(finding) == (1 if change.is_more else -1)
    is_silent = finding.time_verdict in ("regressed", "improved", "unchanged") and not agrees
    return f"{instruction_change(change)}{'; the time does not show it' if is_silent else ''}"


def _clauses(texts: Iterable[str]) -> str:
    """The clauses that are not empty as one sentence."""
    first, *rest = [text for text in texts if text] or [""]
    return "; ".join([first, *(f"{text[0].lower()}{text[1:]}" for text in rest)])


def _in_the_mean(finding: Finding) -> str:
    """By how much the mean changed if it decided, and by how much the typical call did."""
    mean, low = finding.mean, finding.low
    if finding.decided_by != "mean" or finding.is_by_counts or mean is None:
        return ""
    word = "slower" if finding.verdict == "regressed" else "faster"
    opening = f"Some calls are {word} and most are not: i" if is_of_some_calls(finding) else "I"
    by_mean = f"{opening}{IN_THE_MEAN[1:]} {slower(mean.value)} ({change_span(mean)})"
    return f"{by_mean}, for the typical call {slower(low.value)}" if low else by_mean


def _cause(finding: Finding) -> str:
    """What changed in the direction of the time, what went against it, and what stayed."""
    sign = direction(finding)
    others = [change for change in finding.changes if change not in finding.judged_changes]
    if not sign:
        return _list(map(difference, others))
    work = [change for change in others if change.metric in WORK]
    along = [change for change in work if (change.head > change.base) == (sign > 0)]
    against = _list(difference(change) for change in work if change not in along)
    if along:
        but = f", but {against}" if against else ""
        return f"Likely cause: {_list(map(difference, along))}{but}{_unchanged(finding.changes)}"
    if finding.judged_changes or (is_of_some_calls(finding) and not against):
        return against  # the sentence already has the cause, or says that only some calls changed
    what = (
        f"Despite {against}"
        if against
        else f"No known difference in {_joined((metric.label for metric in WORK), 'or')}"
    )
    if finding.instructions is not None:  # which are told next, and leave nothing to guess
        return what
    return f"{what}: {'slower' if sign > 0 else 'faster'} kernels, or other code between them"


def _unchanged(changes: tuple[Change, ...]) -> str:
    """Which metrics of WORK stayed; all of them are counted together, so if one is known, all are."""
    changed = [change.metric for change in changes]
    same = [metric.label for metric in WORK if metric not in changed]
    return f"; {_joined(same, 'and')} unchanged" if same else ""


def _undecided(finding: Finding) -> str:
    estimate = finding.deciding
    if estimate is None:
        return f"No interval from {plural(finding.replicates, 'replicate')}{_more_time(finding)}"
    edge = 1 + finding.margin
    is_beyond = estimate.lower > edge or estimate.upper < 1 / edge
    size = f"{between(estimate)}{UNSURE if is_beyond else ''}"
    text = f"{f'{IN_THE_MEAN} ' if finding.is_by_mean else ''}{size}{_more_time(finding)}"
    return text[0].upper() + text[1:]


def _work(finding: Finding) -> str:
    """`counts: +16 operator calls`, or `counts: same`; they are exact where the time is not. Empty if not counted."""
    changed = [
        f"{'+' if change.head > change.base else '-'}{count(abs(change.head - change.base))} {change.metric.label}"
        for change in finding.changes
        if change.metric in WORK and change not in finding.judged_changes
    ]
    return f"counts: {_list(changed) or 'same'}" if finding.is_counted else ""


def _more_time(finding: Finding) -> str:
    """What would decide a case; empty if it is of stored runs, which have no budget."""
    return f": {MORE_TIME}" if finding.is_of_check else ""


def _harmless(finding: Finding) -> str:
    """Counts that differ and change nothing."""
    small = _list(relative(change) for change in finding.changes if change.is_judged)
    other = _list(relative(change) for change in finding.changes if not change.is_judged)
    parts = [f"within the margin: {small}" if small else "", f"without effect on the time: {other}" if other else ""]
    return "; ".join(filter(None, parts))


def _list(texts: Iterable[str]) -> str:
    return ", ".join(texts)


def _joined(labels: Iterable[str], word: str) -> str:
    """`MACs and allocations`."""
    *first, last = labels
    return f"{_list(first)} {word} {last}" if first else last
