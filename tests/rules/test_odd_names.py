"""Names that are not UTF-8, and texts with lone surrogates, work from a run to its reports and exports."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from rnnbench import load
from rnnbench.analysis.comparison import Comparison, Finding
from rnnbench.analysis.runs.run_times import read
from rnnbench.analysis.runs.summary import summarize
from rnnbench.cli import cli
from rnnbench.harness.coordinator.session import run_suite
from rnnbench.report.export import FORMATS, ExportedRun
from rnnbench.report.verdicts import outputs, verdicts
from rnnbench.store.folder import read_info
from rnnbench.suite import suites
from tests.doubles import stored
from tests.doubles import workload as small

ODD = os.fsdecode(b"caf\xe9")
LOOP, REFERENCE = small.case("vanilla"), small.reference_case()
SUITE = """
name = "odd"
[measure]
replicates = 1
max_replicates = 1
windows = 2
window_seconds = 0.001
[[sweep]]
cell = ["mine.py:Good", "mine.py:Bad"]
reference = "gru"
implementation = ["loop", "torch.nn"]
batch_size = 2
seq_len = 2
hidden_size = 4
"""
CELLS = """
from torch import nn
class Good(nn.GRUCell):
    pass
class Bad(nn.GRUCell):
    def forward(self, input, h):
        raise ValueError("half: \\ud800")
"""


def run(parent: Path) -> Path:
    """A run in a folder whose name is not UTF-8."""
    path = stored.folder(parent, {LOOP: [[2.0]] * 3, REFERENCE: [[1.0]] * 3})
    return path.rename(parent / f"{ODD}-{path.name[-4:]}")


def called(*arguments: object) -> str:
    done = CliRunner().invoke(cli, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def pages(folder: Path) -> list[str]:
    """The content of all text files below a folder; raises if one is not UTF-8."""
    files = [file for file in folder.rglob("*") if file.is_file() and file.suffix != ".png"]
    return [file.read_text(encoding="utf-8") for file in files]


def test_a_cell_that_raises_half_a_character_in_a_folder_of_an_odd_name_is_read_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ODD
    folder.mkdir()
    (folder / "odd.toml").write_text(SUITE)
    (folder / "mine.py").write_text(CELLS)
    monkeypatch.chdir(tmp_path)
    suite = suites.read(str(folder / "odd.toml"))
    command = f"rnnbench run {folder / 'odd.toml'}"
    path = run_suite(
        suite,
        suite.groups({}, None, most=None),
        suite.settings,
        out=folder,
        command=command,
        on_progress=lambda step: None,
    )
    info, times = read_info(path), read(path)
    summary = summarize(times).set_index("cell")
    assert "half: ?" in str(summary.loc["mine.py:Bad", "reason"])
    assert summary.loc["mine.py:Good", "status"] == "measured"
    assert info.command == command.replace(ODD, "caf?")
    called("report", path, "--out", tmp_path / "page")
    assert any("half: ?" in text for text in pages(tmp_path / "page"))
    for to in FORMATS:
        FORMATS[to].render(ExportedRun(info, times, summarize(times)))


def test_a_run_in_a_folder_of_an_odd_name_is_reported_and_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = run(tmp_path / "A"), run(tmp_path / "B")
    assert load(first).cases["run"].unique().tolist() == [f"caf?-{first.name[-4:]}"]
    commands: tuple[list[object], ...] = ([first], ["--together", first, second], ["--history", "A", "B"])
    for number, arguments in enumerate(commands):
        called("report", *arguments, "--out", tmp_path / "reports" / str(number))
    assert any("caf?" in text for text in pages(tmp_path / "reports"))
    for to in FORMATS:
        for windows in (False, True) if FORMATS[to].of_frame else (False,):
            out = tmp_path / f"{to}-{windows}"
            called("export", first, "--format", to, "--out", out, *(["--windows"] if windows else []))
            assert out.stat().st_size > 0


def test_verdicts_of_odd_names_are_written_in_every_format(tmp_path: Path) -> None:
    odd = f"{ODD} \ud800"
    findings = (Finding(LOOP, "regressed", 0.02, odd), Finding(LOOP, None, 0.02, odd))
    outputs.write_files(verdicts.of(Comparison(odd, odd, odd, "stored", findings, (odd,))), tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["junit.xml", "verdicts.json", "verdicts.md"]
    assert all("caf" in text for text in pages(tmp_path))
