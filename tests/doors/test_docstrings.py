"""The examples of all docstrings run as they stand: those of functions by themselves, those of the plugin by pytest."""

import ast
import re
import shutil
import textwrap
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch
from torch import nn

import rnnbench
from tests.pytest_plugin.conftest import BOTH

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "rnnbench"
RUNS = {  # that examples name -> a stored one
    "quick-20260101T120000Z-ab12": "quick-*",
    "quick-20260102T120000Z-cd34": "quick-*",
    "ladder-20260101T120000Z-ab12": "ladder-*",
}
CALL = re.compile(r"\brnnbench(\.\w+)+\(|rnnbench_case")
INDENTED = re.compile(r"(?:^    .*\n|^\n(?=    ))+", re.MULTILINE)
FEWEST = 14  # examples that there are
BUDGETS = {"measure": "0.2s", "sweep": "0.2s", "explain": "0.2s", "fastest": "0.2s", "assert_not_slower": "1s"}


def examples() -> Iterator[tuple[str, str]]:
    """Yield the blocks of all docstrings that call rnnbench, each with the place that it stands at."""
    for file in sorted(PACKAGE.rglob("*.py")):
        source = file.read_text()
        for node in ast.walk(ast.parse(source)) if CALL.search(source) else ():  # every worker of a test run does this
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = (ast.get_docstring(node) or "") + "\n"
                place = f"{file.relative_to(ROOT)}:{getattr(node, 'name', '')}"
                yield from ((place, textwrap.dedent(block)) for block in INDENTED.findall(text) if CALL.search(block))


EXAMPLES = list(examples())
OF_PYTEST = [block for _, block in EXAMPLES if "def test_" in block]
OF_FUNCTIONS = [(place, block) for place, block in EXAMPLES if "def test_" not in block]


class MyCell(nn.LSTMCell):
    """A cell of the reader's."""


class MyLSTM(nn.LSTM):
    """A layer of the reader's."""


def within(function: Callable[..., Any], budget: str) -> Callable[..., Any]:
    """A function with a small budget; what this budget does not decide is left open."""
    more = {"undecided": "pass"} if function is rnnbench.assert_not_slower else {}

    @wraps(function)
    def called(*given: Any, **named: Any) -> Any:
        return function(*given, **named | more | {"budget": budget})

    return called


def with_small_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, budget in BUDGETS.items():
        monkeypatch.setattr(rnnbench, name, within(getattr(rnnbench, name), budget))


def nothing_made(block: str, place: str, names: dict[str, Any]) -> list[str]:
    """Run a block among these names, to which it adds its own; return those that it gives to nothing."""
    before = dict(names)
    exec(compile(block, place, "exec"), names)
    return [name for name, value in names.items() if value is None and before.get(name, ...) is not None]


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names and the files that an example takes for granted, in an empty folder."""
    for run, pattern in RUNS.items():
        shutil.copytree(next((ROOT / "results").glob(pattern)), tmp_path / "results" / run)
    stored = rnnbench.load(tmp_path / "results" / next(iter(RUNS)))
    stored.frame.to_parquet(tmp_path / "cases.parquet")
    stored.windows.to_parquet(tmp_path / "windows.parquet")
    monkeypatch.chdir(tmp_path)
    with_small_budgets(monkeypatch)
    more = {"MyCell": MyCell, "MyLSTM": MyLSTM, "mine": MyLSTM(64, 128), "ax": plt.figure().add_subplot()}
    return {"rnnbench": rnnbench, "torch": torch, "nn": nn, "pd": pd, "__name__": "example", **more}


def test_every_public_function_has_an_example() -> None:
    called = {name for _, block in EXAMPLES for name in re.findall(r"\brnnbench\.(\w+)", block)}
    assert set(rnnbench.__all__) - called == {"UserError"}
    assert len(EXAMPLES) >= FEWEST


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("place", "block"), OF_FUNCTIONS, ids=[place for place, _ in OF_FUNCTIONS])
def test_the_example_of_a_function_runs_as_it_stands(place: str, block: str, names: dict[str, Any]) -> None:
    assert nothing_made(block, place, names) == []
    plt.close("all")


SUITE = """
name = "mine"
[measure]
replicates = 4
[[sweep]]
cell = "lstm"
implementation = ["loop"]
phase = "inference"
batch_size = 1
seq_len = 4
input_size = 4
hidden_size = 4
"""


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("block", OF_PYTEST, ids=["cases", "assertion"])
def test_the_examples_of_the_plugin_pass(
    block: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # pytest-benchmark would disable itself under xdist
    with_small_budgets(monkeypatch)
    monkeypatch.setattr("rnnbench.api.live.assert_not_slower", rnnbench.assert_not_slower)
    pytester.path.joinpath("mine.toml").write_text(SUITE)
    test = "\n".join(line for line in block.splitlines() if not line.startswith("pytest "))
    head = "import pytest, torch\nfrom torch import nn\nfrom tests.doors.test_docstrings import MyLSTM\n\n"
    pytester.makepyfile(head + test)
    pytester.syspathinsert(ROOT)
    ended = pytester.runpytest_inprocess("-q", "-rs", plugins=BOTH)
    is_open = ": undecided" in ended.stdout.str()  # on a busy machine this budget may give no answer
    ended.assert_outcomes(passed=int(not is_open), skipped=int(is_open))
