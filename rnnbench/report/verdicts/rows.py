"""A finding as the cells of a table."""

from collections.abc import Iterable
from dataclasses import dataclass

from rnnbench.analysis.comparison import Comparison, Finding
from rnnbench.report.verdicts import sentence
from rnnbench.report.words.case_names import Names
from rnnbench.report.words.changes import change, change_interval
from rnnbench.report.words.units import round_percent


@dataclass(frozen=True)
class VerdictRow:
    """What every table says of one case."""

    finding: Finding
    case: str
    verdict: str
    change: str
    interval: str
    mean: str
    margin: str
    why: str


def rows(findings: Iterable[Finding], names: Names) -> list[VerdictRow]:
    """One for each finding."""
    return [_row(one, names) for one in findings]


def has_margins(comparison: Comparison) -> bool:
    """Whether margins differ between the cases that were judged, so that each must be shown."""
    return len({one.margin for one in comparison.findings if one.verdict is not None}) > 1


def _row(finding: Finding, names: Names) -> VerdictRow:
    low, mean = finding.low, finding.mean
    return VerdictRow(
        finding,
        names.name(finding.case),
        finding.verdict or "not compared",
        change(low.value) if low else "",
        change_interval(low) if low else "",
        change(mean.value) if mean else "",
        round_percent(finding.margin) if finding.verdict else "",
        sentence.render(finding),
    )
