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


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        ('("ci")', "it takes names only, such as suite='mine.toml'; found 'ci'"),
        ('(suit="ci")', "no key 'suit' (did you mean 'suite'?); there are suite, budget"),
        ('(suite="ci", only="cell=lstm")', "no key 'only'"),
    ],
)
def test_a_wrong_marker_of_a_case_is_an_error_at_collection(
    isolated: pytest.Pytester, in_process: Run, marker: str, words: str
) -> None:
    isolated.makepyfile(
        f"import pytest\n\n@pytest.mark.rnnbench{marker}\ndef test_case(rnnbench_case): rnnbench_case()"
    )
    result = in_process()
    result.assert_outcomes(errors=1)
    assert f"test_case: marker rnnbench: {words}" in result.stdout.str()


def test_a_case_that_is_never_called_fails(isolated: pytest.Pytester, in_process: Run) -> None:
    isolated.makepyfile(
        "import pytest\n\n"
        "def test_passes(rnnbench_case): pass\n\n"
        "def test_skips(rnnbench_case): pytest.skip('not today')\n"
    )
    only = "cell=lstm implementation=loop phase=inference batch_size=1 seq_len=16 hidden_size=64"
    result = in_process("--rnnbench-only", only)
    result.assert_outcomes(failed=2, skipped=2)  # the case, and its reference
    assert "rnnbench_case was not called, so nothing was measured; write rnnbench_case()" in result.stdout.str()
