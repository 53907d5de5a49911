"""Options of every command: empty values are refused, and the shell completes names."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from rnnbench.cli import cli
from rnnbench.cli.options import FOLDER_TYPE
from tests.doubles import commands


@pytest.mark.parametrize(
    ("command", "name"), [(["run", ""], "SUITE"), (["run", "quick", "--out", ""], "--out"), (["report", ""], "RUN")]
)
def test_an_empty_value_is_refused_in_words(command: list[str], name: str) -> None:
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 2
    assert f"Invalid value for '{name}" in done.output
    assert "the value is empty (is a shell variable unset?)" in " ".join(done.output.split())


def with_out(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Option]]:
    """Yield each command that has the option --out, and the option."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from with_out(command, (*path, name))
        yield from ((" ".join((*path, name)), each) for each in command.params if each.name == "out")  # type: ignore[misc]


def test_out_is_the_folder_that_a_command_writes_into_in_all_of_them() -> None:
    found = dict(with_out(cli))
    assert found.keys() == {"run", "report", "compare", "check", "bisect", "profile", "export", "new-cell"}
    for name, option in found.items():
        assert (option.opts, option.metavar, option.type) == (["--out"], "DIR", FOLDER_TYPE), name
        assert str(option.help).startswith("Folder for "), name
        assert "[default: " in str(option.help), name


ARGUMENTS = {"compare": "a b", "export": "a --format csv", "new-cell": "Mine", "bisect": "quick --good HEAD"}


@pytest.mark.parametrize("name", dict(with_out(cli)))
def test_an_out_that_is_a_file_is_refused_in_the_same_words_by_every_command(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken.csv").touch()
    done = CliRunner().invoke(cli, [name, *ARGUMENTS.get(name, "quick").split(), "--out", "taken.csv"])
    assert done.exit_code == 2
    words = "Invalid value for '--out': taken.csv is a file; expected a folder, which is made if it does not exist"
    assert words in " ".join(done.output.split())


MAIN = "import sys; sys.argv = ['rnnbench']; from rnnbench.__main__ import main; main()"


def complete(words: str) -> list[str]:
    """The completions of the last word, which may be marked with | where it is not typed to its end."""
    typed = words.rsplit("|", maxsplit=1)[-1] if "|" in words else ""
    known = words.replace("|", "").removesuffix(typed).split()[1:]
    completer = ShellComplete(cli, {}, "rnnbench", "_RNNBENCH_COMPLETE")
    return [item.value for item in completer.get_completions(known, typed)]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("rnnbench |r", {"run", "report"}),
        ("rnnbench run |qu", {"quick"}),
        ("rnnbench check |c", {"ci", "cpu", "cuda"}),
        ("rnnbench list cases |note", {"notebook"}),
        ("rnnbench run quick |--prec", {"--precision"}),
    ],
)
def test_commands_suites_options_and_cells_are_offered(words: str, offered: set[str]) -> None:
    assert offered <= set(complete(words))


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(("typed", "offered"), [("run qu", "quick"), ("re", "report"), ("run no/such", "")])
def test_bash_is_offered_names_beside_files(typed: str, offered: str, tmp_path: Path) -> None:
    program = tmp_path / "rnnbench"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{MAIN}"\n')
    program.chmod(0o755)
    script = f"""
eval "$(_RNNBENCH_COMPLETE=bash_source rnnbench)"
compopt() {{ :; }}    # works only while the shell itself completes
COMP_WORDS=(rnnbench {typed}) COMP_CWORD={len(typed.split())}
_rnnbench_completion rnnbench
echo "${{COMPREPLY[*]}}"
"""
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHONPATH": os.environ["PYTHONPATH"]}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == offered, done.stderr


REFUSED_EARLY = """
import contextlib, io, sys
from rnnbench import cli
for typo in ("cel=x", "cell", "hidden_size=7", "cell=gruu"):
    said = io.StringIO()
    sys.argv = [typo if word == "TYPO" else word for word in ARGUMENTS]
    with contextlib.redirect_stderr(said), contextlib.suppress(SystemExit):
        cli.run_and_exit()
    heavy = {"torch", "numpy", "pandas", "scipy", "matplotlib", "rich", "psutil"} & sys.modules.keys()
    if typo not in said.getvalue() or heavy:
        sys.exit(f"{typo}: {heavy} are imported, and it says {said.getvalue()}")
"""


@pytest.mark.parametrize(
    "command",
    [
        "run SUITE --only TYPO",
        "check SUITE --base HEAD --only TYPO",
        "bisect SUITE --good HEAD --only TYPO",
        "profile SUITE --only TYPO",
        "fastest SUITE --only TYPO",
        "list cases SUITE --only TYPO",
    ],
)
@pytest.mark.parametrize("suite", ["tiny.toml", "mine.py:Mine"])
def test_a_typo_is_refused_before_anything_large_is_imported(tmp_path: Path, command: str, suite: str) -> None:
    (tmp_path / "tiny.toml").write_text(commands.SUITE)
    (tmp_path / "mine.py").write_text(commands.cells())
    arguments = ["rnnbench", *command.replace("SUITE", suite).split()]
    code = f"ARGUMENTS = {arguments}\n{REFUSED_EARLY}"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", ["TYPO", "--history TYPO"])
def test_a_typo_in_a_path_is_refused_before_anything_large_is_imported(tmp_path: Path, words: str) -> None:
    code = f"ARGUMENTS = {['rnnbench', 'report', *words.split()]}\n{REFUSED_EARLY}".replace(
        ', "hidden_size=7", "cell=gruu"', ""
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


SEEN = """
import contextlib, io, os, sys, types

class Nvml(types.ModuleType):
    NVMLError = NVMLLibraryMismatchError = ValueError

    def __getattr__(self, name):
        return {"nvmlDeviceGetCount": lambda: 8, "nvmlDeviceGetHandleByIndex": int}.get(name, lambda *rest: "H100")

sys.modules["pynvml"] = Nvml("pynvml")
os.environ["CUDA_VISIBLE_DEVICES"] = "5"
from rnnbench import cli
for command in (["run", "cuda"], ["check", "ci", "--base", "HEAD"], ["fastest", "ladder"], ["profile", "cuda"]):
    said = io.StringIO()
    sys.argv = ["rnnbench", *command, "--device", "cuda:1"]
    with contextlib.redirect_stderr(said), contextlib.suppress(SystemExit):
        cli.run_and_exit()
    expected = "--device cuda:1: no device 'cuda:1': this process sees cuda:0 (CUDA_VISIBLE_DEVICES=5"
    if expected not in said.getvalue() or "torch" in sys.modules:
        sys.exit(f"{command}: {said.getvalue()}")
"""


def test_a_card_that_a_job_does_not_see_is_refused_before_torch_is_imported(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SEEN], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_options_that_few_users_set_stand_last_in_a_help() -> None:
    text = CliRunner().invoke(cli, ["run", "--help"]).stdout
    usual, advanced = text.partition("\nOptions:")[2].split("\nAdvanced:")
    assert "--budget" in usual
    assert "--executor" in advanced
    assert "Advanced" not in CliRunner().invoke(cli, ["export", "--help"]).stdout
