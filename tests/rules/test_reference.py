"""The API reference and its docstrings."""

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import rnnbench
from rnnbench.report.notebook import FastestModule, FrameResult

FUNCTIONS = [name for name in rnnbench.__all__ if name != "plot"]  # which is a module
WITHOUT_TIMES = {"compare", "same_weights", "unroll", "with_head"}  # so that there is no unit to tell
PUBLIC: dict[str, Callable[..., object]] = {name: getattr(rnnbench, name) for name in FUNCTIONS}


@pytest.mark.parametrize("name", list(PUBLIC))
def test_a_docstring_names_every_argument_what_is_raised_and_shows_a_call(name: str) -> None:
    text = inspect.getdoc(PUBLIC[name]) or ""
    arguments = set(inspect.signature(PUBLIC[name]).parameters) - {"self"}
    assert {argument for argument in arguments if f"`{argument}`" not in text} == set()
    assert f"    rnnbench.{name}(" in text or f" = rnnbench.{name}(" in text
    assert "Error" in text
    assert "second" in text or name in WITHOUT_TIMES


@pytest.mark.parametrize("name", rnnbench.plot.__all__)
def test_a_figures_docstring_says_what_its_panels_are_and_names_its_own_arguments(name: str) -> None:
    draw = getattr(rnnbench.plot, name)
    text = inspect.getdoc(draw) or ""
    shared = inspect.getdoc(rnnbench.plot) or ""
    arguments = set(inspect.signature(draw).parameters) - {"frame"}
    assert {argument for argument in arguments if f"`{argument}`" not in text + shared} == set()
    assert "panel" in text
    assert "ValueError" in shared


@pytest.mark.parametrize("result", [FrameResult, FastestModule])
def test_every_part_of_a_result_has_a_docstring(result: type) -> None:
    for name, member in vars(result).items():
        if not name.startswith("_") and (callable(member) or isinstance(member, property)):
            assert member.__doc__, name


def test_the_reference_has_a_page_for_each_module_and_every_public_name(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.rules.reference", str(tmp_path / "docs")]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    page = Path(done.stdout.strip())
    text = page.read_text()
    assert [name for name in FUNCTIONS if f'id="{name}"' not in text] == []
    pages = {str(file.relative_to(page.parent)) for file in page.parent.rglob("*.html")}
    assert pages == {
        "index.html",
        "rnnbench.html",
        "rnnbench/errors.html",
        "rnnbench/plot.html",
        "rnnbench/pytest_plugin.html",
        "rnnbench/pytest_plugin/assertions.html",
        "rnnbench/report/notebook.html",
    }
