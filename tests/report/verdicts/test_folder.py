"""The three files of a check."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from rnnbench.analysis.comparison import Comparison, Finding
from rnnbench.errors import UserError
from rnnbench.report.verdicts import folder
from tests import workload as small

COMPARISON = Comparison("quick", "main", "head", "paired", (Finding(small.case("gru"), "unchanged", 0.025),))


def test_markdown_json_and_junit_are_written_and_can_be_read(tmp_path: Path) -> None:
    folder.write_verdicts(COMPARISON, tmp_path)
    assert (tmp_path / "verdicts.md").read_text().startswith("## Nothing regressed")
    assert json.loads((tmp_path / "verdicts.json").read_text())["suite"] == "quick"
    assert ElementTree.parse(tmp_path / "junit.xml").getroot().tag == "testsuites"


def test_a_folder_that_can_not_be_written_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't be written: No such file or directory"):
        folder.write_verdicts(COMPARISON, tmp_path / "gone")
