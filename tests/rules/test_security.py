"""Files and names from strangers are read, refused or shown, and do nothing else."""

import csv as spreadsheet
import io
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from rnnbench.analysis.comparison import Comparison, Finding
from rnnbench.analysis.run_times import read
from rnnbench.analysis.summary import noise, summarize
from rnnbench.errors import UserError
from rnnbench.harness.machine import git
from rnnbench.report.page.page import html
from rnnbench.report.reports import run_page
from rnnbench.report.table import csv, markdown
from rnnbench.report.verdicts import outputs, verdicts
from rnnbench.store.folder import read_info
from rnnbench.store.records import Case, Measurement
from tests.doubles import repository, screens, stored
from tests.doubles import workload as small
from tests.validation.fuzz import NASTY

PACKAGE = Path(__file__).parents[2] / "rnnbench"
WORDS = [word for word in NASTY if word != "\ud800" and word.strip()]  # TOML and JSON lines can hold all of these


def test_text_in_a_page_is_escaped() -> None:
    for file in (PACKAGE / "report/page/templates").iterdir():
        assert not re.search(r"\|\s*safe\b|autoescape|\bMarkup\b", file.read_text(encoding="utf-8")), file


@pytest.mark.parametrize("revision", ["--upload-pack=x", "-h", "--output=there", "HEAD; touch there", "$(touch there)"])
def test_a_revision_is_never_an_option_nor_reaches_a_shell(tmp_path: Path, revision: str) -> None:
    repository.commit(tmp_path, {"file": "one"})
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match="neither a folder nor a revision"):
        git.commit(tmp_path, revision)
    with pytest.raises(UserError), git.worktree(tmp_path, revision):
        pass
    assert sorted(tmp_path.iterdir()) == before


@pytest.fixture(params=WORDS, ids=lambda word: ascii(word)[:30])
def named(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def assert_harmless(text: str) -> None:
    """Check that a text moves no cursor and breaks no line."""
    assert all(letter.isprintable() for letter in text.replace("\n", "")), text


def test_a_cells_name_is_shown_and_does_nothing_in_tables_and_pages(named: str, tmp_path: Path) -> None:
    case = Case(f"{named}:Mine", "loop", small.workload(reference="rnn"))
    failed = Measurement(Case(f"{named}:Other", "loop", small.workload(reference="rnn")), "failed", reason=named)
    path = stored.folder(tmp_path, {case: [[0.002]] * 3, small.reference_case(): [[0.001]] * 3}, [failed])
    info, times = read_info(path), read(path)
    summary = summarize(times)
    assert_harmless(screens.of_run(summary, info))
    page = run_page(summary, noise(times), info)
    for table in page.tables:
        rows = markdown(table).split("|\n")
        assert_harmless("\n".join(rows))
        for row in spreadsheet.reader(io.StringIO(csv(table.frame))):
            assert not any(cell.startswith(("=", "@")) for cell in row)
    text = html(page)
    assert text.count("<script") == 1  # the page's own
    assert "\x1b" not in text


def test_a_cells_name_is_shown_and_does_nothing_where_verdicts_go(named: str) -> None:
    case = Case(f"{named}:Mine", "loop", small.workload(reference="rnn"))
    findings = [Finding(case, "regressed", 0.02, named), Finding(case, None, 0.02, named)]
    comparison = Comparison(named, named, named, "stored", tuple(findings), (named,))
    found = verdicts.of(comparison)
    assert_harmless(screens.of_verdicts(found))
    text = outputs.markdown(found)
    assert_harmless(text)
    assert "<script" not in text
    lines = outputs.annotations(found)
    assert all(line.startswith(("::error title=", "::warning title=")) for line in lines)
    assert all(len(line.splitlines()) == 1 and "\x1b" not in line for line in lines)
    assert len(ET.fromstring(outputs.junit(found)).findall(".//testcase")) == 2
    assert "\x1b" not in found.json()
