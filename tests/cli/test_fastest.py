"""`rnnbench fastest` from the command line, with a cell that somebody else wrote."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import rnnbench
from rnnbench.cells import load
from rnnbench.errors import UserError
from rnnbench.store.records import Case
from tests.doubles import commands
from tests.doubles.packages import installed
from tests.speedup.kept.test_module import row

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
WORDS = """
from torch import nn


class Words(nn.Module):
    def __init__(self, num_tokens, hidden_size):
        super().__init__()
        self.embedding = nn.Embedding(num_tokens, 8)
        self.layer = nn.GRU(8, hidden_size)

    def forward(self, x):
        return self.layer(self.embedding(x))


class Other(Words):
    pass
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
    save = ("--save-ways", "ways.csv")
    result = commands.rnnbench("fastest", "mine.py:Mine", *ONLY, *save, cwd=folder, code=0)
    first, second, *_, last, path = result.stdout.splitlines()
    assert first == "Fastest way to run mine.py:Mine, input 64, hidden 64, 1 layer, float32, cpu, 1 thread"
    assert second.startswith("  batch 1, length 16, inference, 1 thread: ")
    assert last == "  any other call: as given"
    assert path == "ways.csv"
    cell = load("mine.py:Mine", folder)(64, 64)
    fast = rnnbench.fastest(cell, torch.zeros(1, 1, 64), ways=folder / "ways.csv")
    with torch.inference_mode():
        torch.testing.assert_close(fast(torch.ones(16, 1, 64)), rnnbench.unroll(cell)(torch.ones(16, 1, 64)))
    written = (folder / "ways.csv").read_text()
    again = commands.rnnbench("fastest", "mine.py:Mine", *ONLY, *save, cwd=folder, code=2)
    assert "ways.csv already exists; give the name of a new file" in again.stderr
    assert (folder / "ways.csv").read_text() == written


@pytest.mark.usefixtures("one_thread")
def test_a_module_of_whole_sequences_of_tokens_is_searched_with_its_reference(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "words.py").write_text(WORDS)
    searched = {}

    def search(run: Any, input: torch.Tensor, *_: object) -> tuple[Any, Any]:
        run(input)
        searched[type(run).__name__] = input
        return run, pd.DataFrame([{"way": "as given", "seconds": math.nan}])

    monkeypatch.setattr("rnnbench.speedup.search.find", search)
    command = ("fastest", "words.py:Words", "--sequence", "--input", "tokens:100", "--reference", "words.py:Other")
    result = commands.rnnbench(*command, *ONLY, "--json", cwd=folder, code=0)
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert {row["cell"]: row["seconds"] for row in rows} == {"words.py:Words": None, "words.py:Other": None}
    assert {name: (input.shape, input.dtype) for name, input in searched.items()} == dict.fromkeys(
        ("Words", "Other"), ((16, 1), torch.int64)
    )


@pytest.mark.usefixtures("quick_compiler", "one_thread")
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("sys.exit(0)", "the cell called sys.exit(0) (ends.py:7)"),
        ("raise LookupError(3)", "the cell raised LookupError: 3 (ends.py:7)"),
    ],
)
def test_a_cell_that_ends_the_process_or_raises_is_told(folder: Path, body: str, words: str) -> None:
    (folder / "ends.py").write_text(ENDS.format(body=body))
    only = [word.replace("batch_size=1", "batch_size=32") for word in ONLY]
    result = commands.rnnbench("fastest", "ends.py:Ends", *only, cwd=folder)
    assert (result.returncode, result.stdout) == (2, "")
    assert words in result.stderr
    assert "layers" not in result.stderr


def test_a_cell_that_can_not_be_searched_leaves_the_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = {"ugrnn"}

    def search(module: Case, *_: object, **options: object) -> tuple[None, None]:
        if module.cell in bad:
            raise UserError("its state is not known")
        return None, None

    monkeypatch.setattr("rnnbench.speedup.search.find_wanted", search)
    monkeypatch.setattr("rnnbench.report.fastest.described", lambda title, found: title)
    only = "cell=ugrnn,ind_rnn batch_size=1 seq_len=64 phase=inference"
    result = commands.rnnbench("fastest", "modern", "--only", only, cwd=folder, code=0)
    found = {line.partition(",")[0] for line in result.stdout.splitlines()}
    assert found == {"ind_rnn", "torch.nn.GRU", "torch.nn.RNN"}
    assert re.search("left out: ugrnn, .* cpu, 1 thread: its state is not known", result.stderr)
    bad |= {"ind_rnn", "torch.nn.GRU", "torch.nn.RNN"}
    result = commands.rnnbench("fastest", "modern", "--only", only, cwd=folder)
    assert (result.returncode, result.stdout) == (2, "")
    assert re.search("ind_rnn, .*: its state is not known", result.stderr)


def test_the_fastest_ways_of_a_class_are_kept_in_a_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def search(module: Case, shapes: list[tuple[int, int]], root: Path, *_: object, **__: object) -> tuple[Any, Any]:
        steps, batch = shapes[0]
        found = rnnbench.fastest(
            load(module.cell, root)(64, 32),
            torch.zeros(steps, batch, 64),
            ways=[row(torch.zeros(steps, batch, 64), "compiled")],
        )
        return found._run, found.frame

    monkeypatch.setattr("rnnbench.speedup.search.find_wanted", search)
    with installed(monkeypatch):
        result = commands.rnnbench("fastest", "mine.py:Mine", *ONLY, "--save", "kept", cwd=folder, code=0)
        loaded = rnnbench.load_fastest(folder / "kept")
    assert result.stdout.splitlines()[-2:] == [
        "  kept: batch 1, length 16, compiled, compiled in 2.00 s",
        "kept",
    ]
    assert list(loaded.state_dict()) == ["both.weight", "both.bias"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("mine.py:Nothing",), "mine.py has no class or function Nothing; it has Mine"),
        (("none.py:Mine",), "no file none.py; expected FILE.py:CELL"),
        (("no_such_package:Cell",), "no module no_such_package here, in src/ or installed; pip install -e ."),
        (
            ("torch.nn:Embedding", "--only", "phase=inference seq_len=16 batch_size=1 hidden_size=64"),
            "torch.nn:Embedding, input",
        ),
        (("no-such-suite",), "no suite 'no-such-suite'"),
        (("quick", "--only", "phase=step"), "phase"),
        (("quick", "--budget", "never"), "'never' is not a duration"),
        (("quick", "--save-ways", "ways.csv"), "--save-ways saves one module: choose it with --only 'cell=..."),
        (("mine.py:Mine", "--save", "ways.csv"), "the option for a table of ways is --save-ways ways.csv"),
        (("quick", "--input", "tokens:9"), "--reference, --input and --sequence are for a cell"),
        (("quick", "--save", "kept"), "--save saves one module: choose it with --only 'cell=..."),
        (
            ("mine.py:Mine", "--only", "hidden_size=64", "--save", "kept"),
            "--save DIR saves one module in inference on the CPU: choose it with --only 'phase=inference ...'",
        ),
        (("mine.py:Mine", *ONLY, "--save", "."), ". already exists; give the name of a new folder"),
        (
            ("tasks", "--only", "lengths=varied"),
            "nothing to run: cases of other phases than inference and training, of varied",
        ),
    ],
)
def test_other_arguments_are_refused_and_nothing_is_written(
    folder: Path, arguments: tuple[str, ...], words: str
) -> None:
    result = commands.rnnbench("fastest", *arguments, cwd=folder)
    assert (result.returncode, result.stdout) == (2, "")
    assert words in result.stderr
    assert [file.name for file in folder.iterdir()] == ["mine.py"]
