"""The page of a check's folder, and what checks over time say and show."""

import re
from html import unescape
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis.comparison import Comparison
from rnnbench.report.page.page import PAGE
from rnnbench.report.verdicts import page as check_page
from rnnbench.report.verdicts import verdicts
from rnnbench.report.verdicts.page import DatedCheck, frame_of_checks, section_of_checks
from rnnbench.store.records import Case
from tests.doubles import checks
from tests.doubles import workload as small
from tests.doubles.pages import Page, shown

from . import samples

LOOP = small.case("vanilla")


@pytest.fixture(autouse=True)
def _svg_alone(svg_alone: None) -> None:
    """Pages hold no PNG; `test_every_page` draws those of a check."""


def folder(parent: Path, compared: Comparison, **how: float) -> Path:
    slower = {finding.case: 1.05 for finding in compared.findings if isinstance(finding.case, Case)}
    return checks.write(parent, compared, slower, **how)  # type: ignore[arg-type]


def page(check: Path) -> str:
    return check_page.render(check)[PAGE].decode()


def text_of(html: str, pattern: str) -> str:
    match = re.search(pattern, html, re.DOTALL)
    assert match is not None, pattern
    return unescape(match[1]).strip()


def test_the_answer_is_the_sentence_of_the_terminal_and_comes_before_the_figure(tmp_path: Path) -> None:
    compared = samples.realistic()
    html = page(folder(tmp_path, compared))
    found = verdicts.of(compared)
    assert text_of(html, r'<p class="answer">(.*?)</p>') == found.answer
    assert found.details in text_of(html, r'<p class="more">(.*?)</p>')
    positions = [html.index(part) for part in ("<h1>", 'class="answer"', 'id="figure-changes"', "<h2 ")]
    assert positions == sorted(positions)
    assert "measured for 93.2 s" in html


def test_it_has_a_figure_the_verdicts_and_the_way_to_both_runs(tmp_path: Path) -> None:
    check = folder(tmp_path, samples.every_verdict())
    files = check_page.render(check)
    tables, figures = ("verdicts", "sides"), ("changes",)
    assert files.keys() == {
        PAGE,
        *(f"tables/{name}.{kind}" for name in tables for kind in ("csv", "md", "tex")),
        *(f"figures/{name}.{kind}" for name in figures for kind in ("svg", "png")),
    }
    html = Page(files[PAGE].decode())
    assert {link for link in html.all("href") if link.startswith(("tables/", "figures/"))} <= files.keys()
    for side in ("base", "head"):
        assert f"rnnbench report {check / side}" in html.text
        assert str(check / side) in html.text
    assert "rnnbench check test --base main" in html.text
    assert "No time was compared for 3 cases; the table says why." in html.text
    assert "head: a worker was lost" in html.text
    assert b"1a2b3c4" in files["tables/sides.csv"]


def test_an_interrupted_check_says_that_it_has_no_verdict_and_draws_nothing(tmp_path: Path) -> None:
    files = check_page.render(checks.write(tmp_path, None, {LOOP: 1.05}))
    html = Page(files[PAGE].decode())
    assert "This check has no verdict" in html.text
    assert "this check was interrupted" in html.text
    assert "figures/changes.svg" not in files


def test_checks_come_in_the_order_in_which_they_began_and_those_without_verdicts_are_left_out(tmp_path: Path) -> None:
    same = samples.comparison(samples.finding("unchanged", 1.0, case=LOOP))
    made = [checks.write(tmp_path / name, same, {LOOP: 1.0}) for name in "ab"]
    interrupted = checks.write(tmp_path / "c", None, {LOOP: 1.0})
    found = checks.read_all([*made[::-1], interrupted])
    assert [check.verdicts.suite for check in found] == ["quick", "quick"]
    assert found[0].head.started <= found[1].head.started
    assert checks.read_all([]) == []
    assert frame_of_checks([]).empty


def test_cases_of_different_checks_that_each_call_alike_are_told_apart(tmp_path: Path) -> None:
    cases = [small.case("vanilla", batch_size=size) for size in (1, 32)]
    same = [samples.comparison(samples.finding("unchanged", 1.0, case=case)) for case in cases]
    made = [
        checks.write(tmp_path / str(case.workload.batch_size), of, {case: 1.0})
        for of, case in zip(same, cases, strict=True)
    ]
    found = checks.read_all(made)
    assert {name for check in found for name in check.verdicts.frame["name"]} == {"vanilla loop inference"}
    names = [f"vanilla loop inference, batch {case.workload.batch_size}" for case in cases]
    assert frame_of_checks(found)["name"].tolist() == names


CASES = [small.case("gru", batch_size=size) for size in range(1, 16)]


def dated(tmp_path: Path, *changes: dict[int, float]) -> list[DatedCheck]:
    """A check for each entry, which says by what factor some cases, by their index, became slower."""
    folders = []
    for number, slower in enumerate(changes):
        ratios = [slower.get(index, 1.001) for index in range(len(CASES))]
        verdicts = ["regressed" if ratio > 1.02 else "improved" if ratio < 0.98 else "unchanged" for ratio in ratios]
        found = [
            samples.finding(verdict, ratio, case=case)  # type: ignore[arg-type]
            for verdict, ratio, case in zip(verdicts, ratios, CASES, strict=True)
        ]
        folders.append(checks.write(tmp_path / str(number), samples.comparison(*found), {CASES[0]: 1.0}))
    return checks.read_all(folders)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param([{3: 1.1, 4: 1.3}, {3: 1.2, 5: 0.7}, {}], id="some changed"),
        pytest.param([{}, {7: 1.01}], id="none changed"),
    ],
)
def test_the_words_count_cases_and_name_the_largest_changes(
    tmp_path: Path, changes: list[dict[int, float]], snapshot: SnapshotAssertion
) -> None:
    assert shown(section_of_checks(dated(tmp_path, *changes))) == snapshot
