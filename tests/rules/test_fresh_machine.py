"""Tests without the mark `needs` find only the programs of a fresh machine, so that `make test` passes on one."""

import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import PROGRAMS

CI = Path(__file__).parents[2] / ".ci" / "run"
OTHERS = [command for commands, _ in PROGRAMS.values() for command in commands]


@pytest.mark.parametrize("command", [*OTHERS, "srun", "squeue", "node", "npm", "gh", "nvidia-smi", "nvcc"])
def test_other_programs_are_hidden(command: str) -> None:
    assert shutil.which(command) is None


@pytest.mark.parametrize("command", ["git", "c++", "sh"])
def test_what_the_front_page_asks_for_is_found(command: str) -> None:
    assert shutil.which(command)


@pytest.mark.needs("valgrind")
def test_a_test_that_needs_a_program_finds_it() -> None:
    assert shutil.which("valgrind")


def test_ci_runs_the_command_of_the_front_page_before_it_installs_a_program() -> None:
    lines = CI.read_text().splitlines()
    commands = [line for line in lines if re.match(r"\s*(make |apt-get )", line)]
    assert commands[0].startswith("make test ")
