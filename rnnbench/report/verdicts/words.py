"""Why a case has its verdict: one sentence of lower-case clauses, without a full stop."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rnnbench.analysis.comparison import Change, Finding
from rnnbench.analysis.instructions import CountDifference, InstructionChange, Part
from rnnbench.report.words.names import one_line
from rnnbench.report.words.units import IN_THE_MEAN, between, change, change_span, count, memory, percent, slower
from rnnbench.store.metrics import METRICS
from rnnbench.text import plural

MAX_LENGTH = 300  # a reason may be a whole message of a user's code; the JSON has all of it
UNSURE = ", which is not sure enough among all cases"  # the interval lies beyond the margin, the tests do not reject
NAMED = 2  # operators or functions in one sentence
MIN_SHARE = 0.1  # of a change of instructions, for a function to be named
FUNCTIONS_TOLD: tuple[Part, ...] = ("dispatch", "kernels")  # the interpreter's say nothing about a Python program
MAX_NAME_LENGTH = 60
PARTS: dict[Part, str] = {
    "python": "Python",
    "dispatch": "torch's dispatch",
    "kernels": "kernels",
}


def why(finding: Finding) -> str:
    """Return why a case has its verdict; empty if the numbers say all."""
    judged = sorted(finding.judged_changes, key=lambda each: each.ratio, reverse=finding.verdict != "improved")
    counts, instructions = ", ".join(map(counted, judged)), _instructions(finding)
    is_open = finding.verdict == "undecided"
    if finding.reason:
        clauses = [counts, one_line(finding.reason), _work(finding) if is_open else ""]
    elif is_open:
        clauses = [counts, _interval(finding), _work(finding), instructions]
    elif finding.verdict == "unchanged":
        differ = ", ".join(f"{each.metric.label} {_share(each) or _from_to(each)}" for each in finding.changes)
        clauses = [f"counts that differ: {differ}" if differ else "", instructions]
    elif finding.is_by_instructions:
        clauses = [instructions, counts]
    else:
        clauses = [counts, _in_the_mean(finding), _cause(finding), instructions]
    return shortened("; ".join(filter(None, clauses)))


def shortened(text: str) -> str:
    """Return a text cut to a length that fits a table."""
    return text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 1]}…"


def counted(one: Change) -> str:
    """Return `peak memory 1.20 MB -> 1.90 MB (+58%)`."""
    share = _share(one)
    return f"{one.metric.label} {_from_to(one)}{f' ({share})' if share else ''}"


def difference(one: Change) -> str:
    """Return `96 more operator calls (412 -> 508, +23%)`."""
    more, is_bytes = abs(one.head - one.base), one.metric.unit == "bytes"
    label = one.metric.label.removesuffix("s") if more == 1 else one.metric.label
    comparative = "more" if one.head > one.base else "less" if is_bytes else "fewer"
    values = ", ".join(filter(None, [_from_to(one), _share(one)]))
    return f"{memory(more) if is_bytes else count(more)} {comparative} {label} ({values})"


def _from_to(one: Change) -> str:
    is_bytes = one.metric.unit == "bytes"
    base, head = (memory(each) if is_bytes else count(each) for each in (one.base, one.head))
    if base == head:  # they differ in digits that are not shown
        return f"{count(one.base)} -> {count(one.head)}{' bytes' if is_bytes else ''}"
    return f"{base} -> {head}"


def _share(one: Change) -> str:
    """Return the relative change; empty if it is not known or rounds to zero."""
    share = change(one.ratio)
    return "" if share == "0.0%" else share


def _direction(finding: Finding) -> int:
    """Return 1 if the time got longer by more than the margin, -1 if it got shorter by more, else 0."""
    return {"regressed": 1, "improved": -1}.get(finding.time_verdict or "", 0)


def _is_of_some_calls(finding: Finding) -> bool:
    """Return True if the mean decided and most calls changed by less than half as much."""
    if finding.decided_by != "mean" or finding.low is None or finding.mean is None:
        return False
    sign = _direction(finding)
    return sign * math.log(finding.low.value) < sign * math.log(finding.mean.value) / 2


def _in_the_mean(finding: Finding) -> str:
    """Return by how much the mean changed if it decided, and by how much the typical call did."""
    mean, low = finding.mean, finding.low
    if finding.decided_by != "mean" or finding.is_by_counts or mean is None:
        return ""
    word = "slower" if finding.verdict == "regressed" else "faster"
    opening = f"some calls are {word} and most are not: " if _is_of_some_calls(finding) else ""
    by_mean = f"{opening}{IN_THE_MEAN} {slower(mean.value)} ({change_span(mean)})"
    return f"{by_mean}, for the typical call {slower(low.value)}" if low else by_mean


def _cause(finding: Finding) -> str:
    """Return the work that changed in the direction of the time, or that went against it."""
    sign = _direction(finding)
    work = [each for each in finding.changes if each.metric.time_follows and each not in finding.judged_changes]
    along, against = (
        ", ".join(difference(each) for each in work if (each.head > each.base) == is_more)
        for is_more in (sign >= 0, sign < 0)
    )
    if not sign:
        return ", ".join(filter(None, [along, against]))
    if along:
        return f"likely cause: {along}{f', but {against}' if against else ''}"
    if finding.judged_changes or (_is_of_some_calls(finding) and not against):
        return against  # the sentence already has the cause, or says that only some calls changed
    *labels, last = (metric.label for metric in METRICS if metric.time_follows)
    what = f"despite {against}" if against else f"no known difference in {', '.join(labels)} or {last}"
    if finding.instructions is not None:  # which are told next, and leave nothing to guess
        return what
    return f"{what}: {'slower' if sign > 0 else 'faster'} kernels, or other code between them"


def _interval(finding: Finding) -> str:
    """Return where the change of an undecided case lies."""
    estimate, edge = finding.deciding, 1 + finding.margin
    if estimate is None:
        return f"no interval from {plural(finding.replicates, 'replicate')}"
    is_beyond = estimate.lower > edge or estimate.upper < 1 / edge
    return f"{f'{IN_THE_MEAN} ' if finding.is_by_mean else ''}{between(estimate)}{UNSURE if is_beyond else ''}"


def _work(finding: Finding) -> str:
    """Return `counts: +16 operator calls`, or `counts: same`; they are exact where the time is not."""
    changed = ", ".join(
        f"{'+' if each.head > each.base else '-'}{count(abs(each.head - each.base))} {each.metric.label}"
        for each in finding.changes
        if each.metric.time_follows and each not in finding.judged_changes
    )
    return f"counts: {changed or 'same'}" if finding.is_counted else ""


def _instructions(finding: Finding) -> str:
    """Return the change of instructions if it, or that of the time, is beyond the margin, and whether both agree."""
    known = finding.instructions
    if known is None:
        return ""
    if not known.is_beyond:
        return "as many instructions as before: memory, caches or the clock" if _direction(finding) else ""
    agrees = _direction(finding) == (1 if known.is_more else -1)
    is_silent = finding.time_verdict in ("regressed", "improved", "unchanged") and not agrees
    return f"{instruction_change(known)}{'; the time does not show it' if is_silent else ''}"


def instruction_change(known: InstructionChange) -> str:
    """Return `0.7% more instructions, in aten::add (16 calls instead of 15)`.

    It names the operators that are called more often, if the instructions grew, or else the part that grew most.
    """
    sign, comparative = (1, "more") if known.ratio > 1 else (-1, "fewer")
    spread = f" (spread {percent(known.spread)})" if known.spread else ""
    size = f"{percent(abs(known.ratio - 1))} {comparative} instructions{spread}"

    def along(differences: Sequence[CountDifference], least: float = 0.0) -> list[CountDifference]:
        return [each for each in differences if each.difference * sign > least][:NAMED]

    if operators := along(known.operators()):
        calls = (f"{each.name} ({plural(each.head, 'call')} instead of {each.base:,})" for each in operators)
        return f"{size}, in {' and '.join(calls)}"
    parts = {part: share * sign for part, share in known.parts().items() if share * sign > 0}
    if not parts:
        return size
    most = max(parts, key=parts.__getitem__)
    functions = along(known.functions(most), MIN_SHARE * parts[most] * known.base.total)
    named = ", ".join(f"`{short(each.name)}`" for each in functions) if most in FUNCTIONS_TOLD else ""
    return f"{size}, most in {PARTS[most]}{f' ({named})' if named else ''}"


def short(function: str) -> str:
    """Return a function's name without its arguments and the arguments of its templates."""
    name = re.sub(r"\[clone [^\]]*\]", "", function).replace("(anonymous namespace)::", "")
    while (shorter := re.sub(r"<[^<>]*>", "", name)) != name:
        name = shorter
    name = name.partition("(")[0].strip().rsplit(" ", 1)[-1] or function
    return name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 1]}…"


def instruction_counts(known: Mapping[str, Any]) -> str:
    """Return `instructions: 24.1 M -> 24.3 M (+0.7%), of which Python +0.1%, ...`, from a line of `verdicts.json`."""

    def signed(share: float) -> str:
        return f"{'+' if share >= 0 else '-'}{percent(abs(share))}"

    parts = ", ".join(
        f"{PARTS[part]} {signed(share)}" for part, share in known["parts"].items() if abs(share) >= 0.0005
    )
    of_which = f", of which {parts}" if parts else ""
    return f"instructions: {count(known['base'])} -> {count(known['head'])} ({signed(known['ratio'] - 1)}){of_which}"
