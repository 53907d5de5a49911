import re
from xml.etree import ElementTree as Xml

import pytest
from matplotlib.figure import Figure

from rnnbench.report.colors import FASTER
from rnnbench.report.drawing import sheet
from rnnbench.report.figures import all_figures
from rnnbench.report.page import selection
from rnnbench.report.page.inline import COLOR, MAX_TITLED, SVG, VARIABLES, inline
from tests.report.conftest import Summaries

TITLES = {7: 'a <b> & "c"', 8: "eight", 9: "nine"}


@pytest.fixture
def svg() -> str:
    with sheet.report_style():
        figure = Figure(figsize=(4, 3))
        axes = figure.subplots()
        drawn = axes.errorbar([1, 2, 3], [1, 2, 3], yerr=[[0.1] * 3] * 2, fmt="-o", color=FASTER.light, capsize=2)
        sheet.mark(drawn, [7, 8, 9])
        sheet.mark(axes.text(1, 1, "12"), [8])
    return sheet.svg(figure, "name")


def test_each_mark_tells_its_case_and_a_line_all_of_its_cases(svg: str) -> None:
    page = inline(svg, "name", "label", TITLES)
    marks = re.findall(r'<(use|path)[^>]*data-cases="(\d)"[^>]*><title>([^<]*)</title>', page)
    assert {row for _, row, _ in marks} == {"7", "8", "9"}
    assert len(marks) == 3 + 2 * 3 + 3  # points, caps and whiskers
    assert all(title == {"7": 'a &lt;b&gt; &amp; "c"', "8": "eight", "9": "nine"}[row] for _, row, title in marks)
    assert page.count('data-cases="7-9"') == 1  # the line
    assert re.search(r'<g data-cases="8"', page)  # the number, of two letters


def test_colours_become_the_pages_own(svg: str) -> None:
    page = inline(svg, "name", "label", TITLES)
    assert "var(--faster)" in page
    assert "var(--card)" in page
    assert "#0072b2" not in page
    assert "#ffffff" not in page


def test_the_element_has_a_label_and_its_size_but_no_fixed_one(svg: str) -> None:
    start = inline(svg, "name", 'a "label"', TITLES).partition(">")[0]
    assert 'role="img"' in start
    assert 'aria-label="a &quot;label&quot;"' in start
    assert "--wide: 288px; --high: 216px" in start
    assert " width=" not in start
    assert start.startswith("<svg")


def test_a_figure_of_very_many_marks_names_their_cases_once_and_has_no_tooltips() -> None:
    rows = range(0, 3 * MAX_TITLED, 2)
    with sheet.report_style():
        figure = Figure(figsize=(4, 3))
        (marks,) = figure.subplots().plot(rows, rows, "o")
        sheet.mark(marks, rows)
    page = inline(sheet.svg(figure, "name"), "name", "label", dict.fromkeys(rows, "a title"))
    assert f'data-each="0-{rows[-1]}:2"' in page
    assert "a title" not in page
    assert page.count("<use") > len(rows)
    assert len(page) < 70 * len(rows)  # bytes of a mark


def styles(svg: str) -> list[str]:
    """The style of each mark, its own or the one that it inherits, in the order of drawing."""
    root = Xml.fromstring(svg)
    sheet = dict(
        re.findall(r"\.([\w-]+)\{([^}]*)\}", "".join(part.text or "" for part in root.iter(f"{{{SVG}}}style")))
    )
    found = []

    def walk(element: Xml.Element, inherited: str) -> None:
        own = element.get("style") or sheet.get(element.get("class", ""), "")
        if element.tag in (f"{{{SVG}}}use", f"{{{SVG}}}path"):
            found.append(COLOR.sub(lambda match: f"var(--{VARIABLES[match[0]]})", own or inherited))
        for child in element:
            walk(child, own or inherited)

    for part in root:  # the root's own style is the page's
        walk(part, "")
    return [re.sub(r"url\(#[^)]*\)", "url()", style) for style in found]


@pytest.mark.usefixtures("svg_alone")
def test_every_mark_of_a_figure_in_a_page_looks_as_in_its_file(made_up: Summaries) -> None:
    summary = made_up("quick").query("phase == 'training' and reference == 'rnn'").reset_index(drop=True)
    for name, picture in all_figures.render(summary).items():
        page = inline(picture.svg, name, "label", selection.titles(summary))
        assert styles(page) == styles(picture.svg), name
        targets = set(re.findall(r"url\(#([^)]*)\)|href=\"#([^\"]*)\"", page))
        assert {url or link for url, link in targets} <= set(re.findall(r'\bid="([^"]*)"', page)), name
