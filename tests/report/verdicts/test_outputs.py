"""Verdicts on a terminal, as Markdown, JUnit and annotations, and in a check's folder."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis.comparison import Comparison, Finding
from rnnbench.analysis.decide import Evidence, finding_of
from rnnbench.analysis.estimate import Location
from rnnbench.analysis.verdict import CHANGED, Trial
from rnnbench.report.verdicts import outputs, verdicts
from rnnbench.report.verdicts.reasons import change_of, interval_of, size_together, why
from rnnbench.report.verdicts.verdicts import Verdicts
from rnnbench.report.words.units import change, change_span, slower
from rnnbench.store.records import Measurement
from tests.doubles import screens
from tests.doubles.workload import case

from .samples import (
    APART,
    FAILING,
    ONE_SIDED,
    SAME,
    SLOWER,
    comparison,
    every_verdict,
    finding,
    large,
    nasty,
    near,
    realistic,
)

SAMPLES = [comparison(), every_verdict(), realistic(), nasty(), large(3, 60)]
COMPARISON = Comparison("quick", "main", "head", "paired", (Finding(case("gru"), "unchanged", 0.025),))
SEPARATOR = re.compile(r"(?<!\\)\|")
OUTPUTS: dict[str, Callable[[Verdicts], str]] = {
    "terminal": lambda found: screens.of_verdicts(found, 100),
    "narrow terminal": lambda found: screens.of_verdicts(found, 80),
    "markdown": outputs.markdown,
    "junit": outputs.junit,
    "annotations": lambda found: "\n".join(outputs.annotations(found)),
}
COMPARISONS = {"every verdict": every_verdict(), "odd names": nasty(), "nothing": comparison()}


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("compared", COMPARISONS)
def test_a_comparison_in_every_output(compared: str, output: str, snapshot: SnapshotAssertion) -> None:
    assert OUTPUTS[output](verdicts.verdicts_of(COMPARISONS[compared])) == snapshot


@pytest.mark.parametrize(
    "compared",
    [
        pytest.param(realistic(), id="some changes among many cases"),
        pytest.param(comparison(APART, APART, APART, FAILING, FAILING), id="shared sentences"),
        pytest.param(comparison(SAME, *[ONE_SIDED] * 5), id="not compared"),
        pytest.param(comparison(SAME, finding("unchanged", 1.0, margin=0.05)), id="two margins"),
        pytest.param(comparison(APART, FAILING), id="no times"),
        pytest.param(comparison(SLOWER, SAME, way="stored", seconds=None), id="stored runs"),
    ],
)
def test_a_comparison_on_a_terminal(compared: Comparison, snapshot: SnapshotAssertion) -> None:
    assert text_of(compared) == snapshot


def text_of(compared: Comparison, width: int = 100) -> str:
    return screens.of_verdicts(verdicts.verdicts_of(compared), width)


LOGS = st.one_of(st.floats(-0.3, 0.3), st.floats(-20, 20))
LOCATIONS = st.builds(Location, LOGS, st.one_of(st.floats(0, 0.1), st.floats(0, 30)), st.sampled_from([0.0, 3.0, 20.0]))
LOOKS = st.lists(st.tuples(LOCATIONS, LOCATIONS), min_size=1, max_size=3)


@given(st.lists(LOOKS, min_size=1, max_size=5))
def test_every_output_describes_a_verdict_with_the_ratio_and_interval_that_decided_it(
    looks: list[list[tuple[Location, Location]]],
) -> None:
    cases = [case("lstm", batch_size=number + 1) for number in range(len(looks))]
    trial = Trial({subject.key: 0.025 for subject in cases})
    for subject, of_case in zip(cases, looks, strict=True):
        for low, mean in of_case:
            trial.look(subject.key, low, mean, 1 / len(of_case))
    judged = trial.verdicts()
    measured = [Measurement(subject, "measured") for subject in cases]
    compared = comparison(
        *(
            finding_of(
                Evidence(case=each.case, margin=0.025, base=each, head=each, judged=judged[each.case.key], replicates=9)
            )
            for each in measured
        )
    )
    shown = verdicts.verdicts_of(compared)
    by_key = {finding.case.key: finding for finding in compared.findings}
    renderers = (outputs.markdown, outputs.junit, lambda found: screens.of_verdicts(found, 400))
    whole = [render(shown).replace("\\", "") for render in renderers]
    for row in shown.findings:
        finding = by_key[row.case.key]
        estimate = judged[finding.case.key].mean if finding.is_by_mean else judged[finding.case.key].low
        assert (row.verdict in CHANGED) == (finding.deciding_ratio is not None)
        assert change_of(row) == (change(estimate.value) if estimate.has_interval else "")
        if row.verdict == "unchanged":
            assert 1 / 1.025 < estimate.lower <= estimate.upper < 1.025
        if row.verdict in CHANGED:
            assert estimate.lower > 1.025 if row.verdict == "regressed" else estimate.upper < 1 / 1.025
            more = " in the mean of its calls" * finding.is_by_mean
            assert f"{slower(estimate.value)}{more} ({change_span(estimate)})" in size_together(row)
            assert ("in the mean of its calls" in why(row)) == finding.is_by_mean
            assert all(change_of(row) in text and interval_of(row) in text for text in whole)
    named = compared.findings[0]
    if named.verdict == "regressed" and named.deciding:
        assert change_span(named.deciding) in shown.answer
        assert change_span(named.deciding) in outputs.annotations(shown)[0].replace("%25", "%")


@pytest.mark.parametrize("width", [80, 100, 140])
@pytest.mark.parametrize("compared", SAMPLES, ids=range(len(SAMPLES)))
def test_no_line_is_wider_than_the_console(compared: Comparison, width: int) -> None:
    assert max(map(cell_len, text_of(compared, width).splitlines())) <= width


def test_of_thousands_of_cases_the_worst_are_listed_and_the_others_counted() -> None:
    slower = [Finding(case("gru", batch_size=n), "regressed", 0.025, low=near(1.5), mean=near(1.5)) for n in range(300)]
    same = [Finding(case("lstm", batch_size=n), "unchanged", 0.025, low=near(1.0), mean=near(1.0)) for n in range(5000)]
    text = text_of(Comparison("s", "base", "head", "paired", (*slower, *same)))
    listed = text.count(" regressed  ")
    assert outputs.MIN_LISTED <= listed <= outputs.MAX_SCREEN_LINES
    assert f"Not listed: {300 - listed:,} regressed, 5,000 unchanged." in text


@pytest.mark.parametrize("compared", [realistic(), large(3, 60), comparison()], ids=["realistic", "large", "nothing"])
def test_a_check_fits_one_screen_and_the_answer_comes_first(compared: Comparison) -> None:
    lines = text_of(compared, 80).splitlines()
    assert len(lines) <= 24
    assert verdicts.verdicts_of(compared).answer.startswith(lines[0][:40])


def test_a_reason_for_timing_that_all_cases_share_is_told_once() -> None:
    doubt = "gru.py: GRUCell.forward changed"
    findings = [
        replace(finding("regressed", 1.1, case=case("gru", batch_size=size)), cause=doubt) for size in (1, 2, 3)
    ]
    assert text_of(comparison(*findings)).count(doubt) == 1  # beside the subject
    named = [replace(each, definitions=("gru.py:GRUCell.forward",)) for each in findings]
    assert f"Timed because {doubt}." in text_of(comparison(*named))
    other = replace(findings[0], cause="lstm.py: LSTMCell.forward changed")
    assert text_of(comparison(other, *findings[1:])).count("timed because") == 2  # neighbours share a line


def rows(text: str) -> list[list[str]]:
    """The cells of both tables as Markdown splits them, without headings and rules."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith(("| case |", "| :---"))]
    return [[cell.strip() for cell in SEPARATOR.split(line)[1:-1]] for line in lines]


@pytest.mark.parametrize("compared", SAMPLES, ids=range(len(SAMPLES)))
def test_no_name_breaks_the_table(compared: Comparison) -> None:
    text = outputs.markdown(verdicts.verdicts_of(compared))
    assert all(len(row) == 5 for row in rows(text))
    assert len(rows(text)) == len(compared.findings)
    assert not re.search(r"[<>\x00\x1b]", re.sub("</?(details|summary)>", "", text))


def test_the_heading_is_short_and_unchanged_cases_are_folded() -> None:
    heading, _, sentences, *rest = outputs.markdown(verdicts.verdicts_of(realistic())).splitlines()
    assert heading == "## ▲ 2 of 24 cases regressed"
    assert sentences.startswith("2 of 24 cases regressed; the worst is lstm loop inference, batch 16: 5.1% slower")
    fold = rest.index("<details><summary>20 unchanged</summary>")
    assert not any("unchanged" in line for line in rest[:fold])
    assert len(rows("\n".join(rest[fold : rest.index("</details>")]))) == 20


def test_a_comment_has_the_worst_rows_and_fits_into_one() -> None:
    text = outputs.markdown(verdicts.verdicts_of(large()))
    table = rows(text)
    assert [row[1] for row in table[:40]] == ["▲ **regressed**"] * 40
    assert len(table) == outputs.MAX_MARKDOWN_ROWS
    assert f"\n{2000 - len(table):,} rows left out" in text
    assert len(text) < 65_536 / 2


def test_where_nothing_could_be_compared_no_case_looks_as_if_it_had_passed_or_been_skipped() -> None:
    read = ET.fromstring(outputs.junit(verdicts.verdicts_of(comparison(APART, ONE_SIDED))))
    assert [[child.tag for child in case] for case in read.iter("testcase")] == [["error"], ["error"]]


def test_the_worst_stand_beside_their_code_and_the_rest_is_one_line_of_the_ten_that_github_shows() -> None:
    lines = outputs.annotations(verdicts.verdicts_of(large(40, 50)), place_of=lambda case: ("a,b.py", 7))
    assert len(lines) == 10
    assert "title=31 cases more regressed::" in lines[-1]
    start = "::error file=a%2Cb.py,line=7,title=Regressed%3A lstm loop inference%2C batch"
    assert all(line.startswith(start) for line in lines[:-1])
    assert "batch 40::" in lines[0]


def test_markdown_json_and_junit_are_written_and_can_be_read(tmp_path: Path) -> None:
    outputs.write_files(verdicts.verdicts_of(COMPARISON), tmp_path)
    marker, heading, *_ = (tmp_path / "verdicts.md").read_text().splitlines()
    assert marker == "<!-- rnnbench comment quick -->"
    assert heading.startswith("## ● Nothing regressed")
    assert json.loads((tmp_path / "verdicts.json").read_text())["suite"] == "quick"
    assert ET.parse(tmp_path / "junit.xml").getroot().tag == "testsuites"
    assert {file.name for file in tmp_path.iterdir()} == {"verdicts.md", "verdicts.json", "junit.xml"}
