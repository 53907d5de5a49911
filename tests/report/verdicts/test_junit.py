from xml.etree import ElementTree as ET

import pytest

from rnnbench.analysis.comparison import Comparison
from rnnbench.report.verdicts import junit

from .samples import APART, ONE_SIDED, comparison, every_verdict, large, nasty, realistic

SAMPLES = [comparison(), every_verdict(), realistic(), nasty(), large(3, 60)]


def suite(compared: Comparison) -> ET.Element:
    element = ET.fromstring(junit.render(compared)).find("testsuite")
    assert element is not None
    return element


@pytest.mark.parametrize("compared", SAMPLES, ids=range(len(SAMPLES)))
def test_the_counts_are_those_of_the_cases(compared: Comparison) -> None:
    read = suite(compared)
    cases = read.findall("testcase")
    assert int(read.attrib["tests"]) == len(cases) == len(compared.findings)
    for counted, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(read.attrib[counted]) == len(read.findall(f"testcase/{tag}"))


def test_where_nothing_could_be_compared_no_case_looks_as_if_it_had_passed_or_been_skipped() -> None:
    read = suite(comparison(APART, ONE_SIDED))
    tags = [[child.tag for child in case] for case in read.findall("testcase")]
    assert tags == [["error"], ["error"]]
