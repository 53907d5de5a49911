"""The comparison as JUnit XML, which most CI systems show as tests."""

import re
from xml.etree import ElementTree as ET

from rnnbench.analysis.comparison import Comparison, Finding
from rnnbench.report.verdicts.answer import answer, subject
from rnnbench.report.verdicts.instructions import instruction_counts
from rnnbench.report.verdicts.rows import VerdictRow, all_rows
from rnnbench.report.words.case_names import names
from rnnbench.report.words.changes import change, change_interval
from rnnbench.report.words.units import round_percent

FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # by XML 1.0
TAGS = {"regressed": "failure", "incomparable": "error", "undecided": "skipped", None: "skipped"}


def render(comparison: Comparison) -> str:
    """One test suite with a test case for each finding."""
    root = ET.Element("testsuites")
    suite = ET.SubElement(root, "testsuite", _totals(comparison))
    for row in all_rows(comparison):
        _add_case(suite, comparison, row)
    case_names = names(finding.case for finding in comparison.findings)
    lines = [subject(comparison), answer(comparison, case_names), *comparison.notes]
    ET.SubElement(suite, "system-out").text = _legal("\n".join(lines))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _tag(comparison: Comparison, finding: Finding) -> str | None:
    """The element for a finding; if no case was compared, nothing may look as if it had passed."""
    tag = TAGS.get(finding.verdict)
    return tag if comparison.compares or tag == "failure" else "error"


def _totals(comparison: Comparison) -> dict[str, str]:
    tags = [_tag(comparison, finding) for finding in comparison.findings]
    return {
        "name": _legal(f"rnnbench.{comparison.suite}"),
        "tests": str(len(comparison.findings)),
        "failures": str(comparison.count("regressed")),
        "errors": str(tags.count("error")),
        "skipped": str(tags.count("skipped")),
        "time": f"{comparison.seconds or 0:.3f}",
    }


def _add_case(suite: ET.Element, comparison: Comparison, row: VerdictRow) -> None:
    attributes = {"classname": _legal(f"rnnbench.{comparison.suite}"), "name": _legal(row.finding.case.key)}
    case = ET.SubElement(suite, "testcase", attributes)
    tag, details = _tag(comparison, row.finding), _details(row)
    if tag is not None:
        kind = {} if tag == "skipped" else {"type": row.verdict}  # JUnit's <skipped> has a message only
        ET.SubElement(case, tag, {"message": _legal(_message(row)), **kind}).text = _legal(details)
    elif details:
        ET.SubElement(case, "system-out").text = _legal(details)


def _message(row: VerdictRow) -> str:
    """`regressed +5.1% [+4.2%, +6.0%]: why`, or without the change of the time if counts give the verdict."""
    time = () if row.finding.is_by_counts or row.finding.is_by_instructions else (row.change, row.interval)
    return ": ".join(filter(None, [" ".join(filter(None, [row.verdict, *time])), row.why]))


def _details(row: VerdictRow) -> str:
    """Everything that is known, one line each."""
    finding = row.finding
    estimates = [("low", "typical call", finding.low), ("mean", "mean of the calls", finding.mean)]
    times = [
        f"{name}: {change(estimate.value)} {change_interval(estimate)}".rstrip()
        + (" (decides)" if finding.decided_by == ratio else "")
        for ratio, name, estimate in estimates
        if estimate
    ]
    counts = [
        f"{count.metric.label}: {count.base} -> {count.head}{' bytes' if count.metric.unit == 'bytes' else ''}"
        for count in finding.changes
    ]
    if finding.instructions is not None:
        counts.append(instruction_counts(finding.instructions))
    measured = [f"margin: {round_percent(finding.margin)}", f"replicates: {finding.replicates}"] if times else []
    return "\n".join(filter(None, [finding.reason or row.why, *times, *counts, *measured]))


def _legal(text: str) -> str:
    return FORBIDDEN.sub("�", text)
