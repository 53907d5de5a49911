"""The plugin in the pytest of people who do not use it."""

import importlib
import subprocess
import sys
import tomllib

import pytest

from tests.pytest_plugin.conftest import ROOT, Run

pytest_plugins = ["pytester"]


def test_it_is_an_entry_point_that_can_be_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [(name, module)] = project["entry-points"]["pytest11"].items()
    assert name == "rnnbench"
    assert hasattr(importlib.import_module(module), "pytest_addoption")


def test_loading_it_loads_nothing_heavy() -> None:
    code = """
import pytest, sys
before = set(sys.modules)
import rnnbench.pytest_plugin
known = {"torch", "pandas", "numpy", "scipy", "pydantic", "rich", "click", "pytest_benchmark"}
heavy = known & (set(sys.modules) - before)
sys.exit(f"loaded: {heavy}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_tests_that_do_not_use_it_run_as_before_with_its_marker_known(
    isolated: pytest.Pytester, in_process: Run
) -> None:
    isolated.makepyfile("def test_plain(): pass")
    in_process("--strict-markers", "-W", "error").assert_outcomes(passed=1)
    shown = in_process("--markers").stdout.str()
    assert "@pytest.mark.rnnbench(suite, budget, precision, phase, undecided)" in shown
