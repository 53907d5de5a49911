"""The page of files of pytest-benchmark."""

from pathlib import Path

from rnnbench.check.compare_files import read_saved
from rnnbench.report.page.page import files, folder_of, page_of_several, put
from rnnbench.report.runs.saved_files import of_files, summarize
from tests.doubles.pages import Page
from tests.doubles.saved_files import benchmark, side, write


def page_of(path: Path, out: Path, reference: str | None = None) -> Page:
    saved = read_saved(path, reference)
    file = put(*folder_of("test", [path], out), files(page_of_several(saved.name, [of_files(saved)])))
    return Page(file.read_text(encoding="utf-8"))


def test_one_file_has_no_interval_and_says_so(tmp_path: Path) -> None:
    file = write(tmp_path / "a.json", [benchmark("test_a", [1.0, 1.1, 1.3]), benchmark("test_b", [2.0, 2.1, 2.3])])
    report = page_of(file, tmp_path / "out")
    assert "Time only: no benchmark is a reference." in report.text
    assert "a single file has none" in (tmp_path / "out" / "tables" / "benchmarks.md").read_text(encoding="utf-8")
    assert summarize(read_saved(file))[["seconds_low", "ratio"]].isna().all(axis=None)


def test_several_files_have_intervals_over_processes_and_ratios_to_the_reference(tmp_path: Path) -> None:
    path = side(tmp_path / "before", {"test_a": [2.0, 2.2, 2.5], "test_b": [1.0, 1.1, 1.25]})
    report = page_of(path, tmp_path / "out", "test_b")
    assert "1 benchmark takes 2.00 (test_a) times as long as the reference of the group." in report.text
    assert "before (3 files, commit 0123456)" in report.text
    rows = summarize(read_saved(path, "test_b")).set_index("name")
    assert rows["seconds_low"].notna().all()
    assert rows["is_reference"].to_dict() == {"test_b": True, "test_a": False}
