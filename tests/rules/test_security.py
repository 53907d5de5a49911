"""Files and names from strangers are read, refused or shown, and do nothing else."""

import csv as spreadsheet
import getpass
import io
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import torch

from rnnbench.analysis.comparison import Comparison, Finding
from rnnbench.analysis.run_times import read_run_times
from rnnbench.analysis.summary import noise, summarize
from rnnbench.errors import UserError
from rnnbench.harness.machine import git
from rnnbench.kernels import direct, trusted
from rnnbench.report.drawing import pictures
from rnnbench.report.page.page import html
from rnnbench.report.reports import run_page
from rnnbench.report.table import csv, markdown
from rnnbench.report.verdicts import outputs, verdicts
from rnnbench.store.folder import read_info
from rnnbench.store.records import Case, Measurement
from rnnbench.workloads import compiled
from tests.doubles import repository, screens, stored
from tests.doubles import workload as small

PACKAGE = Path(__file__).parents[2] / "rnnbench"
WORDS = (  # that strangers give as names
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "=1+1",
    "@SUM(A1)",
    "<script>alert(1)</script>",
    "../../../etc/passwd",
    "a\nb",
    "::error::x",
    "| x | y |",
    "\u202egnp.exe",
    "\x00",
    "$(reboot)",
    "{{ 7 * 7 }}",
    "nan",
    "x" * 3000,
)


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


TOGETHER = [WORDS[first : first + 4] for first in range(0, len(WORDS), 4)]  # in one run, whose screen names them all


@pytest.fixture(params=WORDS, ids=lambda word: ascii(word)[:30])
def named(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def assert_harmless(text: str) -> None:
    """Check that a text moves no cursor and breaks no line."""
    assert all(letter.isprintable() for letter in text.replace("\n", "")), text


@pytest.mark.parametrize("words", TOGETHER, ids=lambda words: ascii(words)[:60])
def test_a_cells_name_is_shown_and_does_nothing_in_tables_and_pages(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "png", lambda figure: b"")  # of a figure, the page holds the SVG
    work = small.workload(reference="rnn")
    times = {Case(f"{word}:Mine", "loop", work): [[0.002]] * 3 for word in words}
    failed = [Measurement(Case(f"{word}:Other", "loop", work), "failed", reason=word) for word in words]
    path = stored.folder(tmp_path, {**times, small.reference_case(): [[0.001]] * 3}, failed)
    info, stored_times = read_info(path), read_run_times(path)
    summary = summarize(stored_times)
    assert_harmless(screens.of_run(summary, info))
    page = run_page(summary, noise(stored_times), info)
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
    found = verdicts.verdicts_of(comparison)
    assert_harmless(screens.of_verdicts(found))
    text = outputs.markdown(found)
    assert_harmless(text)
    assert "<script" not in text
    lines = outputs.annotations(found)
    assert all(line.startswith(("::error title=", "::warning title=")) for line in lines)
    assert all(len(line.splitlines()) == 1 and "\x1b" not in line for line in lines)
    assert len(ET.fromstring(outputs.junit(found)).findall(".//testcase")) == 2
    assert "\x1b" not in found.json()


STRANGER = 12345
OPEN = {"open to all": 0o777, "open to a group": 0o775}  # a folder's mode


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which torch keeps compiled code by default, made by whoever came first; nothing is loaded yet."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "kept"))
    monkeypatch.setattr(direct, "BUILD_OPTIONS", ("-O0", *direct.BUILD_OPTIONS[1:]))  # fast code takes seconds to make
    caches = (direct._loaded, trusted.process_folder, compiled.why_not)
    for each in caches:
        each.cache_clear()
    folder = tmp_path / f"torchinductor_{getpass.getuser()}"
    folder.mkdir(mode=0o755)
    yield folder
    for each in caches:
        each.cache_clear()


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a path another user's: only root can do that, so for others all that is theirs becomes another's."""
    if os.geteuid() == 0:
        os.chown(path, STRANGER, STRANGER, follow_symlinks=False)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: STRANGER)


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
@pytest.mark.parametrize("planted", ["folder of another", "open to all", "open to a group", "file of another", "link"])
@pytest.mark.usefixtures("cache")
def test_a_library_that_another_user_can_have_planted_is_not_loaded(
    planted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = direct.load(torch.float32)  # which says the name of the file
    kept = tmp_path / "kept" / "rnnbench"
    [file] = kept.glob("rnnbench-products-float-*.so")
    source, seen = tmp_path / "planted.c", tmp_path / "seen"
    source.write_text(f'#include <stdio.h>\n__attribute__((constructor)) void run(void) {{ fopen("{seen}", "w"); }}')
    subprocess.run(["cc", "-shared", "-fPIC", source, "-o", file.with_suffix(".new")], check=True)
    file.with_suffix(".new").replace(file)
    if planted == "folder of another":
        give_away(kept, monkeypatch)
    elif planted == "file of another":
        give_away(file, monkeypatch)
    elif planted == "link":
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        give_away(file.rename(elsewhere / file.name), monkeypatch)
        file.symlink_to(elsewhere / file.name)
    else:
        kept.chmod(OPEN[planted])
    direct._loaded.cache_clear()
    assert direct.load(torch.float32).panel == wanted.panel
    assert not seen.exists()
    assert trusted.process_folder().stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("planted", ["folder of another", *OPEN])
def test_torch_compiles_nothing_where_another_user_can_have_planted_a_library(
    planted: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if planted in OPEN:
        monkeypatch.setattr(trusted, "_is_own_group", lambda number: False)
        cache.chmod(OPEN[planted])
    else:
        give_away(cache, monkeypatch)
    assert str(cache) in compiled.why_not("cpu")
    assert "set TORCHINDUCTOR_CACHE_DIR" in compiled.why_not("cpu")


def test_a_folder_that_the_user_names_is_the_users_choice(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = cache.with_name("named")
    named.mkdir()
    named.chmod(0o777)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(named))
    assert trusted.compiler_folder() == (named, "")


def test_every_library_that_the_package_loads_is_torchs_the_systems_or_from_a_trusted_folder() -> None:
    """Who loads one from a place that rnnbench has chosen, calls `trusted_folder` or has just made the folder."""
    loading = {
        str(file.relative_to(PACKAGE)): re.findall(r"CDLL\((?!None)(.*)", file.read_text(encoding="utf-8"))
        for file in PACKAGE.rglob("*.py")
    }
    assert {file: len(lines) for file, lines in loading.items() if lines} == {
        "kernels/direct.py": 2,  # of a trusted folder, and torch's own
        "kernels/recurrence.py": 1,  # of a trusted folder
        "harness/worker/ceilings.py": 1,  # of a scratch folder of the run
    }
