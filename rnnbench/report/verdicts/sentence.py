"""One sentence for each case: why it has its verdict, and the likely cause."""

import math
from collections.abc import Iterable

from rnnbench.analysis.changes import Change
from rnnbench.analysis.comparison import Finding
from rnnbench.report.words.axes import one_line
from rnnbench.report.words.changes import (
    between,
    counted,
    difference,
    direction,
    is_of_some_calls,
    quoted,
    relative,
)
from rnnbench.report.words.units import percent
from rnnbench.store.metrics import METRICS

WORK = [metric for metric in METRICS if metric.time_follows]
MORE_TIME = "a longer budget would tell"
MAX_REASON_LENGTH = 300  # a reason may be a whole message of somebody's code; the rest of it stands in the JSON


def render(finding: Finding) -> str:
    """Why, in one line without a full stop; empty where the numbers say all."""
    judged = sorted(finding.judged_changes, key=lambda one: one.ratio, reverse=finding.verdict != "improved")
    counts, time = _list(map(counted, judged)), _of_time(finding)
    if counts and time:
        time = f"{time[0].lower()}{time[1:]}"
    return shortened("; ".join(filter(None, [counts, one_line(finding.reason) or time])))


def shortened(text: str) -> str:
    """A text of anyone's making at a length that a table bears."""
    return text if len(text) <= MAX_REASON_LENGTH else f"{text[: MAX_REASON_LENGTH - 1]}…"


def _of_time(finding: Finding) -> str:
    if finding.verdict in ("regressed", "improved"):
        return "; ".join(filter(None, [_some_calls(finding), _cause(finding)]))
    if finding.verdict == "inconclusive":
        return _undecided(finding)
    return _harmless(finding) if finding.verdict == "unchanged" else ""


def _some_calls(finding: Finding) -> str:
    if not is_of_some_calls(finding) or finding.mean is None or finding.low is None:
        return ""
    way, word = ("up", "slower") if finding.verdict == "regressed" else ("down", "faster")
    low = percent(finding.low.value - 1)
    against = (finding.low.value > 1) != (way == "up") and low != "0.0%"
    other = f" {'down' if way == 'up' else 'up'}" if against else ""
    mean = percent(finding.mean.value - 1)
    return f"Some calls are {word} and most are not: the mean is {mean} {way}, the low quantile {low}{other}"


def _cause(finding: Finding) -> str:
    """What changed in the direction of the time, what went against it, and what stayed."""
    way = direction(finding)
    others = [one for one in finding.changes if one not in finding.judged_changes]
    if not way:
        return _list(map(difference, others))
    work = [one for one in others if one.metric in WORK]
    along = [one for one in work if (one.head > one.base) == (way > 0)]
    against = _list(difference(one) for one in work if one not in along)
    if along:
        but = f", but {against}" if against else ""
        return f"Likely cause: {_list(map(difference, along))}{but}{_unchanged(finding.changes)}"
    if finding.judged_changes or (is_of_some_calls(finding) and not against):
        return against  # the likely cause, or that it is not in every call, is said before
    what = (
        f"Despite {against}"
        if against
        else f"No known difference in {_joined((metric.label for metric in WORK), 'or')}"
    )
    return f"{what}: {'slower' if way > 0 else 'faster'} kernels, or other code between them"


def _unchanged(changes: tuple[Change, ...]) -> str:
    """What stayed; all of WORK is counted at once, so one count that is known says that all are."""
    changed = [one.metric for one in changes]
    same = [metric.label for metric in WORK if metric not in changed]
    return f"; {_joined(same, 'and')} unchanged" if same else ""


def _undecided(finding: Finding) -> str:
    told = quoted(finding)
    if told is None or not (math.isfinite(told.lower) and math.isfinite(told.upper)):
        return f"{'One replicate gives' if finding.replicates == 1 else 'There is'} no interval: {MORE_TIME}"
    text = f"{'in the mean ' if told is finding.mean else ''}{between(told)}: {MORE_TIME}"
    return text[0].upper() + text[1:]


def _harmless(finding: Finding) -> str:
    """Counts that differ and change nothing."""
    small = _list(relative(one) for one in finding.changes if one.is_judged)
    other = _list(relative(one) for one in finding.changes if not one.is_judged)
    parts = [f"within the margin: {small}" if small else "", f"without effect on the time: {other}" if other else ""]
    return "; ".join(filter(None, parts))


def _list(texts: Iterable[str]) -> str:
    return ", ".join(texts)


def _joined(labels: Iterable[str], word: str) -> str:
    """`MACs and allocations`."""
    *first, last = labels
    return f"{_list(first)} {word} {last}" if first else last
