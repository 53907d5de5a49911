"""Pipes and devices behind every name that the command line takes: refused at once, in one line."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rnnbench.analysis.run_to_run import MIN_CASES
from tests.doubles import stored
from tests.doubles import workload as small
from tests.doubles.commands import SUITE, in_process, rnnbench

OWN, LAYER = small.case("vanilla"), small.reference_case()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tiny.toml").write_text(SUITE)
    stored.folder(tmp_path / "made", stored.several([2.0] * MIN_CASES)).rename(tmp_path / "run")
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.toml")
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "zero.toml").symlink_to("/dev/zero")
    return tmp_path


@pytest.mark.parametrize("kind", ["pipe"])  # `tests/store/test_special_files.py` tests the other kinds
@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "cases", "{}.toml"],
        ["list", "cases", "./{}"],
        ["check", "{}.toml", "--base", "HEAD"],
        ["run", "tiny.toml", "--out", "{}", "--only", "implementation=loop"],
        ["run", "tiny.toml", "--resume", "{}"],
        ["report", "{}"],
        ["report", "{}.json"],
        ["report", "run", "--out", "{}"],
        ["report", "--history", "{}"],
        ["compare", "run", "{}"],
        ["compare", "{}", "run"],
        ["export", "{}", "--format", "csv"],
        ["export", "run", "--format", "csv", "--out", "{}"],
        ["new-cell", "Mine", "--out", "{}"],
    ],
    ids=" ".join,
)
def test_a_pipe_or_a_device_is_refused_in_a_line(folder: Path, arguments: list[str], kind: str) -> None:
    before = sorted(folder.rglob("*"))
    done = in_process(*(argument.format(kind) for argument in arguments), cwd=folder, code=2)
    lines = [line for line in done.stderr.splitlines() if line.startswith("rnnbench: ")]
    assert len(lines) == 1
    assert kind in lines[0]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert sorted(folder.rglob("*")) == before


def test_a_link_that_an_export_is_written_to_stays_a_link(folder: Path) -> None:
    (folder / "link.csv").symlink_to("target.csv")
    rnnbench("export", "run", "--format", "csv", "--out", "link.csv", cwd=folder, code=0)
    assert (folder / "link.csv").is_symlink()
    assert OWN.key in (folder / "target.csv").read_text()


def test_a_link_to_itself_is_no_place_for_an_export(folder: Path) -> None:
    (folder / "loop.csv").symlink_to("loop.csv")
    done = rnnbench("export", "run", "--format", "csv", "--out", "loop.csv", cwd=folder, code=2)
    assert done.stderr == "rnnbench: loop.csv: can't be written: it is a link to itself; give another file\n"
    assert (folder / "loop.csv").is_symlink()


def test_a_summary_that_is_a_pipe_does_not_hold_the_verdict_up(folder: Path) -> None:
    shutil.copytree(folder / "run", folder / "copy")
    done = rnnbench("compare", "run", "copy", cwd=folder, GITHUB_STEP_SUMMARY=folder / "pipe", code=0)
    assert done.stderr == f"rnnbench: $GITHUB_STEP_SUMMARY can't be written: {folder}/pipe: No such device or address\n"


def test_a_suite_that_is_a_pipe_does_not_hide_the_others(folder: Path) -> None:
    (folder / "suites").mkdir()
    os.mkfifo(folder / "suites" / "ci.toml")
    (folder / "suites" / "quick.toml").symlink_to("/dev/zero")
    (folder / "suites" / "own.toml").write_text(f'name = "own"\n[[sweep]]\ncell = "{"a" * 5000}.py:X"\n')
    done = rnnbench("list", "suites", cwd=folder, code=0)
    assert "ladder" in done.stdout
    for name in ("ci", "quick", "own"):
        assert re.search(rf"^{name} +can't be used: ", done.stderr, re.MULTILINE)


def test_an_only_of_thousands_of_digits_is_refused_in_words(folder: Path) -> None:
    done = rnnbench("list", "cases", "tiny.toml", "--only", f"batch_size={'9' * 5000}", cwd=folder, code=2)
    assert done.stderr.endswith(": the suite has batch_size=2\n")


@pytest.mark.parametrize("ignored", [False, True])
def test_a_terminal_that_closes_ends_a_run_as_sigterm_does_unless_nohup_is_there(folder: Path, ignored: bool) -> None:
    (folder / "tiny.toml").write_text(SUITE.replace("replicates = 2", "replicates = 1"))
    command = [sys.executable, "-m", "rnnbench", "run", "tiny.toml", "--only", "cell=gru implementation=loop"]
    process = subprocess.Popen(
        ["nohup", *command] if ignored else command,
        cwd=folder,
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
    (path,) = (folder / "results").iterdir()
    if ignored:
        assert process.returncode == 0, errors
    else:
        assert process.returncode == 130
        message = f"rnnbench: interrupted; what was measured is in results/{path.name} and can be resumed with --resume"
        assert errors.splitlines()[-1] == message
