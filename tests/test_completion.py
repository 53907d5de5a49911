"""What a shell offers after Tab."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from rnnbench.cli import cli


def complete(words: str) -> list[str]:
    """What fish would offer, without the kind of each."""
    typed = words.rsplit("|", maxsplit=1)[-1] if "|" in words else ""
    variables = {"_RNNBENCH_COMPLETE": "fish_complete", "COMP_WORDS": words.replace("|", ""), "COMP_CWORD": typed}
    done = CliRunner().invoke(cli, [], env=variables, prog_name="rnnbench")
    return [line.partition(",")[2].split("\t")[0] for line in done.output.splitlines()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_common_shell(shell: str, tmp_path: Path) -> None:
    code = "import sys; sys.argv = ['rnnbench']; from rnnbench.__main__ import main; main()"
    environment = {"_RNNBENCH_COMPLETE": f"{shell}_source", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
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
    ],
)
def test_commands_suites_options_and_cells_are_offered(words: str, offered: set[str]) -> None:
    assert offered <= set(complete(words))


def test_completing_loads_nothing_heavy() -> None:
    code = """
import sys
from rnnbench.cli.options import only_words, suite_names
assert [item.value for item in suite_names(None, None, "quic")] == ["quick", "quic"]
assert [item.value for item in only_words(None, None, "batch")] == ["batch_size="]
heavy = {"torch", "pandas", "numpy", "scipy", "matplotlib"} & sys.modules.keys()
sys.exit(f"loaded: {heavy}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
