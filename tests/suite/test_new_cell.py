"""`rnnbench new-cell` writes a cell that works at once, or nothing."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnbench.cells import load as load_cell
from rnnbench.suite import new_cell, suites
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import build
from tests.doubles.commands import rnnbench

REFERENCES = ("rnn", "lstm", "gru", "none")


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("reference", REFERENCES)
def test_every_case_of_a_new_cells_suite_works_and_agrees(tmp_path: Path, reference: Any, whole: bool) -> None:
    _, suite = new_cell.write_cell("Mine", reference, tmp_path, whole=whole)
    groups = suites.read(str(suite)).groups({"batch_size": ["1"], "phase": ["training"]}, None, most=None)
    cases = [case for group in groups for case in group.cases if not case.is_reference]
    parities = [observe(build(case, tmp_path)).parity for case in cases]
    assert len(cases) == (1 if whole else 2)
    assert set(parities) == {"not compared: there is no reference" if reference == "none" else "agrees"}


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_module_for_a_whole_sequence_starts_from_zeros_without_a_state_as_torchs_do(
    tmp_path: Path, reference: Any
) -> None:
    new_cell.write_cell("Mine", reference, tmp_path, whole=True)
    module = load_cell("Mine.py:Mine", tmp_path)(3, 5)
    zeros, input = torch.zeros(1, 2, 5), torch.randn(4, 2, 3)
    state = (zeros, zeros) if reference == "lstm" else zeros
    assert torch.equal(module(input)[0], module(input, state)[0])


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("reference", REFERENCES)
def test_a_new_cells_file_is_in_the_house_style(tmp_path: Path, reference: Any, whole: bool) -> None:
    module, _ = new_cell.write_cell("Mine", reference, tmp_path, whole=whole)
    config = ["--config", str(Path(__file__).parents[2] / "pyproject.toml"), "--no-cache", str(module)]
    for how in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *how, *config]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_files_go_where_they_are_wanted_and_the_commands_say_so(tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    done = rnnbench("new-cell", "Mine", "--out", "cells", "--sequence", cwd=tmp_path)
    assert "  rnnbench run cells/Mine.toml" in done.stdout.splitlines()
    suite = tomllib.loads((tmp_path / "cells/Mine.toml").read_text())
    assert suite["sweep"][0]["implementation"] == ["sequence", "torch.nn"]
