"""The commands `export`, and `report` and `compare` with files of other tools."""

from pathlib import Path

import pandas as pd
import pytest

from rnnbench.cli.export import EXPORT_FORMATS, FILE_ENDINGS
from rnnbench.store.records import Measurement
from tests.doubles import checks
from tests.doubles.commands import rnnbench
from tests.doubles.stored import folder
from tests.doubles.workload import case, reference_case
from tests.report.verdicts import samples

LOOP, REFERENCE, SKIPPED = case("vanilla"), reference_case(), case("combined", "hoisted")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with a skipped case; the working directory is its parent."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_ACTIONS", "")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    times = {LOOP: [[0.003], [0.0031]], REFERENCE: [[0.001], [0.0011]]}
    return folder(tmp_path / "results", times, [Measurement(SKIPPED, "skipped", "nothing to hoist")])


@pytest.mark.parametrize("to", [name for name in EXPORT_FORMATS if name != "parquet"])
def test_text_goes_to_standard_output_or_into_a_file_and_is_the_same(run: Path, to: str) -> None:
    done = rnnbench("export", run, "--format", to, cwd=Path(), code=0)
    assert ("vanilla loop" if to in ("markdown", "latex") else LOOP.key) in done.stdout
    assert ("1 case left out, without a time (1 skipped: nothing to hoist)" in done.stderr) == (
        to == "pytest-benchmark"
    )
    of_github = "2 cases left out: references, and cases without a compared time"
    assert (of_github in done.stderr) == (to == "github-action-benchmark")
    there = rnnbench("export", run, "--format", to, "--out", "new/folder", cwd=Path(), code=0)
    [file] = Path("new/folder").iterdir()
    assert (there.stdout, there.stderr.splitlines()[0]) == ("", str(file))
    assert file.name == f"{run.name}.{FILE_ENDINGS[to]}"
    assert file.read_text(encoding="utf-8") == done.stdout


def test_parquet_has_a_file_of_its_own(run: Path) -> None:
    done = rnnbench("export", run, "--format", "parquet", "--windows", cwd=Path(), code=0)
    assert (done.stdout, done.stderr) == ("", f"{run.name}-windows.parquet\n")
    assert len(pd.read_parquet(f"{run.name}-windows.parquet")) == 4  # windows; the skipped case has none


@pytest.mark.parametrize("name", ["run.json", "windows-0000.jsonl", "windows-9.jsonl", "traces/a.json.gz"])
def test_an_export_never_replaces_a_runs_own_file(run: Path, name: str) -> None:
    before = {file: file.read_bytes() for file in run.iterdir()}
    Path("links").mkdir()
    link = Path("links", f"{run.name}.csv")
    link.symlink_to(run / name)
    done = rnnbench("export", run, "--format", "csv", "--out", "links", cwd=Path(), code=2)
    assert f"{link}: the export would replace a file of a run; give another folder" in done.stderr
    assert {file: file.read_bytes() for file in run.iterdir()} == before


@pytest.mark.parametrize("name", ["quick.json", "cases.csv", "data/cases.parquet"])
def test_the_name_of_a_file_is_no_folder_to_export_into(run: Path, name: str) -> None:
    done = rnnbench("export", run, "--format", "csv", "--out", name, cwd=Path(), code=2)
    assert f"{name} looks like the name of a file; --out takes a folder, and > {name} makes a file" in done.stderr
    assert not Path(name).exists()


def test_a_check_is_exported_with_a_row_for_each_case_and_its_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check = checks.write(tmp_path, samples.every_verdict(), {})
    for to in ("csv", "parquet"):
        rnnbench("export", check, "--format", to, "--out", "verdicts", cwd=Path(), code=0)
    read = pd.read_csv(f"verdicts/{check.name}.csv")
    assert list(read["verdict"].dropna()) == [each.verdict for each in samples.every_verdict().findings if each.verdict]
    assert (
        {"cell", "batch_size", "ratio_low", "why"}
        < set(read.columns)
        == set(pd.read_parquet(f"verdicts/{check.name}.parquet"))
    )
    for arguments, words in (
        ("json", "no place for verdicts"),
        ("csv --windows", "--windows is for a run as csv or parquet"),
    ):
        done = rnnbench("export", check, "--format", *arguments.split(), cwd=Path(), code=2)
        assert words in done.stderr
