"""Names of folders and files: with unusual characters, or with a meaning for Python or rnnbench."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rnnbench import load, summarize
from rnnbench.suite import suites
from tests.cli.test_run import CELLS
from tests.doubles.commands import SUITE, rnnbench

STRANGE = "a:b, c=d\n'e' \"f\" $g `h` \\i"
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
    own = suites.shipped()["quick"].resolve()
    assert messages[0].startswith("rnnbench: suites/quick.toml is used, which hides the suite 'quick' of rnnbench")
    assert messages[0].endswith(f"; that one is {own}")
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
    for arguments in (["--version"], ["list", "cases", "quick"], ["doctor", "--no-probe"]):
        rnnbench(*arguments, cwd=tmp_path, code=0)
