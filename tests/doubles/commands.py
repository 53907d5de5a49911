"""Commands of rnnbench, as tests run them."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

import pytest

from rnnbench import cli

SUITE = """
name = "tiny"
[measure]
replicates = 2
max_replicates = 2
windows = 2
window_seconds = 0.002
[defaults]
implementation = ["loop", "hoisted", "torch.nn"]
batch_size = 2
seq_len = 3
hidden_size = 8
[[sweep]]
cell = ["combined", "gru"]
"""

MINE = """
name = "mine"
[measure]
windows = 2
window_seconds = 0.002
[check]
margin = 0.9
budget_seconds = 60
[[sweep]]
cell = ["mine.py:Mine", "mine.py:Other"]
reference = "gru"
implementation = ["loop", "torch.nn"]
batch_size = 2
seq_len = 5
hidden_size = 8
"""
CELLS = """
import time
from torch import nn
class Mine(nn.GRUCell):
    def forward(self, input, h):
        {mine}
        return super().forward(input, h)
class Other(nn.GRUCell):
    def forward(self, input, h):
        {other}
        return super().forward(input, h)
"""
SLOW = "for _ in range(8): super().forward(input, h)"


def cells(mine: str = "pass", other: str = "pass") -> str:
    """Return the file of the cells of `MINE`, with a statement that each step begins with."""
    return CELLS.format(mine=mine, other=other)


def rnnbench(
    *arguments: str | Path, cwd: Path, code: int | None = None, **variables: object
) -> subprocess.CompletedProcess[str]:
    """Run a command in this process, which saves a second; `code`: how it has to end.

    As Python does, standard output refuses what the variable PYTHONIOENCODING can't encode.
    """
    encoding = str(variables.get("PYTHONIOENCODING", "utf-8"))
    out = io.TextIOWrapper(io.BytesIO(), encoding, "strict", write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), encoding, "replace", write_through=True)
    with (
        contextlib.chdir(cwd),
        mock.patch.dict(os.environ, environment(variables), clear=True),
        mock.patch.object(sys, "argv", ["rnnbench", *map(str, arguments)]),
        mock.patch.object(sys, "stdout", out),
        mock.patch.object(sys, "stderr", err),
        pytest.raises(SystemExit) as ending,
    ):
        cli.run_and_exit()
    outputs = [stream.buffer.getvalue().decode(errors="surrogateescape") for stream in (out, err)]
    done = subprocess.CompletedProcess(list(map(str, arguments)), int(ending.value.code or 0), *outputs)
    assert code in (None, done.returncode), done.stderr
    return done


def started(
    *arguments: str | Path, cwd: Path, code: int | None = None, **variables: object
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own; `code`: how it has to end."""
    command = [sys.executable, "-m", "rnnbench", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=environment(variables), capture_output=True, text=True, check=False)
    assert code in (None, done.returncode), done.stderr
    return done


def environment(variables: Mapping[str, object]) -> dict[str, str]:
    """Return the environment of a command: that of this process with `variables`, and outside of GitHub's CI."""
    here = {name: value for name, value in os.environ.items() if name not in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY")}
    return here | {"COLUMNS": "100"} | {name: str(value) for name, value in variables.items()}
