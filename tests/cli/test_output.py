"""Printed output: its stream, its characters, and what a command does when it can't print."""

import ast
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from rnnbench.analysis.stored import MIN_CASES
from rnnbench.cli import output
from tests.doubles import stored
from tests.doubles.commands import SUITE, rnnbench

COMPARE = ["compare", "base", "head"]
REGRESSED = 1  # the exit code of this comparison
# One command for each way of printing, and the file that it writes before it prints.
COMMANDS = {
    "report": (["report", "base"], "reports/*base/index.html"),
    "compare": (COMPARE, "summary.md"),
    "export": (["export", "base", "--format", "csv"], ""),
    "list cells": (["list", "cells"], ""),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two runs, the second slower than the first."""
    for name, slower in (("base", 2.0), ("head", 3.0)):
        stored.folder(tmp_path / "made" / name, stored.several([slower] * MIN_CASES)).rename(tmp_path / name)
    return tmp_path


def run(folder: Path, arguments: list[str], redirection: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command in a shell that redirects its streams."""
    environment = os.environ | {"GITHUB_ACTIONS": "", "GITHUB_STEP_SUMMARY": str(folder / "summary.md")}
    line = ["bash", "-c", f'"$@" {redirection}; exit ${{PIPESTATUS[0]}}', "bash", sys.executable, "-m", "rnnbench"]
    return subprocess.run([*line, *arguments], cwd=folder, env=environment, capture_output=True, check=False)


FULL = b"rnnbench: standard output can't be written: No space left on device"


@pytest.mark.parametrize("name", ["report", "compare", "export"])
def test_a_command_whose_output_can_not_be_written_has_done_its_work_and_says_so(folder: Path, name: str) -> None:
    arguments, written = COMMANDS[name]
    done = run(folder, arguments, ">/dev/full")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1:] == [FULL]
    assert b"Traceback" not in done.stderr
    assert not written or list(folder.glob(written))


@pytest.mark.parametrize("name", ["compare", "list cells"])  # which write as the others do, and take the least time
def test_a_command_whose_output_is_not_read_has_done_its_work_and_ends_as_if_by_sigpipe(
    folder: Path, name: str
) -> None:
    arguments, written = COMMANDS[name]
    done = run(folder, arguments, "| true")
    assert done.returncode == 128 + signal.SIGPIPE
    assert b"Traceback" not in done.stderr
    assert not written or list(folder.glob(written))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(COMPARE, REGRESSED), (["dance"], 2), (["run", "quik"], 2)],
    ids=["ok", "usage", "no suite"],
)
@pytest.mark.parametrize("fault", ["2>/dev/full", "0<&- 1>&- 2>&-"])
def test_streams_that_are_closed_or_full_change_no_exit_code(
    folder: Path, arguments: list[str], code: int, fault: str
) -> None:
    assert run(folder, arguments, fault).returncode == code


def test_only_one_module_of_the_command_line_prints() -> None:
    for file in Path(output.__file__).parent.rglob("*.py"):
        calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
        named = [ast.unparse(call.func) for call in calls if file != Path(output.__file__)]
        assert not [
            name
            for name in named
            if re.search(r"\b(s?echo|print|Console|(?<!output\.)(?<!file\.)(?<!page\.)write)$", name)
        ], file


@pytest.mark.parametrize("name", ["report", "compare", "export", "list cells"])
def test_every_command_prints_something_readable_in_every_encoding(folder: Path, name: str) -> None:
    done = rnnbench(*COMMANDS[name][0], cwd=folder, PYTHONIOENCODING="ascii")  # a subset of every other encoding
    assert done.returncode in (0, REGRESSED)
    assert done.stdout.strip()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("ignored", [False, True])
def test_a_terminal_that_closes_ends_a_run_as_sigterm_does_unless_nohup_is_there(tmp_path: Path, ignored: bool) -> None:
    (tmp_path / "tiny.toml").write_text(SUITE.replace("replicates = 2", "replicates = 1"))
    command = [sys.executable, "-m", "rnnbench", "run", "tiny.toml", "--only", "cell=gru implementation=loop"]
    process = subprocess.Popen(
        ["nohup", *command] if ignored else command,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:  # until the command is at work
        if line.startswith("checking"):
            break
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGHUP)  # the kernel and the shell each send it
    _, errors = process.communicate(timeout=60)
    (path,) = (tmp_path / "results").iterdir()
    if ignored:
        assert process.returncode == 0, errors
    else:
        assert process.returncode == 130
        message = f"interrupted; what was measured is in results/{path.name}; the run can be resumed with"
        assert errors.splitlines()[-1] == f"rnnbench: {message} `rnnbench run --resume`"


@pytest.mark.parametrize("is_terminal", [False, True])
def test_no_printed_line_ends_with_spaces_also_in_colour(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = Table("case", "why", box=SIMPLE_HEAD)
    grid.add_row("gru", Text("short", style="bold"), style="yellow")
    grid.add_row("lstm", "a longer reason")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    output.show(grid)
    text = capsys.readouterr().out
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert "\n".join(map(str.rstrip, plain.split("\n"))) == plain
    assert ("\x1b[" in text) == is_terminal
    assert "longer reason" in plain
