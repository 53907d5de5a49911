"""Figures as elements of a page: each mark leads to its case, and each colour follows the page into the dark."""

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from rnnbench.report.colors import FASTER, ON_AREAS
from rnnbench.report.drawing import sheet
from rnnbench.report.page.inline import MAX_MARKS, inline
from rnnbench.report.page.run import titles
from rnnbench.report.ratios import SCALE
from tests.report.conftest import Summaries

SAME_IN_BOTH = {ON_AREAS, *(to_hex(SCALE(place)) for place in np.linspace(0, 1, 256))}  # the heat map
TITLES = {7: 'a <b> & "c"', 8: "eight", 9: "nine"}


@pytest.fixture
def svg() -> str:
    with sheet.report_style():
        figure = Figure(figsize=(4, 3))
        axes = figure.subplots()
        drawn = axes.errorbar([1, 2, 3], [1, 2, 3], yerr=[[0.1] * 3] * 2, fmt="-o", color=FASTER.light, capsize=2)
        sheet.mark(drawn, [7, 8, 9])
        sheet.mark(axes.text(1, 1, "12"), [8])
    return sheet.svg(figure)


def test_each_mark_tells_its_case_and_a_line_through_several_none(svg: str) -> None:
    page = inline(svg, "name", "label", TITLES)
    marks = re.findall(r'<(use|path)[^>]*data-case="(\d)"[^>]*><title>([^<]*)</title>', page)
    assert {row for _, row, _ in marks} == {"7", "8", "9"}
    assert len(marks) == 3 + 2 * 3 + 3  # points, caps and whiskers
    assert all(title == {"7": 'a &lt;b&gt; &amp; "c"', "8": "eight", "9": "nine"}[row] for _, row, title in marks)
    assert page.count("data-case") == len(marks) + 1
    assert re.search(r'<g data-case="8"', page)  # the number, of two letters


def test_a_figure_of_very_many_marks_leads_to_no_cases() -> None:
    rows = range(MAX_MARKS + 1)
    with sheet.report_style():
        figure = Figure(figsize=(4, 3))
        (marks,) = figure.subplots().plot(rows, rows, "o")
        sheet.mark(marks, rows)
    page = inline(sheet.svg(figure), "name", "label", dict.fromkeys(rows, "a title"))
    assert "data-case" not in page
    assert "a title" not in page
    assert page.count("<use") > len(rows)


def test_a_mark_is_named_with_its_workload_ratio_interval_and_time(made_up: Summaries) -> None:
    quick = made_up("quick")
    row = quick.index[(quick["cell"] == "gru") & (quick["implementation"] == "loop")][0]
    quick.loc[row, ["ratio", "ratio_low", "ratio_high", "seconds"]] = [2.5, 2.4, 2.6, 1.5e-3]
    name = "gru loop, inference, batch 1, length 16, hidden 64, 1 layer"
    assert titles(quick)[row] == f"{name}; 2.50× (2.40–2.60); 1.50 ms"


def test_in_light_and_dark_pages_every_colour_of_a_figure_is_the_pages(pages: dict[str, Path]) -> None:
    for name, page in pages.items():
        for figure in re.findall("<svg.*?</svg>", page.read_text(encoding="utf-8"), re.DOTALL):
            left = set(re.findall(r"#[0-9a-f]{6}\b", figure)) - SAME_IN_BOTH
            assert not left, f"{name}: {left} are the same in light and dark"
            assert "var(--" in figure
