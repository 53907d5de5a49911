"""Names that are not UTF-8, and texts with lone surrogates, work from a run to its reports and exports."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from rnnbench.analysis.run_times import read
from rnnbench.analysis.summary import summarize
from rnnbench.cli import cli
from rnnbench.cli.export import FORMATS
from rnnbench.harness.coordinator.session import run_suite
from rnnbench.report.export import exported
from rnnbench.store.folder import read_info
from rnnbench.suite import suites

ODD = os.fsdecode(b"caf\xe9")
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
        suite.groups({}, None),
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
        exported(path, to)
