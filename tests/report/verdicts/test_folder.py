"""The files of a check."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from rnnbench.analysis.comparison import Comparison, Finding
from rnnbench.errors import UserError
from rnnbench.report.verdicts import folder
from rnnbench.report.verdicts.trend import MAX_EARLIER
from tests.doubles import workload as small

from .samples import unchanged

COMPARISON = Comparison("quick", "main", "head", "paired", (Finding(small.case("gru"), "unchanged", 0.025),))


def test_markdown_json_and_junit_are_written_and_can_be_read(tmp_path: Path) -> None:
    folder.write_verdicts(COMPARISON, tmp_path)
    marker, heading, *_ = (tmp_path / "verdicts.md").read_text().splitlines()
    assert marker == "<!-- rnnbench check quick -->"
    assert heading.startswith("## Nothing regressed")
    assert json.loads((tmp_path / "verdicts.json").read_text())["suite"] == "quick"
    assert ElementTree.parse(tmp_path / "junit.xml").getroot().tag == "testsuites"
    assert {file.name for file in tmp_path.iterdir()} == {"verdicts.md", *folder.FILES}


def test_a_folder_that_can_not_be_written_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't be written: No such file or directory"):
        folder.write_verdicts(COMPARISON, tmp_path / "gone")


def test_the_comment_has_the_checks_before_it_and_fits(tmp_path: Path) -> None:
    for number in range(12):
        earlier = tmp_path / f"quick-check-202611{number + 10}T080000Z-ab12"
        earlier.mkdir()
        folder.write_verdicts(COMPARISON, earlier)
    (tmp_path / "quick-check-20261121T080000Z-ab12" / "verdicts.json").write_text("{")
    (tmp_path / "other-check-20261121T080000Z-ab12").mkdir()
    (tmp_path / "quick-check-20261122T080000Z-dead").mkdir()  # interrupted, without verdicts
    now = tmp_path / "quick-check-20261127T080000Z-0000"
    now.mkdir()
    folder.write_verdicts(COMPARISON, now)
    text = (now / "verdicts.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| 2026-11-")]
    assert len(lines) == MAX_EARLIER - 1  # of the last eight, one was interrupted
    assert lines[0] == "| 2026-11-21 08:00 |  |  | its verdicts.json can't be read |  |"
    assert lines[1] == "| 2026-11-20 08:00 | head | main | 1 unchanged |  |"
    many = replace(COMPARISON, findings=tuple(unchanged(2000)))
    folder.write_verdicts(many, now)
    text = (now / "verdicts.md").read_text()
    assert len(text.encode()) <= 60_000
    assert "rows left out" in text
    assert "| 2026-11-20 08:00 |" in text


@pytest.mark.parametrize("text", ["[" * 100_000, '{"counts": {"regressed": Infinity}}'])
def test_a_strange_file_of_an_earlier_check_does_not_keep_the_files_of_this_one_away(tmp_path: Path, text: str) -> None:
    earlier, now = (tmp_path / f"quick-check-2026112{day}T080000Z-ab12" for day in (1, 2))
    for each in (earlier, now):
        each.mkdir()
    (earlier / "verdicts.json").write_text(text)
    folder.write_verdicts(COMPARISON, now)
    assert "its verdicts.json can't be read" in (now / "verdicts.md").read_text()
    assert {file.name for file in now.iterdir()} == {"verdicts.md", *folder.FILES}
