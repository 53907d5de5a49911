import os
import re
from pathlib import Path

import pytest

from rnnbench.report.verdicts import github

from .samples import OPEN, SAME, SLOWER, comparison, every_verdict, large, nasty

COMMAND = re.compile(r"::(error|warning) title=([^:,\r\n]*)::([^\r\n]*)")


def undone(text: str) -> str:
    """Undo the escapes as GitHub's runner does."""
    for code, letter in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, letter)
    return text


def test_what_is_open_is_summed_up_in_one_warning_each() -> None:
    levels = [line.split()[0] for line in github.annotations(every_verdict())]
    assert levels == ["::error"] * 4 + ["::warning"] * 2
    assert github.annotations(comparison(*[OPEN] * 5))[0].startswith("::warning title=5 cases not decided::")
    assert github.annotations(comparison(*[OPEN] * 5))[0].endswith("; and 2 more")


def test_a_regression_stands_beside_its_code() -> None:
    [line] = github.annotations(comparison(SLOWER), place_of=lambda case: ("a,b.py", 7))
    assert line.startswith("::error file=a%2Cb.py,line=7,title=Regressed%3A lstm loop training::")


def test_no_news_is_no_annotation() -> None:
    assert github.annotations(comparison(SAME)) == github.annotations(comparison()) == []


@pytest.mark.parametrize("most", [0, 1, 10])
def test_the_worst_are_named_and_the_rest_is_one_line(most: int) -> None:
    lines = github.annotations(large(40, 50), most)
    assert len(lines) == most + 1
    assert f"title={40 - most} more cases regressed::" in lines[-1]
    assert all("title=Regressed%3A lstm loop inference%2C batch" in line for line in lines[:most])
    assert most == 0 or "batch 40::" in lines[0]


def test_by_default_there_are_no_more_errors_than_github_shows() -> None:
    assert len(github.annotations(large(40, 50))) == 10


def test_no_name_ends_a_command_or_starts_another() -> None:
    lines = github.annotations(nasty())
    assert all(COMMAND.fullmatch(line) for line in lines)
    assert "a|b <script>alert(1)</script>::error::%0A," in undone(lines[1].split("::")[1])


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


def test_a_summary_may_be_a_device(tmp_path: Path) -> None:
    github.append_summary(every_verdict(), Path("/dev/null"))
    with pytest.raises(OSError, match="No space left"):
        github.append_summary(every_verdict(), Path("/dev/full"))
