"""The commands `export`, and `report` and `compare` with files of other tools."""

from pathlib import Path

import pandas as pd
import pytest

from rnnbench.cli.export import FORMATS
from rnnbench.store.records import Measurement
from tests.doubles import checks
from tests.doubles.commands import rnnbench
from tests.doubles.saved_files import benchmark, side, write
from tests.doubles.stored import folder
from tests.doubles.workload import case, reference_case
from tests.report.verdicts import samples

LOOP, REFERENCE, SKIPPED = case("vanilla"), reference_case(), case("combined", "hoisted")
STEADY = [1.0, 1.004, 0.998, 1.002, 1.001, 0.997]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with a skipped case; the working directory is its parent."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_ACTIONS", "")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    times = {LOOP: [[0.003], [0.0031]], REFERENCE: [[0.001], [0.0011]]}
    return folder(tmp_path / "results", times, [Measurement(SKIPPED, "skipped", "nothing to hoist")])


@pytest.mark.parametrize("to", [name for name in FORMATS if name != "parquet"])
def test_text_goes_to_standard_output_or_into_a_file_and_is_the_same(run: Path, to: str) -> None:
    done = rnnbench("export", run, "--format", to, cwd=Path(), code=0)
    assert ("vanilla loop" if to in ("markdown", "latex") else LOOP.key) in done.stdout
    assert ("1 case left out, without a time (1 skipped: nothing to hoist)" in done.stderr) == (
        to == "pytest-benchmark"
    )
    assert ("2 cases left out: a reference, or without a time" in done.stderr) == (to == "github-action-benchmark")
    assert rnnbench("export", run, "--format", to, "--out", "new/file", cwd=Path(), code=0).stdout == ""
    assert Path("new/file").read_text(encoding="utf-8") == done.stdout
    assert [file.name for file in Path("new").iterdir()] == ["file"]


def test_parquet_has_a_file_of_its_own(run: Path) -> None:
    done = rnnbench("export", run, "--format", "parquet", "--windows", cwd=Path(), code=0)
    assert (done.stdout, done.stderr) == ("", f"{run.name}.parquet\n")
    assert len(pd.read_parquet(f"{run.name}.parquet")) == 4  # windows; the skipped case has none


@pytest.mark.parametrize("name", ["run.json", "windows-0000.jsonl", "windows-9.jsonl", "traces/a.json.gz"])
def test_an_export_never_replaces_a_runs_own_file(run: Path, name: str) -> None:
    before = {file: file.read_bytes() for file in run.iterdir()}
    Path("link").symlink_to(run / name)
    for out in (run / name, Path("link")):
        done = rnnbench("export", run, "--format", "csv", "--out", out, cwd=Path(), code=2)
        assert f"{out}: it would replace a file of a run; give another file" in done.stderr
    assert {file: file.read_bytes() for file in run.iterdir()} == before


def test_a_file_of_pytest_benchmark_is_reported(run: Path) -> None:
    write(Path("mine.json"), [benchmark("test_a", [2.0]), benchmark("test_b", [1.0])])
    done = rnnbench("report", "mine.json", "--reference", "test_b", cwd=Path(), code=0)
    assert done.stdout == "reports/mine/index.html\n"
    text = Path("reports/mine/index.html").read_text(encoding="utf-8")
    assert "1 benchmark takes 2.00 (test_a) times as long as the reference" in text


def test_folders_of_files_are_compared_with_the_exit_codes_of_every_comparison(run: Path) -> None:
    side(Path("before"), {"test_a": STEADY, "test_b": STEADY[::-1]})
    side(Path("after"), {"test_a": [1.3 * seconds for seconds in STEADY], "test_b": STEADY[::-1]}, hours=range(6, 12))
    command = ["compare", "before", "after", "--reference", "test_b"]
    done = rnnbench(*command, cwd=Path(), code=1)
    assert "1 of 1 case regressed: bench.py::test_a: 30% slower" in done.stdout
    rnnbench("compare", "before", "after", "--on-undecided", "fail", cwd=Path(), code=3)
    done = rnnbench(*command, "--out", "verdicts", cwd=Path(), code=1)
    [folder] = Path("verdicts").iterdir()
    assert done.stdout.splitlines()[-1] == str(folder)
    assert {file.name for file in folder.iterdir()} == {"verdicts.md", "verdicts.json", "junit.xml"}


def test_a_check_is_exported_with_a_row_for_each_case_and_its_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check = checks.write(tmp_path, samples.every_verdict(), {})
    rnnbench("export", check, "--format", "csv", "--out", "verdicts.csv", cwd=Path(), code=0)
    rnnbench("export", check, "--format", "parquet", "--out", "verdicts.parquet", cwd=Path(), code=0)
    read = pd.read_csv("verdicts.csv")
    assert list(read["verdict"].dropna()) == [each.verdict for each in samples.every_verdict().findings if each.verdict]
    assert {"cell", "batch_size", "ratio_low", "why"} < set(read.columns) == set(pd.read_parquet("verdicts.parquet"))
    for arguments, words in (
        ("json", "no place for verdicts"),
        ("csv --windows", "--windows is for a run as csv or parquet"),
    ):
        done = rnnbench("export", check, "--format", *arguments.split(), cwd=Path(), code=2)
        assert words in done.stderr
