import os
from pathlib import Path

import pytest

from rnnbench.report.verdicts import github

from .samples import SLOWER, comparison, every_verdict, large


def test_a_regression_stands_beside_its_code() -> None:
    [line] = github.annotations(comparison(SLOWER), place_of=lambda case: ("a,b.py", 7))
    assert line.startswith("::error file=a%2Cb.py,line=7,title=Regressed%3A lstm loop training::")


@pytest.mark.parametrize("most", [0, 1, 10])
def test_the_worst_are_named_and_the_rest_is_one_line(most: int) -> None:
    lines = github.annotations(large(40, 50), most)
    assert len(lines) == most + 1
    assert f"title={40 - most} more cases regressed::" in lines[-1]
    assert all("title=Regressed%3A lstm loop inference%2C batch" in line for line in lines[:most])
    assert most == 0 or "batch 40::" in lines[0]


def test_by_default_there_are_no_more_errors_than_github_shows() -> None:
    assert len(github.annotations(large(40, 50))) == 10


def test_the_summary_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before ü", encoding="utf-8")
    github.append_summary(every_verdict(), path)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("before ü\n## 4 of 9 cases regressed")


@pytest.mark.parametrize("left", [0, 1, 10, 500, 20_000])
def test_the_file_never_exceeds_githubs_limit(tmp_path: Path, left: int) -> None:
    path = tmp_path / "summary.md"
    path.write_bytes(b"x" * (github.MAX_SUMMARY_BYTES - left))
    github.append_summary(large(3, 300), path)
    assert path.stat().st_size <= github.MAX_SUMMARY_BYTES
    assert left < 20_000 or path.stat().st_size > github.MAX_SUMMARY_BYTES - 300


def test_a_summary_that_is_a_pipe_which_nobody_reads_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "summary.md")
    with pytest.raises(OSError, match="No such device or address"):
        github.append_summary(every_verdict(), tmp_path / "summary.md")
