"""Shell completion."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from rnnbench.cli import cli

MAIN = "import sys; sys.argv = ['rnnbench']; from rnnbench.__main__ import main; main()"


def complete(words: str) -> list[str]:
    """The completions of the last word, which may be marked with | where it is not typed to its end."""
    typed = words.rsplit("|", maxsplit=1)[-1] if "|" in words else ""
    known = words.replace("|", "").removesuffix(typed).split()[1:]
    completer = ShellComplete(cli, {}, "rnnbench", "_RNNBENCH_COMPLETE")
    return [item.value for item in completer.get_completions(known, typed)]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_common_shell(shell: str, tmp_path: Path) -> None:
    environment = {"_RNNBENCH_COMPLETE": f"{shell}_source", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    done = subprocess.run([sys.executable, "-c", MAIN], capture_output=True, text=True, check=False, env=environment)
    assert "_RNNBENCH_COMPLETE" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("rnnbench |r", {"run", "report"}),
        ("rnnbench run |qu", {"quick"}),
        ("rnnbench check |c", {"ci", "cpu", "cuda"}),
        ("rnnbench list cases |note", {"notebook"}),
        ("rnnbench run quick |--prec", {"--precision"}),
        ("rnnbench run quick --only |hid", {"hidden_size="}),
        ("rnnbench run quick --only |cell=ls", {"cell=lstm"}),
        ("rnnbench run quick --only |phase=", {"phase=inference", "phase=training"}),
        ("rnnbench run quick --only |batch_size=1,3", {"batch_size=1,32"}),
        ("rnnbench run nowhere --only |cell=ls", {"cell=lstm"}),
        ("rnnbench run nowhere --only |phase=", set()),
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


def test_completing_loads_nothing_heavy() -> None:
    code = """
import sys
from rnnbench.cli.options import only_words, suite_names
assert [item.value for item in suite_names(None, None, "quic")] == ["quic", "quick"]
assert [item.value for item in only_words(None, None, "batch")] == ["batch_size="]
heavy = {"torch", "pandas", "numpy", "scipy", "matplotlib"} & sys.modules.keys()
sys.exit(f"loaded: {heavy}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
