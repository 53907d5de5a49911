"""Printed output: its stream, its characters, and what a command does when it can't print."""

import ast
import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple

import pytest

from rnnbench.analysis.run_to_run import MIN_CASES
from rnnbench.cli import output
from rnnbench.store.records import Case
from tests.doubles import forks, stored
from tests.doubles import workload as small
from tests.doubles.commands import SUITE

OWN, LAYER = small.case("vanilla"), small.reference_case()
PROGRAM = [sys.executable, "-m", "rnnbench"]
COMMANDS = {
    "check": ["check", "tiny.toml", "--base", "base", "--budget", "60s"],
    "report": ["report", "base"],
    "report --together": ["report", "--together", "base", "head", "--out", "together"],
    "compare": ["compare", "base", "head"],
    "compare --json": ["compare", "base", "head", "--json"],
    "export": ["export", "base", "--format", "csv"],
    "list suites": ["list", "suites"],
    "list cells": ["list", "cells"],
    "list metrics": ["list", "metrics"],
    "list cases": ["list", "cases", "quick"],
    "doctor": ["doctor", "--no-probe"],
    "--help": ["check", "--help"],
    "--version": ["--version"],
}
WRITTEN = {  # the file that each command writes before it prints
    "check": "results/tiny-*/verdicts.json",
    "report": "reports/*base/index.html",
    "report --together": "together/index.html",
    "compare": "summary.md",
    "compare --json": "summary.md",
}
# `python -m tests.validation fuzz` tries every kind of output with every fault of a stream, in one process.
REGRESSED = 1  # the exit code of a comparison of the two runs
CODES = {"compare": REGRESSED, "compare --json": REGRESSED, "check": 2}  # the stored run names another machine
FEW = ["compare", "compare --json", "export", "list cells", "--help"]  # one command for each way of printing
QUICK = [name for name in COMMANDS if name != "check"]  # `check` measures for some seconds


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A suite and two runs of it, the second slower than the first."""
    text = SUITE.replace('["combined", "gru"]', '"gru"').replace('"loop", "hoisted"', '"loop"')
    (tmp_path / "tiny.toml").write_text(text)
    sizes: dict[str, Any] = {"seq_len": 3, "input_size": 64, "hidden_size": 8, "output_size": 10, "dtype": "float32"}
    for name, slower in (("base", 2.0), ("head", 3.0)):
        times: dict[Case, list[list[float]]] = {}
        for batch in range(2, 2 + MIN_CASES):
            own = small.case("gru", batch_size=batch, **sizes)
            times |= {own: [[slower + 0.001 * replicate] for replicate in range(6)]}
            times |= {small.reference_case("gru", batch_size=batch, **sizes): [[1.0]] * 6}
        stored.folder(tmp_path / "made" / name, times).rename(tmp_path / name)
    return tmp_path


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {"GITHUB_ACTIONS": "", "GITHUB_STEP_SUMMARY": str(folder / "summary.md")}


def unread() -> int:
    """The write end of a pipe without a reader."""
    read, written = os.pipe()
    os.close(read)
    return written


def in_shell(folder: Path, redirection: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    line = ["bash", "-c", f'"$@" {redirection}', "bash", *PROGRAM, *arguments]
    return subprocess.run(line, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False)


class Done(NamedTuple):
    """How a command ended, and what it printed on the streams that can be read."""

    code: int
    out: str
    err: str


def printed_into(folder: Path, arguments: list[str], *, out: str = "", err: str = "") -> Done:
    """Run a command whose streams are full, closed or unread; without a fault they can be read."""
    with ExitStack() as stack:
        files: list[IO[bytes] | int | None] = []
        opened = []
        for fault in (out, err):
            kept = stack.enter_context(tempfile.TemporaryFile("w+b"))
            opened.append(kept)
            if fault == "full":
                files.append(stack.enter_context(open("/dev/full", "wb")))  # noqa: PTH123
            elif fault == "unread":
                pipe = unread()
                stack.callback(os.close, pipe)
                files.append(pipe)
            else:
                files.append(None if fault == "closed" else kept)
        code = forks.exit_code(arguments, folder, environment(folder), *files)
        for kept in opened:
            kept.seek(0)
        return Done(code, *(kept.read().decode() for kept in opened))


@pytest.mark.parametrize(
    "name", ["check", "report", "report --together", "list suites", *(name for name in FEW if name != "--help")]
)
def test_a_command_whose_output_nobody_reads_has_done_its_work_and_ends_with_141(folder: Path, name: str) -> None:
    done = printed_into(folder, COMMANDS[name], out="unread")
    assert done.code == 128 + signal.SIGPIPE
    assert "Traceback" not in done.err
    assert "rnnbench: " not in done.err
    assert list(folder.glob(WRITTEN.get(name, "tiny.toml")))


@pytest.mark.parametrize(
    ("name", "fault", "reason"),
    [(name, "full", "No space left on device") for name in ("report", "doctor", *FEW) if name != "--help"],
)
def test_a_command_whose_output_can_not_be_written_says_so_and_ends_with_2(
    folder: Path, name: str, fault: str, reason: str
) -> None:
    done = printed_into(folder, COMMANDS[name], out=fault)
    assert done.code == 2
    assert done.err.splitlines()[-1] == f"rnnbench: standard output can't be written: {reason}"
    assert "Traceback" not in done.err
    assert list(folder.glob(WRITTEN.get(name, "tiny.toml")))


@pytest.mark.parametrize(("name", "fault"), [("compare", "full"), ("compare", "closed"), ("export", "closed")])
def test_standard_error_that_can_not_be_written_changes_nothing(folder: Path, name: str, fault: str) -> None:
    done = printed_into(folder, COMMANDS[name], err=fault)
    assert done.code == CODES.get(name, 0)
    assert done.out.strip()
    assert list(folder.glob(WRITTEN.get(name, "tiny.toml")))


@pytest.mark.parametrize("fault", ["full", "closed"])
@pytest.mark.parametrize("arguments", [["dance"], ["report", "nowhere"]])
def test_an_error_that_can_not_be_told_still_ends_with_2(folder: Path, arguments: list[str], fault: str) -> None:
    assert printed_into(folder, arguments, err=fault).code == 2


def test_errors_that_nobody_reads_change_nothing(folder: Path) -> None:
    assert printed_into(folder, ["export", "nowhere", "--format", "csv"], err="unread").code == 2


def test_no_file_takes_the_place_of_a_stream_that_is_closed(folder: Path) -> None:
    suite = folder / "tiny.toml"
    suite.write_text(suite.read_text().replace("replicates = 2", "replicates = 1"))
    done = in_shell(folder, "0<&- 1>&- 2>&-", ["run", "tiny.toml", "--only", "implementation=loop"])
    assert done.returncode == 0
    (run,) = folder.glob("results/*")
    for file in run.glob("*.json*"):
        for line in file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]:
            json.loads(line)


def test_only_one_module_of_the_command_line_prints() -> None:
    for file in Path(output.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or file == Path(output.__file__):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            assert name not in ("echo", "secho", "print", "Console", "write", "writelines") or (
                ast.unparse(node.func) == "output.write"
            ), f"{file.name}:{node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("name", [name for name in QUICK if "--" not in name])
def test_every_command_prints_something_readable_in_every_encoding(folder: Path, name: str) -> None:
    encoding = "ascii"  # a subset of every other encoding
    variables = os.environ | {"PYTHONIOENCODING": encoding, "GITHUB_ACTIONS": "", "GITHUB_STEP_SUMMARY": ""}
    done = forks.run(COMMANDS[name], folder, variables)
    assert done.returncode == CODES.get(name, 0), done.stderr
    assert done.stdout.isascii()
    assert done.stdout.strip()
    assert "Traceback" not in done.stderr


def test_the_last_line_names_a_folder_that_is_not_text_byte_for_byte(folder: Path) -> None:
    out = os.fsdecode(b"caf\xc3\xa9 \xff:\x80\tx")
    code, printed, _ = in_bytes(folder, "report", "base", "--out", out, PYTHONIOENCODING="ascii")
    assert code == 0
    assert os.fsdecode(printed) == f"{out}/index.html\n"
    code, _, complaints = in_bytes(folder, "report", f"no {out}", PYTHONIOENCODING="ascii")
    assert code == 2
    assert complaints.decode("ascii", "replace").startswith("rnnbench: no caf")


def in_bytes(folder: Path, *arguments: str, **variables: str) -> tuple[int, bytes, bytes]:
    """The exit code of a command, and the bytes that it writes to pipes or files."""
    with tempfile.TemporaryFile("w+b") as out, tempfile.TemporaryFile("w+b") as err:
        code = forks.exit_code(arguments, folder, os.environ | variables, out, err)
        for file in (out, err):
            file.seek(0)
        return code, out.read(), err.read()


def on_terminal(folder: Path, *arguments: str) -> bytes:
    """The bytes that a command writes to a terminal."""
    main, other = pty.openpty()
    written: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):  # Linux raises it when the other end is closed
            while part := os.read(main, 1 << 16):
                written.append(part)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with open(os.devnull, "wb") as null:  # noqa: PTH123
            assert forks.exit_code(arguments, folder, os.environ, other, null) == 0
    finally:
        os.close(other)
        reader.join()
        os.close(main)
    return b"".join(written)


def test_an_export_to_a_terminal_moves_no_cursor_and_to_a_pipe_is_exact(tmp_path: Path) -> None:
    own = Case("mine.py:A\x1b[31m\x9b2J", "loop", LAYER.workload)
    stored.folder(tmp_path / "made", {own: [[2.0]] * 3, LAYER: [[1.0]] * 3}).rename(tmp_path / "run")
    command = ["export", "run", "--format", "csv"]
    code, piped, _ = in_bytes(tmp_path, *command)
    assert code == 0
    assert "A\x1b[31m\x9b2J".encode() in piped
    shown = on_terminal(tmp_path, *command)
    assert "A\ufffd[31m\ufffd2J".encode() in shown
    assert b"\x1b" not in shown
    assert "\x9b".encode() not in shown


def test_a_path_on_a_terminal_moves_no_cursor(folder: Path) -> None:
    shown = on_terminal(folder, "report", "base", "--out", "red\x1b[31m")
    assert shown == "red\ufffd[31m/index.html\r\n".encode()
