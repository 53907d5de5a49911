"""Files that rnnbench did not make stay as they are, whatever their names."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from rnnbench.cli import cli
from rnnbench.errors import UserError
from tests.doubles import repository, stored
from tests.doubles import workload as small
from tests.doubles.commands import rnnbench

SUITE = """
name = "mine"
[measure]
replicates = 1
max_replicates = 1
windows = 2
window_seconds = 0.001
[check]
margin = 0.9
[[sweep]]
cell = "mine.py:Mine"
reference = "gru"
implementation = ["loop", "torch.nn"]
batch_size = 2
seq_len = 2
hidden_size = 4
"""
CELL = "from torch import nn\nclass Mine(nn.GRUCell):\n    pass\n"
TEMPORARY = (
    "rnnbench.mine/work",
    "rnnbench.base.abcd1234/tree/work",
    "rnnbench.results/quick-1/run.json",
    "rnnbench.f",
)
HERE = (
    "results/mine/notes",
    "results/.rnnbench-0.new",
    "reports/mine/index.html",
    "slurm/log",
    "traces/x",
)
LOOP, REFERENCE = small.case("vanilla"), small.reference_case()


def contents(folder: Path) -> dict[Path, str]:
    """Every file below a folder with its content, and every folder."""
    return {
        path: path.read_bytes().hex() if path.is_file() else "a folder"
        for path in sorted(folder.rglob("*"))
        if "__pycache__" not in path.parts and "worktrees" not in path.parts
    }


@pytest.fixture
def others(tmp_path: Path) -> Iterator[Path]:
    """A repository with a suite, among files of other people; checks at the end that those are unchanged."""
    folder, temporary = tmp_path / "here", tmp_path / "tmp"
    repository.commit(folder, {"mine.toml": SUITE, "mine.py": CELL})
    repository.commit(temporary / "rnnbench.git", {"file": "of years"})
    for file in (*(temporary / name for name in TEMPORARY), *(folder / name for name in HERE)):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("of years")
    before = contents(tmp_path)
    yield folder
    after = contents(tmp_path)
    assert {path: after.get(path) for path in before if path.name not in ("index", "HEAD")} == {
        path: content for path, content in before.items() if path.name not in ("index", "HEAD")
    }
    new = {path for path in after.keys() - before.keys() if path.is_relative_to(temporary)}
    assert {path for path in new if not path.is_relative_to(temporary / "rnnbench.results")} == set()


def last_line(*arguments: str | Path, cwd: Path) -> str:
    return rnnbench(*arguments, cwd=cwd, code=0, TMPDIR=cwd.parent / "tmp").stdout.splitlines()[-1]


def test_a_run_a_resumption_and_a_report_leave_them_alone(others: Path) -> None:
    out = others.parent / "tmp" / "rnnbench.results"  # among the temporary folders, and named like one
    run = Path(last_line("run", "mine.toml", "--out", out, cwd=others))
    mine = {run / name: "of years" for name in ("notes.md", "spoilt-notes.jsonl", "run.json.new", ".run.json.new")}
    for file, text in mine.items():
        file.write_text(text)
    last_line("run", "mine.toml", "--resume", run, cwd=others)
    last_line("report", run, cwd=others)
    assert {file: file.read_text() for file in mine} == mine
    assert (run / "windows-0000.jsonl").exists()


def test_a_check_leaves_them_alone(others: Path) -> None:
    last_line("check", "mine.toml", "--base", "HEAD", "--budget", "0.5s", cwd=others)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.chdir(tmp_path)
    return [stored.folder(Path(parent), {LOOP: [[2.0]] * 3, REFERENCE: [[1.0]] * 3}) for parent in ("A", "B")]


def refused(*arguments: object) -> str:
    with pytest.raises(UserError) as raised:
        CliRunner().invoke(cli, [*map(str, arguments)], catch_exceptions=False)
    return str(raised.value)


def printed(*arguments: object) -> list[str]:
    done = CliRunner().invoke(cli, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


def paths(*arguments: object) -> list[str]:
    return [line for line in printed(*arguments) if line.endswith("index.html")]


def test_two_reports_of_one_command_or_of_two_do_not_overwrite_each_other(runs: list[Path]) -> None:
    sides = [run.rename(run.parent / "base") for run in runs]
    assert paths("report", *sides) == ["reports/base/index.html", "reports/B-base/index.html"]
    pages = {Path(f"reports/{name}/index.html").read_bytes() for name in ("base", "B-base")}
    assert paths("report", sides[1]) == ["reports/B-base/index.html"]
    assert {Path(f"reports/{name}/index.html").read_bytes() for name in ("base", "B-base")} == pages


@pytest.mark.parametrize("arguments", [["A"], ["--together", "A", "B"]])
def test_a_page_of_the_users_is_not_replaced_by_a_report(runs: list[Path], arguments: list[str]) -> None:
    Path("site").mkdir()
    Path("site/index.html").write_text("mine")
    paths = {"A": runs[0], "B": runs[1]}
    message = refused("report", *(paths.get(argument, argument) for argument in arguments), "--out", "site")
    assert message == (
        "site: is not empty and was not made by rnnbench; give a new or an empty folder, for example site/report"
    )
    assert [path.name for path in Path("site").iterdir()] == ["index.html"]


def test_a_default_file_of_an_export_that_is_there_is_not_replaced_and_a_named_one_is(runs: list[Path]) -> None:
    mine = Path(f"{runs[0].name}.parquet")
    mine.write_text("mine")
    export = "export", runs[0], "--format", "parquet"
    assert refused(*export) == (f"{mine} already exists; give --out . to replace it, or another folder")
    assert mine.read_text() == "mine"
    printed(*export, "--out", ".")
    assert mine.read_bytes().startswith(b"PAR1")
