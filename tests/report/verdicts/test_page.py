"""The page of a check's folder."""

import json
import re
from html import unescape
from pathlib import Path

import pytest

from rnnbench.analysis.comparison import Comparison
from rnnbench.errors import UserError
from rnnbench.report.page.place import PAGE
from rnnbench.report.verdicts import page as check_page
from rnnbench.report.verdicts import verdicts
from rnnbench.store.records import Case
from tests.doubles import checks
from tests.doubles.pages import Page

from . import samples


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
    assert "3 cases have a verdict without a time; the table says why." in html.text
    assert "head: a worker was lost" in html.text
    assert b"1a2b3c4" in files["tables/sides.csv"]


def test_an_interrupted_check_says_that_it_has_no_verdict_and_draws_nothing(tmp_path: Path) -> None:
    case = samples.SLOWER.case
    assert isinstance(case, Case)
    files = check_page.render(checks.write(tmp_path, None, {case: 1.05}))
    html = Page(files[PAGE].decode())
    assert "This check has no verdict" in html.text
    assert "this check was interrupted" in html.text
    assert "figures/changes.svg" not in files


def test_without_intervals_in_an_older_check_the_page_says_so(tmp_path: Path) -> None:
    check = folder(tmp_path, samples.realistic())
    content = json.loads((check / "verdicts.json").read_text())
    for finding in content["findings"]:
        finding.update(dict.fromkeys(("ratio_low", "ratio_high", "mean_ratio_low", "mean_ratio_high", "described_by")))
    content = {key: value for key, value in content.items() if key not in ("answer", "details", "method")}
    (check / "verdicts.json").write_text(json.dumps(content))
    text = Page(page(check)).text
    assert "No change is drawn: no time was compared." in text
    assert "2 of 24 cases regressed" in text


def test_verdicts_that_cannot_be_read_are_an_error(tmp_path: Path) -> None:
    check = folder(tmp_path, samples.realistic())
    (check / "verdicts.json").write_text("{}")
    with pytest.raises(UserError, match=r"verdicts\.json: can't be read"):
        page(check)


def test_where_no_time_was_compared_no_change_is_drawn(tmp_path: Path) -> None:
    text = Page(page(folder(tmp_path, samples.comparison(samples.FAILING)))).text
    assert "No change is drawn: no time was compared." in text


def test_names_and_messages_that_are_markup_are_only_text(tmp_path: Path) -> None:
    compared = samples.nasty()
    html = check_page.render(checks.write(tmp_path, compared, {samples.SLOWER.case: 1.0}))  # type: ignore[dict-item]
    for name, content in html.items():
        if name.endswith((".html", ".svg", ".md")):
            assert b"<script>alert" not in content, name


@pytest.mark.slow
def test_a_large_check_is_a_small_page(tmp_path: Path) -> None:
    compared = samples.large(10, 400)
    check = folder(tmp_path, compared, pairs=2)
    assert len(page(check)) < 700_000
