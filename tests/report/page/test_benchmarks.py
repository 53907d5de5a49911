"""The report of pytest-benchmark's files."""

from pathlib import Path

import pytest

from rnnbench.errors import UserError
from rnnbench.report.page import benchmarks
from rnnbench.report.page.place import ReportFolder, put
from rnnbench.store.pytest_benchmark import read
from tests.doubles.pages import LOADS, Page
from tests.doubles.saved_files import benchmark, side, write

ROUNDS = "One file is one process: its quartiles contain the differences between rounds but not"


def page(path: Path, out: Path, reference: str | None = None) -> Page:
    return Page(put(benchmarks.render(read(path), reference), ReportFolder(out, "test")).read_text(encoding="utf-8"))


def test_one_file_has_no_interval_and_every_figure_and_table_says_so(tmp_path: Path) -> None:
    file = write(tmp_path / "a.json", [benchmark("test_a", [1.0, 1.1, 1.3]), benchmark("test_b", [2.0, 2.1, 2.3])])
    report = page(file, tmp_path / "out")
    assert report.text.count(ROUNDS) == 2  # below the figure and below the table
    assert "Time only: no benchmark is a reference." in report.text
    assert "quartiles of its rounds" in report.text
    assert ROUNDS in (tmp_path / "out" / "tables" / "benchmarks.md").read_text(encoding="utf-8")


def test_several_files_have_intervals_over_processes_and_ratios_to_the_reference(tmp_path: Path) -> None:
    path = side(tmp_path / "before", {"test_a": [2.0, 2.2, 2.5], "test_b": [1.0, 1.1, 1.25]})
    report = page(path, tmp_path / "out", "test_b")
    assert "test_a takes 2.00 times as long as test_b." in report.text
    assert "95% intervals are over 3 files, each one process" in report.text
    assert "before (3 processes, commit 0123456)" in report.text
    header = (tmp_path / "out" / "tables" / "benchmarks.csv").read_text(encoding="utf-8").splitlines()[0]
    assert "seconds_per_call_low" in header


def test_every_link_leads_somewhere_and_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    report = page(side(tmp_path / "before", {"test_a": [2.0], "test_b": [1.0]}), tmp_path / "out")
    links = [value for tag, name, value in report.attributes if tag == "a" and name == "href"]
    files, anchors = ([link for link in links if link.startswith("#") is is_anchor] for is_anchor in (False, True))
    assert len(files) == 8
    assert all((tmp_path / "out" / link).is_file() for link in files)
    assert {anchor.removeprefix("#") for anchor in anchors} <= set(report.all("id"))
    assert not {"iframe", "object"} & set(report.tags)
    assert not [value for _, name, value in report.attributes if name in LOADS]


def test_names_and_groups_of_anybodys_making_are_shown_as_text(tmp_path: Path) -> None:
    name = "test_<script>alert(1)</script>\x1b[31m$x$"
    hostile = [benchmark(name, [1.0], group="<b>one"), benchmark("=cmd()", [1.0], group="two")]
    report = page(write(tmp_path / "a.json", hostile), tmp_path / "out")
    assert "b" not in report.tags
    assert report.tags.count("script") == 1  # the page's own
    assert "test_<script>alert(1)</script>�[31m$x$" in report.text
    assert ",'=cmd()," in (tmp_path / "out" / "tables" / "benchmarks.csv").read_text(encoding="utf-8")


def test_it_is_written_the_same_twice(tmp_path: Path) -> None:
    path = side(tmp_path / "before", {"test_a": [2.0, 2.1], "test_b": [1.0, 1.1]})
    for out in ("first", "second"):
        page(path, tmp_path / out, "test_b")
    files = [file for file in (tmp_path / "first").rglob("*.*") if file.is_file()]
    assert len(files) == 10
    for file in files:
        assert file.read_bytes() == (tmp_path / "second" / file.relative_to(tmp_path / "first")).read_bytes(), file


def test_more_benchmarks_than_a_figure_holds_are_in_the_table(tmp_path: Path) -> None:
    many = [benchmark(f"test_{number}", [1.0]) for number in range(benchmarks.MAX_ROWS + 1)]
    report = page(write(tmp_path / "a.json", many), tmp_path / "out")
    assert "svg" not in report.tags
    assert not (tmp_path / "out" / "figures").exists()
    assert f"test_{benchmarks.MAX_ROWS}" in report.text


def test_a_folder_that_cannot_be_written_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r".*file: can't be written: "):
        page(write(tmp_path / "a.json", [benchmark("test_a", [1.0])]), tmp_path / "file")
