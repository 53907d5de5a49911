"""`rnnbench fastest` from the command line, with a cell that somebody else wrote."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rnnbench.errors import UserError
from rnnbench.speedup.suite_search import WantedModule, source
from tests.doubles.commands import in_process

MINE = """
import torch
from torch import nn


class Mine(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.both = nn.Linear(input_size + hidden_size, hidden_size)

    def forward(self, x, h):
        return torch.tanh(self.both(torch.cat([x, h], 1)))
"""
USE = """
import torch
from fast_mine import fast
from mine import Mine

cell = Mine(64, 64)
run = fast(cell)


def check():
    with torch.inference_mode():
        outputs, state = run(torch.ones(16, 1, 64))
        h = torch.zeros(1, 64)
        for step in range(16):
            h = cell(torch.ones(1, 64), h)
        torch.testing.assert_close(outputs[-1], h)
        torch.testing.assert_close(state[0], h)


check()
run.state_dict()["both.weight"].mul_(2.0)
check()
print(run.frame["way"].tolist())
"""
ENDS = """
import sys
from torch import nn
class Ends(nn.GRUCell):
    def forward(self, x, h):
        if len(x) == 32:
            {body}
        return super().forward(x, h)
"""
ONLY = ("--only", "seq_len=16 hidden_size=64 batch_size=1 phase=inference", "--budget", "2s")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a cell's file."""
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


@pytest.mark.usefixtures("quick_compiler", "one_thread")
def test_a_class_of_a_file_is_run_in_all_ways_and_handed_back(folder: Path) -> None:
    result = in_process("fastest", "mine.py:Mine", *ONLY, "--save", "fast_mine.py", cwd=folder, code=0)
    first, second, *_, last, path = result.stdout.splitlines()
    assert first == "Fastest way to run mine.py:Mine, input size 64, hidden size 64, float32, cpu, 1 thread"
    assert second.startswith("  batch 1, length 16, inference: ")
    assert last == "  other sizes: as the nearest of these; anything else as given"
    assert path == "fast_mine.py"
    (folder / "use.py").write_text(USE)
    used = subprocess.run([sys.executable, "use.py"], cwd=folder, capture_output=True, text=True, check=False)
    assert used.returncode == 0, used.stderr
    assert used.stdout.strip().startswith("['")
    written = (folder / "fast_mine.py").read_text()
    assert written.splitlines()[0] == '"""Mine, run in the fastest ways that were found.'
    assert '{"seq_len": 16, "batch_size": 1, "input_size": 64, "dtype": "float32", "device": "cpu"' in written
    again = in_process("fastest", "mine.py:Mine", *ONLY, "--save", "fast_mine.py", cwd=folder, code=2)
    assert "fast_mine.py already exists; give the name of a new file" in again.stderr
    assert (folder / "fast_mine.py").read_text() == written


@pytest.mark.usefixtures("quick_compiler", "one_thread")
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("sys.exit(0)", "the cell called sys.exit(0) (ends.py:7); a cell must return, or raise another exception"),
        ("raise LookupError(3)", "LookupError: 3"),
    ],
)
def test_a_cell_that_ends_the_process_or_raises_is_told(folder: Path, body: str, words: str) -> None:
    (folder / "ends.py").write_text(ENDS.format(body=body))
    only = [word.replace("batch_size=1", "batch_size=32") for word in ONLY]
    result = in_process("fastest", "ends.py:Ends", *only, cwd=folder)
    assert (result.returncode, result.stdout) == (2, "")
    assert words in result.stderr
    assert "layers" not in result.stderr


def test_a_cell_that_can_not_be_searched_leaves_the_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = {"ugrnn"}

    def search(module: WantedModule, *_: object) -> tuple[()]:
        if module.cell in bad:
            raise UserError(f"{module.cell}: its state is not known")
        return ()

    monkeypatch.setattr("rnnbench.speedup.suite_search.find_wanted", search)
    monkeypatch.setattr("rnnbench.report.words.fastest.described", lambda title, found: title)
    only = "cell=ugrnn,ind_rnn batch_size=1 seq_len=64 phase=inference"
    result = in_process("fastest", "modern", "--only", only, cwd=folder, code=0)
    found = {line.partition(",")[0] for line in result.stdout.splitlines()}
    assert found == {"ind_rnn", "torch.nn.GRU", "torch.nn.RNN"}
    assert "left out: ugrnn: its state is not known" in result.stderr
    bad |= {"ind_rnn", "torch.nn.GRU", "torch.nn.RNN"}
    result = in_process("fastest", "modern", "--only", only, cwd=folder)
    assert (result.returncode, result.stdout) == (2, "")
    assert "ind_rnn: its state is not known" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("mine.py:Nothing",), "mine.py has no class or function Nothing; it has Mine"),
        (("none.py:Mine",), "no file none.py; expected FILE.py:CELL"),
        (("no_such_package:Cell",), "no module no_such_package; expected FILE.py:CELL or PACKAGE:CELL"),
        (
            ("torch.nn:Embedding", "--only", "phase=inference seq_len=16 batch_size=1 hidden_size=64"),
            "torch.nn:Embedding, input",
        ),
        (("no-such-suite",), "no suite 'no-such-suite'"),
        (("quick", "--only", "phase=step"), "phase"),
        (("quick", "--budget", "never"), "'never' is not a duration"),
        (("quick", "--save", "fast.py"), "--save writes one cell's module: choose it with --only 'cell=...'"),
        (("mine.py:Mine", "--save", "fast mine.py"), "the names must be identifiers of Python"),
        (("tasks", "--only", "lengths=varied"), "nothing to run: cases with sequences of varied lengths"),
    ],
)
def test_other_arguments_are_refused_and_nothing_is_written(
    folder: Path, arguments: tuple[str, ...], words: str
) -> None:
    result = in_process("fastest", *arguments, cwd=folder)
    assert (result.returncode, result.stdout) == (2, "")
    assert words in result.stderr
    assert [file.name for file in folder.glob("*.py")] == ["mine.py"]


@pytest.mark.parametrize(
    ("file", "cell", "words"),
    [
        ("fast mine.py", "mine.py:Mine", "the names must be identifiers of Python"),
        ("other/fast.py", "mine.py:Mine", "it must be in the same folder as"),
        ("fast.py", "gru", "gru: only a cell of your own can be imported"),
    ],
)
def test_what_could_not_be_imported_is_not_written(folder: Path, file: str, cell: str, words: str) -> None:
    module = WantedModule(
        cell, "none", "inference", 4, 6, 1, bidirectional=False, dtype="float32", device="cpu", threads=1
    )
    with pytest.raises(UserError, match=re.escape(words)):
        source({module: []}, folder, folder / file, "rnnbench fastest")
