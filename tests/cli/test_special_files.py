"""Links, pipes and signals that the command line meets."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rnnbench.analysis.run_to_run import MIN_CASES
from tests.doubles import stored
from tests.doubles import workload as small
from tests.doubles.commands import SUITE, rnnbench

OWN, LAYER = small.case("vanilla"), small.reference_case()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tiny.toml").write_text(SUITE)
    stored.folder(tmp_path / "made", stored.several([2.0] * MIN_CASES)).rename(tmp_path / "run")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


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
