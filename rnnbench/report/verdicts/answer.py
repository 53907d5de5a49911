"""What was compared, and the answer in words."""

import math
from collections.abc import Sequence
from dataclasses import replace

from rnnbench.analysis.comparison import RANKS, Comparison, Finding
from rnnbench.analysis.verdict import Verdict
from rnnbench.report.verdicts import sentence
from rnnbench.report.words.axes import one_line
from rnnbench.report.words.case_names import Names
from rnnbench.report.words.changes import IN_THE_MEAN, change_span, slower
from rnnbench.report.words.units import duration, percent, round_percent, span
from rnnbench.text import plural

WAYS = {
    "paired": "Measured in turns on the same cores",
    "stored": "Two stored runs, compared by the ratios to their references",
    "saved": "pytest-benchmark's files, each of one process, compared by the ratio to a reference in the same process "
    "where there is one, else by time",
}
LEADS: tuple[tuple[Verdict, str, str, str], ...] = (  # the first verdict that a case has gives the answer
    ("regressed", "", "regressed", "the worst is"),
    ("incomparable", "", "can't be compared", "the first is"),
    ("undecided", "", "are undecided", "the largest undecided change is"),
    ("improved", "Nothing regressed; ", "improved", "the most improved is"),
)
NO_REGRESSION = "No regression was found, but "  # before undecided cases, unless one is slower than its margin


def answer(comparison: Comparison, names: Names) -> str:
    """Whether something regressed, the worst case with its number, and how many cases have which verdict."""
    return " ".join(filter(None, sentences(comparison, names)))


def sentences(comparison: Comparison, names: Names) -> tuple[str, str]:
    """The answer, and what it leaves out: counts of other verdicts, and instructions; may be empty."""
    first, rest = _of_verdicts(comparison, names)
    return first, " ".join(filter(None, [rest, _of_instructions(comparison, names)]))


def _of_instructions(comparison: Comparison, names: Names) -> str:
    """How many cases take more instructions, and the one that takes most more; empty if they were not counted."""
    counted = [(each, each.instructions) for each in comparison.findings if each.instructions is not None]
    more = [(finding, change) for finding, change in counted if change.is_more]
    if not counted:
        return ""
    if not more:
        return f"Of {plural(len(counted), 'case')} counted, none takes more instructions."
    finding, change = max(more, key=lambda each: each[1].ratio)
    take, which = ("takes", "") if len(more) == 1 else ("take", "the most is ")
    of_all = f"{len(more):,} of {plural(len(counted), 'case')}"
    return f"{of_all} {take} more instructions: {which}{names.name(finding.case)}, {percent(change.ratio - 1)}."


def _of_verdicts(comparison: Comparison, names: Names) -> tuple[str, str]:
    findings = comparison.findings
    judged = [finding for finding in findings if finding.verdict is not None]
    if not judged:
        why = one_line(findings[0].reason) if findings else "there is no case"
        return sentence.shortened(f"No case was compared: {why}."), ""
    undecided = [finding for finding in judged if finding.verdict == "undecided"]
    if len(undecided) == len(judged) and not any(finding.has_interval for finding in undecided):
        why = sentence.render(replace(undecided[0], is_counted=False))  # the counts are those of one case
        return sentence.shortened(f"No time was compared: {why[:1].lower()}{why[1:]}."), _rest(comparison, "undecided")
    for verdict, before, word, leader in LEADS:
        if comparison.count(verdict):
            is_harmless = verdict == "undecided" and _are_harmless(judged)
            return f"{NO_REGRESSION if is_harmless else before}{_led(comparison, names, verdict, word, leader)}", _rest(
                comparison, verdict
            )
    count = f"{comparison.count('unchanged'):,} of {plural(len(judged), 'case')}"
    first = f"Nothing regressed: {count} unchanged within {margins(comparison)}."
    return first, _rest(comparison, "unchanged")


def subject(comparison: Comparison) -> str:
    """`quick: base main (1a2b3c4) against head the working tree: 3 of 24 cases run code that changed`."""
    judged = [finding for finding in comparison.findings if finding.verdict is not None]
    changed = sum(not finding.is_by_code for finding in judged)
    of_all = f": {changed:,} of {plural(len(judged), 'case')} {'runs' if changed == 1 else 'run'} code that changed"
    compared = f"{comparison.suite}: base {comparison.base} against head {comparison.head}"
    return one_line(compared + (of_all if changed < len(judged) else ""))


def method(comparison: Comparison, names: Names) -> str:
    """How it was compared, what the numbers are, and what all cases have in common."""
    spent = f" in {duration(comparison.seconds)}" if comparison.seconds is not None else ""
    low = "lower quartile of the rounds" if comparison.way == "saved" else "typical call"
    change = f"Change: head over base in the {low}, or in their mean where that decides; mean: in their mean"
    what = [f"{WAYS[comparison.way]}{spent}", change]
    if all(finding.low is None for finding in comparison.findings):
        what = [f"No times were compared{spent}"]
    parts = [*what, f"Margin: {margins(comparison)}"]
    return ". ".join([*parts, *([f"Everywhere: {names.shared}"] if names.shared else [])]) + "."


def margins(comparison: Comparison) -> str:
    """`2.5%`, or `2.5% to 5%` if margins differ; cases that were not compared have none."""
    known = {finding.margin for finding in comparison.findings if finding.verdict is not None}
    if not known:
        return "none"
    return span(round_percent(min(known)), round_percent(max(known)))


def told(finding: Finding) -> str:
    """A case in short: `5.1% slower (+4.2% to +6.0%)`, or its sentence if the time does not decide."""
    estimate = finding.deciding
    is_by_counts = finding.is_by_counts or finding.is_by_instructions
    if estimate is None or finding.reason or is_by_counts:
        return sentence.render(finding)
    return _change(finding)


def _change(finding: Finding) -> str:
    """The change of a case whose time was compared, whatever decides: `5.1% slower (+4.2% to +6.0%)`."""
    estimate = finding.deciding
    assert estimate is not None
    which = f" {IN_THE_MEAN}" if finding.is_by_mean else ""
    return f"{slower(estimate.value)}{which} ({change_span(estimate)})"


def _are_harmless(judged: Sequence[Finding]) -> bool:
    """Whether no undecided case is slower by more than its margin, as far as it was measured."""
    undecided = [finding for finding in judged if finding.verdict == "undecided"]
    return all(not each.has_interval or _value(each) <= 1 + each.margin for each in undecided)


def _led(comparison: Comparison, names: Names, verdict: Verdict, word: str, leader: str) -> str:
    """How many cases have the verdict, and the case that is named for them."""
    findings = [finding for finding in comparison.findings if finding.verdict == verdict]
    judged = sum(finding.verdict is not None for finding in comparison.findings)
    chosen = _chosen(findings)
    verb = word.replace("are ", "is ") if len(findings) == 1 else word
    is_undecided = verdict == "undecided" and chosen.has_interval
    why = _change(chosen) if is_undecided else told(chosen)
    text = f"{len(findings):,} of {plural(judged, 'case')} {verb}"
    if (
        len(findings) == 1
        or is_undecided
        or not chosen.reason
        or any(finding.reason != chosen.reason for finding in findings)
    ):
        text += f"{f'; {leader} ' if len(findings) > 1 else ': '}{names.name(chosen.case)}"
    return sentence.shortened(f"{text}: {why}" if why else text) + "."


def _chosen(findings: list[Finding]) -> Finding:
    """The case to name: the worst, the largest undecided change or the best."""
    if findings[0].verdict == "undecided":
        return max(findings, key=_distance)
    return min(findings, key=_value) if findings[0].verdict == "improved" else findings[0]


def _distance(finding: Finding) -> float:
    """How far a change is from none, in either direction; less than that of any other if it is not known."""
    return abs(math.log(_value(finding))) if finding.has_interval else -1.0


def _value(finding: Finding) -> float:
    estimate = finding.deciding
    return estimate.value if estimate else math.inf


def _rest(comparison: Comparison, stated: Verdict) -> str:
    """The counts of the verdicts that the first sentence leaves out."""
    others = [verdict for verdict in RANKS if verdict != stated and comparison.count(verdict)]
    parts = [f"{comparison.count(verdict):,} {verdict or 'not compared'}" for verdict in others]
    return f"Also {', '.join(parts)}." if parts else ""
