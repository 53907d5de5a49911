"""The page of a check's folder, and what checks over time say and show."""

import re
from html import unescape
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from rnnbench.analysis.comparison import Change, Comparison
from rnnbench.analysis.estimate import Estimate
from rnnbench.report.page.page import PAGE_FILE, files
from rnnbench.report.verdicts import page as check_page
from rnnbench.report.verdicts import verdicts
from rnnbench.report.verdicts.history import read_check
from rnnbench.report.verdicts.page import MAX_DRAWN_ROWS, changes
from rnnbench.store.records import Case
from tests.doubles import checks
from tests.doubles import workload as small
from tests.doubles.pages import Page
from tests.report.test_figures import legend

from . import samples

LOOP = small.case("vanilla")


def folder(parent: Path, compared: Comparison, **how: float) -> Path:
    slower = {finding.case: 1.05 for finding in compared.findings if isinstance(finding.case, Case)}
    return checks.write(parent, compared, slower, **how)  # type: ignore[arg-type]


def page(check: Path) -> str:
    return files(check_page.page_of(check))[PAGE_FILE].decode()


def text_of(html: str, pattern: str) -> str:
    match = re.search(pattern, html, re.DOTALL)
    assert match is not None, pattern
    return unescape(match[1]).strip()


def test_the_answer_is_the_sentence_of_the_terminal_and_comes_before_the_table_and_the_figure(tmp_path: Path) -> None:
    compared = samples.realistic()
    html = page(folder(tmp_path, compared))
    found = verdicts.verdicts_of(compared)
    assert text_of(html, r'<p class="answer">(.*?)</p>') == found.answer
    assert found.details in text_of(html, r'<p class="more">(.*?)</p>')
    positions = [html.index(part) for part in ("<h1>", 'class="answer"', 'id="table-verdicts"', 'id="figure-changes"')]
    assert positions == sorted(positions)
    assert "measured for 93.2 s" in html


def test_it_has_a_figure_the_verdicts_and_the_way_to_both_runs(tmp_path: Path) -> None:
    check = folder(tmp_path, samples.every_verdict())
    written = files(check_page.page_of(check))
    html = Page(written[PAGE_FILE].decode())
    assert {link for link in html.all("href") if link.startswith(("tables/", "figures/"))} <= written.keys()
    for side in ("base", "head"):
        assert f"rnnbench report {check / side}" in html.text
        assert str(check / side) in html.text
    assert "rnnbench check test --base main" in html.text
    assert "head: a worker was lost" in html.text
    assert b"1a2b3c4" in written["tables/sides.csv"]


def test_an_interrupted_check_says_that_it_has_no_verdict_and_draws_nothing(tmp_path: Path) -> None:
    check = checks.write(tmp_path, None, {LOOP: 1.05})
    written = files(check_page.page_of(check))
    html = Page(written[PAGE_FILE].decode())
    assert "This check has no verdict" in html.text
    assert "this check was interrupted" in html.text
    assert "figures/changes.svg" not in written
    assert read_check(check) is None


def drawn(compared: Comparison) -> tuple[Figure, list[str], list[str]]:
    """The figure, the names of its rows, and what stands beside them."""
    figure = changes(verdicts.verdicts_of(compared).frame)
    assert figure is not None
    names, texts = ([label.get_text() for label in axes.get_yticklabels()] for axes in figure.axes)
    return figure, names, texts


def test_each_case_has_a_row_with_its_verdict_by_glyph_and_word_the_worst_on_top() -> None:
    compared = samples.every_verdict()
    figure, names, texts = drawn(compared)
    assert names[:2] == ["vanilla loop inference, batch 16", "lstm loop training, batch 16"]
    assert len(names) == sum(finding.verdict is not None for finding in compared.findings)
    assert [text[0] for text in texts] == ["▲"] * 4 + ["✕"] + ["◇"] * 2 + ["▼", "●"]
    assert texts[0] == "▲  regressed  without a time"
    assert texts[1] == "▲  regressed  +5.1%  [+4.2%, +6.0%]"
    assert "▲  regressed  in the mean  +5.1%  [+3.9%, +6.3%]" in texts
    assert "▲  regressed  by counts  +0.1%  [-0.8%, +1.0%]" in texts
    assert {"regressed", "undecided", "unchanged", "margin 2.5%"} <= set(legend(figure))
    low, high = figure.axes[0].get_xlim()
    assert low == pytest.approx(1 / high)
    assert high > 1.09  # the mark that is farthest from no change is on the axis


def test_it_leads_with_the_answer_that_the_terminal_shows(
    tmp_path: Path,
) -> None:
    steps = {("inference", 1): 32, ("inference", 16): 32, ("training", 1): 48, ("training", 16): 40}
    findings = [
        samples.finding(
            "undecided",
            Estimate(1.01, 0.97, 1.06),
            case=small.case("gru", phase=phase, batch_size=batch),
            changes=(Change("operators", 300, 300 + step),),
        )
        for (phase, batch), step in steps.items()
    ]
    compared = samples.comparison(*findings, needed="about 20 s more would be enough for 4 of 4 undecided cases")
    html = page(folder(tmp_path, compared))
    assert text_of(html, r'<p class="answer">(.*?)</p>') == (
        "Work grew in 4 of 4 cases: up to +48 operator calls (16%); time undecided."
    )
    # Names leave out what all share, which stands below the table.
    assert '<th scope="row">gru training, batch 16</th>' in html
    assert "Everywhere: loop, " in html


def test_each_row_draws_its_interval_on_the_margin(tmp_path: Path) -> None:
    html = page(folder(tmp_path, samples.every_verdict()))
    bars = re.findall(r'<svg class="bar-of".*?</svg>', html)
    assert len(bars) == 6  # of the cases that have an interval and a verdict
    shades = [re.findall(r"var\(--(\w+)\)", bar)[0] for bar in bars]
    assert shades == ["slower"] * 3 + ["undecided", "faster", "soft"]
    low, high, value = (float(each) for each in re.findall(r'd="M([\d.]+) 5H([\d.]+)M([\d.]+) 1.5', bars[0])[0])
    band = [float(each) for each in re.findall(r'class="band" d="M([\d.]+) 0H([\d.]+)', bars[0])[0]]
    assert band[0] < 50 < band[1] < low < value < high <= 100


def test_any_order_of_rows_gives_the_same_figure() -> None:
    frame = verdicts.verdicts_of(samples.realistic()).frame
    for figure in (changes(frame), changes(frame.iloc[::-1])):
        assert figure is not None
        assert figure.axes[0].get_yticklabels()[0].get_text() == frame["name"].iloc[0]


def test_of_many_cases_the_worst_are_drawn_and_the_others_counted() -> None:
    _, names, _ = drawn(samples.large(5, 200))
    assert len(names) == MAX_DRAWN_ROWS
    assert names[-1] == f"{200 - MAX_DRAWN_ROWS + 1} unchanged not drawn"


def test_one_case_with_a_huge_change_or_interval_leaves_the_others_legible() -> None:
    wide = samples.finding("undecided", Estimate(1.0, 0.01, 90.0), mean=Estimate(1.0, 0.01, 90.0))
    figure, _, _ = drawn(samples.comparison(samples.SLOWER, wide))
    assert figure.axes[0].get_xlim()[1] < 1.1
    huge = samples.finding("regressed", Estimate(30.0, 25.0, 35.0), mean=Estimate(30.0, 25.0, 35.0))
    figure, _, _ = drawn(samples.comparison(samples.SLOWER, huge))
    assert figure.axes[0].get_xlim()[1] > 30


def test_without_a_time_there_is_no_figure() -> None:
    for compared in (samples.comparison(), samples.comparison(samples.FAILING, samples.SKIPPED)):
        assert changes(verdicts.verdicts_of(compared).frame) is None
