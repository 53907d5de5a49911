"""Every block of code of every page: Python is run as it stands, commands are parsed, files are read."""

import re
import shlex
import shutil
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import click
import matplotlib.pyplot as plt
import pytest
import torch
import yaml
from torch import nn

import rnnbench
from rnnbench.cli import cli
from rnnbench.suite import suites
from rnnbench.suite.accepted import AcceptedFile
from tests.doors.test_docstrings import RUNS, MyCell, MyLSTM, nothing_made, with_small_budgets
from tests.rules import front_page
from tests.rules.test_pages import pages

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```\w*\n([\s\S]*?)^```$|((?:^ {4,}.*\n|^\n(?=\n* {4,}))+)", re.MULTILINE)
PYTHON = re.compile(r"^(?:import|from|class|def) |^[\w, ]+ = |rnnbench\.\w+\(", re.MULTILINE)
COMMAND = re.compile(r"^(?:rnnbench (?!=)|pip|python3?|make|pytest|git|gh|for|first=\S+|export \w+)", re.MULTILINE)


def blocks(name: str) -> list[str]:
    """Return the blocks of code of a page, without their indentation."""
    text = (ROOT / name).read_text()
    return [textwrap.dedent(fenced or indented).strip("\n") + "\n" for fenced, indented in BLOCK.findall(text)]


def kind(block: str) -> str:
    """Return what a block is: `toml`, `yaml`, `commands`, `python`, or `output`, which a command prints."""
    if "[[sweep]]" in block or "[[accepted]]" in block:
        return "toml"
    if re.search(r"^(?:on|name|include): ?", block, re.MULTILINE):
        return "yaml"
    if COMMAND.search(block):
        return "commands"
    return "python" if PYTHON.search(block) else "output"


def of_kind(wanted: str) -> dict[str, list[str]]:
    """Return the blocks of a kind, by the page that they are on."""
    found = {name: [block for block in blocks(name) if kind(block) == wanted] for name in pages()}
    return {name: own for name, own in found.items() if own}


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names and files that the pages take for granted, in an empty folder."""
    for run, pattern in RUNS.items():
        shutil.copytree(next((ROOT / "results").glob(pattern)), tmp_path / "results" / run)
    (tmp_path / "my_cell.py").write_text(front_page.cell_file((ROOT / "README.md").read_text()))
    layer = nn.GRU(64, 256)
    input = torch.randn(16, 8, 64)
    rnnbench.fastest(nn.GRU(64, 128), input, budget=0.01, progress=False).frame.to_csv(tmp_path / "ways.csv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with_small_budgets(monkeypatch)
    cells = {"MyCell": MyCell, "MyLSTM": MyLSTM, "MyGRU": nn.GRU}
    made = {"layer": layer, "input": input, "mine": nn.GRU(64, 256)}
    return {"rnnbench": rnnbench, "torch": torch, "nn": nn, "__name__": "page", **cells, **made}


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", of_kind("python"))
def test_the_python_of_a_page_runs_as_it_stands(name: str, names: dict[str, Any]) -> None:
    for block in of_kind("python")[name]:
        assert nothing_made(block, name, names) == [], block
    for test in [each for key, each in names.items() if key.startswith("test_")]:
        test(rnnbench)
    plt.close("all")


@pytest.mark.slow
def test_the_table_that_the_page_for_papers_selects_has_no_sign_that_latex_refuses(names: dict[str, Any]) -> None:
    for block in of_kind("python")["docs/paper.md"]:
        nothing_made(block, "docs/paper.md", names)
    assert not re.search(r"(?<!\\)[_%#]", names["table"])
    plt.close("all")


@pytest.mark.parametrize("name", of_kind("commands"))
def test_every_command_of_a_page_has_only_options_that_there_are(name: str) -> None:
    for block in of_kind("commands")[name]:
        for line in re.findall(r"(?:^|\s|\()(rnnbench [a-z][^|>\n]*)", block.replace("\\\n", " ")):
            words = shlex.split(line.partition("    #")[0], comments=True)[1:]
            command = cli.commands[words[0]]
            group = words[1:]
            if isinstance(command, click.Group):
                command = command.commands[words[1]]
                group = words[2:]
            _, too_many, _ = command.make_parser(click.Context(command, help_option_names=["-h", "--help"])).parse_args(
                group
            )
            assert too_many == [], line


def test_every_file_that_a_page_shows_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "suite.toml"
    for block in (each for own in of_kind("toml").values() for each in own):
        if "[[accepted]]" in block:
            assert AcceptedFile.model_validate(tomllib.loads(block)).accepted
            continue
        file.write_text(block)
        for cell, name in re.findall(r"(\w+\.py):(\w+)", block):
            (tmp_path / cell).write_text(f"class {name}: ...")
        assert suites.read_suite(str(file)).sweep
    for block in (each for own in of_kind("yaml").values() for each in own):
        assert isinstance(yaml.safe_load(block), dict)


def test_what_is_no_code_is_introduced_as_what_something_says() -> None:
    """So no block of code is taken for output, which no test runs."""
    for name, own in of_kind("output").items():
        text = (ROOT / name).read_text()
        for block in own:
            before = text.partition(block.splitlines()[0])[0].rstrip()
            assert before.endswith((":", "```")), f"{name}: {block}"
