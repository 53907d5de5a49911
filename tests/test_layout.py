"""The rules of the rooms, read off the imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "rnnbench"
ROOMS = ("cells", "workloads", "measure", "store", "analysis", "report", "pytest_plugin")
ALLOWED = {
    "store": set(),
    "cells": {"store"},
    "workloads": {"cells", "store"},
    "measure": {"workloads", "cells", "analysis", "store"},
    "analysis": {"store"},
    "report": {"analysis", "store", "measure"},
    "pytest_plugin": {"report", "analysis", "measure", "cells", "store"},
}


def imports(file: Path) -> set[str]:
    """Every module that a file imports, whether at its top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_below_it(room: str) -> None:
    for file in (PACKAGE / room).rglob("*.py"):
        used = {name.split(".")[1] for name in imports(file) if name.startswith("rnnbench.")} & set(ROOMS)
        assert used <= ALLOWED[room] | {room}, file


@pytest.mark.parametrize("room", ["store", "cells", "workloads", "measure", "analysis"])
def test_only_the_classes_of_devices_ask_which_device_it_is(room: str) -> None:
    for file in (PACKAGE / room).rglob("*.py"):
        if "devices" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Compare | ast.Match | ast.Subscript):
                constants = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
                assert not constants & {"cpu", "cuda"}, f"{file}:{node.lineno}"


@pytest.mark.parametrize("room", ["store", "analysis", "report"])
def test_what_reads_results_never_imports_torch(room: str) -> None:
    for file in (PACKAGE / room).rglob("*.py"):
        assert not any(name.split(".")[0] in ("torch", "torchinfo") for name in imports(file)), file


@pytest.mark.parametrize(
    "module",
    [
        "rnnbench.cli",
        "rnnbench.harness.coordinator.session",
        "rnnbench.harness.slurm.sweep",
        "rnnbench.report.progress",
        "rnnbench.store.frame",
    ],
)
def test_the_coordinator_does_not_load_torch(module: str) -> None:
    code = f"import {module}, sys; sys.exit('torch' in sys.modules or 'submitit' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_help_loads_nothing_heavy() -> None:
    code = """
import sys, rnnbench.cli
heavy = {"torch", "pandas", "numpy", "scipy", "matplotlib", "jinja2", "pydantic", "rich", "psutil"} & sys.modules.keys()
sys.exit(f"loaded: {heavy}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
