"""Where a report goes: beside the reports of other runs, and never over files that rnnbench did not write. Its figures:
each mark leads to its case, and each colour follows the page into the dark.
"""

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from rnnbench.errors import UserError
from rnnbench.report.drawing import pictures
from rnnbench.report.drawing.marks import FASTER, ON_AREAS
from rnnbench.report.drawing.pictures import Panel, Picture
from rnnbench.report.page.page import MAX_MARKS, PAGE_FILE, REPORT_MARKER, folder_of, inline, name_of, put
from rnnbench.report.ratio_by_size import SCALE
from rnnbench.report.reports import title_of
from tests.report.conftest import Summaries

SAME_IN_BOTH = {ON_AREAS, *(to_hex(SCALE(place)) for place in np.linspace(0, 1, 256))}  # the heat map
TITLES = {7: 'a <b> & "c"', 8: "eight", 9: "nine"}
OF_OTHERS = {PAGE_FILE: "<h1>mine</h1>", "notes.txt": "mine", ".git/HEAD": "ref", "figures/ratio.svg": "<svg/>"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(path: str) -> Path:
    Path(path).mkdir(parents=True)
    (Path(path) / "run.json").write_text("{}")
    return Path(path)


def reported(*paths: Path, out: Path | None = None) -> str:
    """Write a report whose page holds the paths of its runs, and return the folder of the report."""
    names = "-and-".join(map(name_of, paths))
    page = put(*folder_of(names, paths, out), {PAGE_FILE: str(paths).encode()})
    assert page.read_text() == str(paths)
    assert (
        str(paths[0].resolve().parent) not in (page.parent / REPORT_MARKER).read_text()
    )  # it tells nothing of the machine
    return str(page.parent)


def test_two_runs_of_one_name_get_two_folders_and_each_is_found_again() -> None:
    runs = [run(f"{parent}/base") for parent in ("A", "B", "deeper/B", "elsewhere/B")]
    folders = [reported(path) for path in runs]
    assert folders[:2] == ["reports/base", "reports/B-base"]
    assert len(set(folders)) == 4
    assert [reported(path) for path in runs[::-1]] == folders[::-1]
    assert reported(*runs[:2]) == "reports/base-and-base"
    assert reported(*runs[1::-1]) != "reports/base-and-base"


def test_the_sides_of_a_check_are_named_after_it_and_a_file_by_its_stem() -> None:
    assert reported(run("results/quick-check-1/base")) == "reports/base"  # no check yet: it has one side
    sides = [run("results/quick-check-2/base"), run("results/quick-check-2/head")]
    assert [reported(side) for side in sides] == ["reports/quick-check-2-base", "reports/quick-check-2-head"]
    Path("saved.json").write_text("{}")
    assert reported(Path("saved.json")) == "reports/saved"


@pytest.mark.parametrize("name", OF_OTHERS)
@pytest.mark.parametrize("out", [None, Path("reports/base"), Path("site")])
def test_a_folder_that_rnnbench_did_not_make_is_refused_and_stays_as_it_is(name: str, out: Path | None) -> None:
    file = (out or Path("reports/base")) / name
    file.parent.mkdir(parents=True)
    file.write_text(OF_OTHERS[name])
    with pytest.raises(UserError, match="is not empty and was not made by rnnbench; give a new or an empty folder"):
        reported(run("A/base"), out=out)
    assert [path for path in Path().rglob("*") if path.is_file() and "A" not in path.parts] == [file]
    assert file.read_text() == OF_OTHERS[name]


@pytest.mark.parametrize("kind", ["missing", "empty", "of the same run", "of another run"])
def test_a_folder_that_was_asked_for_is_taken_if_it_is_free_or_a_report(kind: str) -> None:
    out, path = Path("site"), run("A/base")
    if kind == "empty":
        out.mkdir()
    if kind.startswith("of"):
        reported(path if kind == "of the same run" else run("B/base"), out=out)
    assert reported(path, out=out) == "site"


# Figures as elements of a page


@pytest.fixture
def svg() -> str:
    with pictures.report_style():
        figure = Figure(figsize=(4, 3))
        axes = figure.subplots()
        drawn, *_ = axes.errorbar([1, 2, 3], [1, 2, 3], yerr=[[0.1] * 3] * 2, fmt="-o", color=FASTER.light, capsize=2)
        pictures.mark(drawn, [7, 8, 9])
        pictures.mark(axes.text(1, 1, "12"), [8])
    return pictures.svg(figure)


def test_each_mark_tells_its_case_and_a_line_through_several_none(svg: str) -> None:
    page = inline(Picture("name", "", "", []), Panel("name", svg, b""), TITLES.__getitem__)
    marks = re.findall(r'<(use|path)[^>]*data-case="(\d)"[^>]*><title>([^<]*)</title>', page)
    assert {row for _, row, _ in marks} == {"7", "8", "9"}
    assert len(marks) == 3
    assert all(title == {"7": 'a &lt;b&gt; &amp; "c"', "8": "eight", "9": "nine"}[row] for _, row, title in marks)
    assert page.count("data-case") == len(marks) + 1
    assert re.search(r'<g data-case="8"', page)  # the number, of two letters


def test_a_figure_of_very_many_marks_leads_to_no_cases() -> None:
    rows = range(MAX_MARKS + 1)
    with pictures.report_style():
        figure = Figure(figsize=(4, 3))
        (marks,) = figure.subplots().plot(rows, rows, "o")
        pictures.mark(marks, rows)
    page = inline(Picture("name", "", "", []), Panel("name", pictures.svg(figure), b""), lambda row: "a title")
    assert "data-case" not in page
    assert "a title" not in page
    assert page.count("<use") > len(rows)


def test_a_mark_is_named_with_its_workload_ratio_interval_and_time(made_up: Summaries) -> None:
    quick = made_up("quick")
    row = quick.index[(quick["cell"] == "gru") & (quick["implementation"] == "loop")][0]
    quick.loc[row, ["ratio", "ratio_low", "ratio_high", "seconds"]] = [2.5, 2.4, 2.6, 1.5e-3]
    name = "gru loop, inference, batch 1, length 16, hidden 64, 1 layer"
    assert title_of(quick)(row) == f"{name}; 2.50× (2.40–2.60); 1.50 ms"


def test_in_light_and_dark_pages_every_colour_of_a_figure_is_the_pages(pages: dict[str, Path]) -> None:
    for name, page in pages.items():
        for figure in re.findall("<svg.*?</svg>", page.read_text(encoding="utf-8"), re.DOTALL):
            left = set(re.findall(r"#[0-9a-f]{6}\b", figure)) - SAME_IN_BOTH
            assert not left, f"{name}: {left} are the same in light and dark"
            assert "var(--" in figure
