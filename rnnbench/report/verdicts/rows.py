"""What every output says about a case: its verdict, its numbers and why, in words."""

from collections.abc import Iterable
from dataclasses import dataclass

from rnnbench.analysis.comparison import Comparison, Finding
from rnnbench.report.verdicts import sentence
from rnnbench.report.verdicts.answer import told
from rnnbench.report.verdicts.forest import bar
from rnnbench.report.words.case_names import Names, names
from rnnbench.report.words.changes import change, change_interval
from rnnbench.report.words.units import round_percent


@dataclass(frozen=True)
class VerdictRow:
    """One case; the terminal, Markdown, JUnit, GitHub and JSON all take their texts from here."""

    finding: Finding
    case: str  # its name, without what all cases share
    verdict: str
    change: str  # of the ratio that decides: of the typical call, or of the mean; empty where no time was compared
    interval: str  # of the change
    mean: str  # change of the mean
    margin: str
    why: str  # a sentence without a full stop; empty where the numbers say all
    brief: str  # the case in one clause
    bar: str  # the change as a line of text; empty where no time was compared


def rows(findings: Iterable[Finding], called: Names) -> list[VerdictRow]:
    """A row for each finding."""
    return [_row(finding, called) for finding in findings]


def all_rows(comparison: Comparison) -> list[VerdictRow]:
    """A row for each finding of a comparison."""
    return rows(comparison.findings, names(finding.case for finding in comparison.findings))


def has_margins(comparison: Comparison) -> bool:
    """Whether margins differ between the cases that were judged, so that each must be shown."""
    return len({finding.margin for finding in comparison.findings if finding.verdict is not None}) > 1


def _row(finding: Finding, case_names: Names) -> VerdictRow:
    estimate, mean = finding.deciding, finding.mean
    return VerdictRow(
        finding,
        case_names.name(finding.case),
        finding.verdict or "not compared",
        change(estimate.value) if estimate else "",
        change_interval(estimate) if estimate else "",
        change(mean.value) if mean else "",
        round_percent(finding.margin) if finding.verdict else "",
        sentence.render(finding),
        told(finding),
        bar(estimate, finding.margin) if finding.verdict else "",
    )
