"""Names of folders and files: with unusual characters, not in UTF-8, or with a meaning for Python or rnnbench."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rnnbench import load, summarize
from rnnbench.cli.export import EXPORT_FORMATS
from rnnbench.report.export import exported
from rnnbench.store.folder import read_info
from rnnbench.suite import places, suites
from tests.cli.test_run import CELLS
from tests.doubles.commands import SUITE, rnnbench, started

STRANGE = "a:b, c=d\n'e' \"f\" $g `h` \\i"
ODD = os.fsdecode(b"caf\xe9")
FILE = "my cell, 'x'\n\"y\" = $z:1.py"


def strange_suite() -> str:
    cell = FILE.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    own = f'[[sweep]]\ncell = "{cell}:Good"\nimplementation = ["loop", "torch.nn"]\nreference = "gru"\n'
    once = SUITE.replace("replicates = 2", "replicates = 1")
    return once.partition("[[sweep]]")[0].replace('"loop", "hoisted", ', '"loop", ') + own


def test_names_may_hold_any_character_and_what_is_listed_can_be_pasted(tmp_path: Path) -> None:
    folder = tmp_path / STRANGE
    folder.mkdir()
    (folder / "my suite.toml").write_text(strange_suite())
    (folder / FILE).write_text(CELLS)
    suite = f"{STRANGE}/my suite.toml"
    listed = rnnbench("list", "cases", suite, cwd=tmp_path, code=0)
    [line] = [line for line in listed.stdout.splitlines() if "torch.nn" not in line]
    command = [sys.executable, "-m", "rnnbench", "run", suite, "--out", f"{STRANGE}/out: x"]
    pasted = f"{shlex.join(command)} --only '{line}'"
    done = subprocess.run(["bash", "-c", pasted], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (run,) = (folder / "out: x").iterdir()
    assert done.stdout.endswith(f"{run.relative_to(tmp_path)}\n")
    summary = summarize(load(run)).set_index("implementation")
    assert summary.loc["loop", "cell"] == f"{FILE}:Good"
    assert set(summary["status"]) == {"measured"}

    renamed = run.rename(run.parent / f"{STRANGE.replace('/', '')} run")
    other = shutil.copytree(renamed, renamed.with_name(f"{renamed.name} again"))
    for code, arguments in (
        (0, ["report", str(renamed), "--out", f"{STRANGE}/page"]),
        (2, ["compare", str(renamed), str(other)]),  # too few cases for a verdict
    ):
        done = rnnbench(*arguments, cwd=tmp_path, GITHUB_STEP_SUMMARY="")
        assert done.returncode == code, done.stderr
        assert done.stderr == ""


@pytest.mark.parametrize("command", ["run", "check", "profile", "list cases"])
def test_a_suite_that_hides_one_of_rnnbenchs_own_is_told_first(tmp_path: Path, command: str) -> None:
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "quick.toml").write_text(SUITE)
    # The other commands end before they measure because no case matches.
    arguments = [] if command == "list cases" else ["--only", "cell=nothing"]
    arguments += ["--base", "."] if command == "check" else []
    messages = rnnbench(*command.split(), "quick", *arguments, cwd=tmp_path).stderr.splitlines()
    own = places.shipped()["quick"].resolve()
    assert messages[0].startswith("rnnbench: the file suites/quick.toml hides rnnbench's own suite 'quick', ")
    assert messages[0].endswith(f", which is {own}")
    messages = rnnbench(*command.split(), "suites/quick.toml", *arguments, cwd=tmp_path).stderr.splitlines()
    assert not any("hides" in line for line in messages)


def test_in_rnnbenchs_own_folder_no_suite_hides_another() -> None:
    done = rnnbench("list", "suites", cwd=Path(suites.__file__).parents[1])
    assert "hides" not in done.stdout + done.stderr
    assert "hides" not in rnnbench("list", "cases", "quick", cwd=Path(suites.__file__).parents[1]).stderr


STRANGERS = "random json sitecustomize click signal rich torch pandas pydantic numpy copy"


def test_no_module_of_the_current_folder_is_imported_in_place_of_pythons_or_an_installed_one(tmp_path: Path) -> None:
    for name in STRANGERS.split():
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('the {name} of a stranger')\n")
    (tmp_path / "scipy").mkdir()
    (tmp_path / "scipy" / "__init__.py").write_text("raise SystemExit('the scipy of a stranger')\n")
    for arguments, words in (
        (["--version"], "rnnbench"),
        (["list", "cases", "quick"], "cell="),
        (["doctor", "--no-probe"], "torch"),
    ):
        assert words in started(*arguments, cwd=tmp_path, code=0).stdout


ODD_SUITE = """
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
ODD_CELLS = """
from torch import nn
class Good(nn.GRUCell):
    pass
class Bad(nn.GRUCell):
    def forward(self, input, h):
        raise ValueError("half: \\ud800")
"""


def test_a_cell_that_raises_half_a_character_in_a_folder_of_an_odd_name_is_read_and_reported(tmp_path: Path) -> None:
    folder = tmp_path / ODD
    folder.mkdir()
    (folder / "odd.toml").write_text(ODD_SUITE)
    (folder / "mine.py").write_text(ODD_CELLS)
    rnnbench("run", folder / "odd.toml", "--out", folder, "--allow-missing", cwd=tmp_path, code=0)
    (run,) = folder.glob("odd-*")
    summary = summarize(load(run)).set_index("cell")
    assert "half: ?" in str(summary.loc["mine.py:Bad", "reason"])
    assert summary.loc["mine.py:Good", "status"] == "measured"
    assert f"{folder / 'odd.toml'}".replace(ODD, "caf?") in read_info(run).command
    rnnbench("report", run, "--out", tmp_path / "page", cwd=tmp_path, code=0)
    files = [file for file in (tmp_path / "page").rglob("*") if file.is_file() and file.suffix != ".png"]
    assert any("half: ?" in file.read_text(encoding="utf-8") for file in files)
    for to in EXPORT_FORMATS:
        exported(run, to)
