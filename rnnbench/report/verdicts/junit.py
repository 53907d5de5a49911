"""The comparison as JUnit XML, which most CI systems show as tests."""

import re
from xml.etree import ElementTree as ET

from rnnbench.analysis.comparison import Comparison, Finding
from rnnbench.report.verdicts.answer import answer, subject
from rnnbench.report.verdicts.sentence import render as why
from rnnbench.report.words.case_names import names
from rnnbench.report.words.changes import change, change_interval
from rnnbench.report.words.units import round_percent

FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # by XML 1.0
TAGS = {"regressed": "failure", "incomparable": "error", "inconclusive": "skipped", None: "skipped"}


def render(comparison: Comparison) -> str:
    """One test suite with a test case for each finding."""
    root = ET.Element("testsuites")
    suite = ET.SubElement(root, "testsuite", _totals(comparison))
    for one in comparison.findings:
        _add_case(suite, comparison, one)
    called = names(one.case for one in comparison.findings)
    said = [subject(comparison), answer(comparison, called), *comparison.notes]
    ET.SubElement(suite, "system-out").text = _legal("\n".join(said))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _tag(comparison: Comparison, finding: Finding) -> str | None:
    """The element for a finding; where no case was compared, nothing may look as if it had passed."""
    tag = TAGS.get(finding.verdict)
    return tag if comparison.compares or tag == "failure" else "error"


def _totals(comparison: Comparison) -> dict[str, str]:
    tags = [_tag(comparison, one) for one in comparison.findings]
    return {
        "name": _legal(f"rnnbench.{comparison.suite}"),
        "tests": str(len(comparison.findings)),
        "failures": str(comparison.count("regressed")),
        "errors": str(tags.count("error")),
        "skipped": str(tags.count("skipped")),
        "time": f"{comparison.seconds or 0:.3f}",
    }


def _add_case(suite: ET.Element, comparison: Comparison, finding: Finding) -> None:
    place = {"classname": _legal(f"rnnbench.{comparison.suite}"), "name": _legal(finding.case.key)}
    case = ET.SubElement(suite, "testcase", place)
    tag = _tag(comparison, finding)
    if tag is not None:
        verdict = finding.verdict or "not compared"
        kind = {} if tag == "skipped" else {"type": verdict}  # JUnit's <skipped> has a message only
        details = _details(finding)
        ET.SubElement(case, tag, {"message": _legal(_message(finding, verdict)), **kind}).text = _legal(details)
    elif details := _details(finding):
        ET.SubElement(case, "system-out").text = _legal(details)


def _message(finding: Finding, verdict: str) -> str:
    """`regressed +5.1% [+4.2%, +6.0%]: why`."""
    low = finding.low
    numbers = [change(low.value), change_interval(low)] if low else []
    return ": ".join(filter(None, [" ".join(filter(None, [verdict, *numbers])), why(finding)]))


def _details(finding: Finding) -> str:
    """Everything that is known, a line each."""
    found = [("low quantile of the calls", finding.low), ("mean of the calls", finding.mean)]
    times = [f"{name}: {change(one.value)} {change_interval(one)}".rstrip() for name, one in found if one]
    counts = [
        f"{one.metric.label}: {one.base} -> {one.head}{' bytes' if one.metric.unit == 'bytes' else ''}"
        for one in finding.changes
    ]
    measured = [f"margin: {round_percent(finding.margin)}", f"replicates: {finding.replicates}"] if times else []
    return "\n".join(filter(None, [finding.reason or why(finding), *times, *counts, *measured]))


def _legal(text: str) -> str:
    return FORBIDDEN.sub("�", text)
