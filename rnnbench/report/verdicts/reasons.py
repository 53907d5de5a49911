"""A verdict in words: why a case has it, and its number; lower-case clauses, without a full stop."""

from collections.abc import Iterable

from rnnbench.analysis.comparison import GROWTH, WORK, Change, Finding, InstructionChange
from rnnbench.analysis.summary import SHARED
from rnnbench.analysis.verdict import Family
from rnnbench.report.words.names import one_line
from rnnbench.report.words.units import (
    IN_THE_MEAN,
    between,
    change,
    change_interval,
    change_span,
    count,
    memory,
    percent,
    slower,
)
from rnnbench.store.metrics import BY_NAME
from rnnbench.text import plural

MAX_LENGTH = 300  # a reason may be a whole message of a user's code; the JSON has all of it
UNSURE = ", which is not significant among all cases"  # the interval lies beyond the margin, the tests do not reject
PART_NAMES = {"python": "Python", "dispatch": "torch's dispatch", "kernels": "kernels"}
OPERATORS_NAMED = 2  # operators in one sentence


def why(finding: Finding) -> str:
    """Return why a case has its verdict; empty if the numbers say all."""
    judged = sorted(finding.judged_changes, key=lambda each: each.ratio, reverse=finding.verdict != "improved")
    if finding.rule == "growth":
        judged += [each for each in finding.changes if each.metric in GROWTH and each not in judged]
    work = [each for each in finding.changes if each.metric in WORK and each not in judged]
    clauses = [differences(judged)]
    if finding.verdict == "undecided":
        clauses.append(one_line(finding.reason) or _interval(finding))
        clauses.append(f"counts: {differences(work) or 'same'}" if finding.is_counted else "")
    elif finding.rule == "growth":
        clauses.append(f"--on-growth fail; time {finding.time_verdict or 'not compared'}")
    elif finding.reason:
        clauses.append(one_line(finding.reason))
    elif finding.family:
        clauses += [with_family(finding.family), _cause(finding, work)]
    elif finding.verdict == "unchanged":
        clauses = [f"counts that differ: {differences(finding.changes)}" if finding.changes else ""]
    else:
        mean = finding.mean
        low = finding.low
        if finding.deciding_ratio == "mean" and finding.witness != "counts" and mean:
            typical = f", for the typical call {slower(low.value)}" if low else ""
            clauses.append(f"{IN_THE_MEAN} {slower(mean.value)} ({change_span(mean)}){typical}")
        clauses.append(_cause(finding, work))
    text = "; ".join(filter(None, [*clauses, _instructions(finding)]))
    state = SHARED if finding.state == SHARED else ""
    return "; ".join(filter(None, [shortened(text, MAX_LENGTH - len(state)), state]))


def explained(finding: Finding, *, has_cause: bool = True) -> str:
    """Return why a regression is accepted, why the case has its verdict, and why it was timed (`has_cause`)."""
    clauses = [f"accepted: {finding.accepted}" if finding.accepted else "", why(finding)]
    if has_cause and finding.cause:
        clauses.append(f"timed because {finding.cause}")
    return "; ".join(filter(None, clauses))


def change_of(finding: Finding) -> str:
    """Return `+5.1%`, or nothing if no time was compared."""
    return change(finding.deciding.value) if finding.deciding else ""


def interval_of(finding: Finding) -> str:
    """Return `[+4.2%, +6.0%]`, or nothing if no time was compared."""
    return change_interval(finding.deciding) if finding.deciding else ""


def size(finding: Finding) -> str:
    """Return `5.1% slower (+4.2% to +6.0%)`, or why the case has its verdict if no number says so."""
    if finding.deciding is None or not is_by_number(finding):
        return why(finding)
    if finding.verdict == "undecided":
        return f"{f'{IN_THE_MEAN} ' if finding.is_by_mean else ''}{between(finding.deciding)}"
    where = f" {IN_THE_MEAN}" if finding.is_by_mean else ""
    return f"{slower(finding.deciding.value)}{where} ({change_span(finding.deciding)})"


def is_by_number(finding: Finding) -> bool:
    """Return True if a change of the time says why the case has its verdict."""
    return finding.is_by_time and not finding.reason


def size_together(finding: Finding) -> str:
    """Return what the cases of its family lost together, or else `size` of the case itself."""
    return together(finding) or size(finding)


def with_family(family: Family) -> str:
    """Return `with the 6 cases of MyCell`, which is why one of them has its verdict; `together` says how much."""
    return f"with the {plural(family.cases, 'case')} of {one_line(family.name).rpartition(':')[2]}"


def together(finding: Finding) -> str:
    """Return `the 6 cases of MyCell.py:MyCell are together 5.1% slower (+4.2% to +6.0%)`; empty without a family."""
    family = finding.family
    if family is None:
        return ""
    mean = f" {IN_THE_MEAN}" if finding.witness == "mean_ratio" else ""
    cases = f"the {plural(family.cases, 'case')} of {one_line(family.name)}"
    return f"{cases} are together {slower(family.ratio.value)}{mean} ({change_span(family.ratio)})"


def shortened(text: str, length: int = MAX_LENGTH) -> str:
    """Return a text cut to a length that fits a table."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def differences(changes: Iterable[Change]) -> str:
    """Return `96 more operator calls (412 -> 508, +23%), 700 kB less peak memory (1.90 MB -> 1.20 MB, -37%)`."""
    texts = []
    for each in changes:
        metric = BY_NAME[each.metric]
        more = abs(each.head - each.base)
        is_bytes = metric.unit == "bytes"
        write = memory if is_bytes else count
        label = metric.label.removesuffix("s") if more == 1 else metric.label
        fewer = "less" if is_bytes else "fewer"
        comparative = "more" if each.head > each.base else fewer
        share = change(each.ratio)
        values = f"{write(each.base)} -> {write(each.head)}{f', {share}' if share not in ('', '0.0%') else ''}"
        texts.append(f"{write(more)} {comparative} {label} ({values})")
    return ", ".join(texts)


def _direction(finding: Finding) -> int:
    """Return 1 if the time got longer by more than the margin, -1 if it got shorter by more, else 0."""
    return {"regressed": 1, "improved": -1}.get(finding.time_verdict or "", 0)


def _cause(finding: Finding, work: list[Change]) -> str:
    """Return the `work` that changed in the direction of the time, or that went against it."""
    sign = _direction(finding)
    along = differences(each for each in work if (each.head - each.base) * sign > 0)
    against = differences(each for each in work if (each.head - each.base) * sign < 0)
    if along:
        return f"likely cause: {along}{f', but {against}' if against else ''}"
    if (
        not sign or finding.judged_changes or finding.deciding_ratio == "mean"
    ):  # of the mean, some calls may be the cause
        return against or differences(work)
    what = f"despite {against}" if against else "no known difference in counts"
    if finding.instructions is not None:  # which are told next, and leave nothing to guess
        return what
    return f"{what}: {'slower' if sign > 0 else 'faster'} kernels, or other code between them"


def _interval(finding: Finding) -> str:
    """Return where the change of an undecided case lies."""
    estimate = finding.deciding
    edge = 1 + finding.margin
    if estimate is None:
        return f"no interval from {plural(finding.replicates, 'replicate')}"
    is_beyond = estimate.lower > edge or estimate.upper < 1 / edge
    return f"{f'{IN_THE_MEAN} ' if finding.is_by_mean else ''}{between(estimate)}{UNSURE if is_beyond else ''}"


def _instructions(finding: Finding) -> str:
    """Return the change of instructions if it, or that of the time, is beyond the margin, and whether both agree."""
    instructions = finding.instructions
    sign = _direction(finding)
    if instructions is None:
        return ""
    if not instructions.is_beyond:
        return "as many instructions as before: memory, caches or the clock" if sign else ""
    is_silent = finding.time_verdict in ("regressed", "improved", "unchanged") and sign != (
        1 if instructions.is_more else -1
    )
    return f"{instruction_change(instructions)}{'; the time does not show it' if is_silent else ''}"


def instruction_change(instructions: InstructionChange) -> str:
    """Return `0.7% more instructions, in aten::add (16 calls instead of 15)`.

    It names the operators that are called more often, if the instructions grew, or else the part that grew most.
    """
    sign = 1 if instructions.ratio > 1 else -1
    comparative = "more" if instructions.ratio > 1 else "fewer"
    spread = f" (spread {percent(instructions.spread)})" if instructions.spread else ""
    size = f"{percent(abs(instructions.ratio - 1))} {comparative} instructions{spread}"
    operators = [each for each in instructions.operators() if (each[2] - each[1]) * sign > 0][:OPERATORS_NAMED]
    if operators:
        calls = (f"{name} ({plural(head, 'call')} instead of {base:,})" for name, base, head in operators)
        return f"{size}, in {' and '.join(calls)}"
    part, share = max(instructions.parts().items(), key=lambda part: part[1] * sign, default=("", 0.0))
    return f"{size}, most in {PART_NAMES[part]}" if share * sign > 0 else size
