"""The rules of the code: which folders ("rooms") of the package may import which, their size, and clocks."""

import ast
import graphlib
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from tests.doubles import commands

PACKAGE = Path(__file__).parents[2] / "rnnbench"
BELOW_API = {"profiling", "speedup", "analysis", "harness", "workloads", "adapt", "cells", "suite", "store"}
# Which rooms a room may import. Rooms with rooms inside appear again below, with those inner rooms.
ALLOWED = {
    "store": set(),
    "cells": {"store"},
    "suite": {"cells", "store"},
    "adapt": {"cells", "store"},
    "kernels": {"store"},
    "workloads": {"kernels", "adapt", "cells", "store"},
    "analysis": {"suite", "store"},
    "harness": {"workloads", "kernels", "adapt", "cells", "analysis", "suite", "store"},
    "check": {"harness", "cells", "analysis", "suite", "store"},
    "profiling": {"harness", "workloads", "kernels", "cells", "analysis", "suite", "store"},
    "speedup": {"harness", "workloads", "kernels", "adapt", "cells", "analysis", "store"},
    "report": {"profiling", "speedup", "check", "analysis", "suite", "store", "harness"},
    "api": {"report", "check", *BELOW_API},
    "slurm": {"report", "harness", "analysis", "suite", "store"},
    "pytest_plugin": {
        "api",
        "report",
        "analysis",
        "harness",
        "workloads",
        "kernels",
        "adapt",
        "cells",
        "suite",
        "store",
    },
    "harness/machine": set(),
    "harness/devices": {"machine"},
    "harness/turns": {"devices"},
    "harness/live": {"turns", "devices", "machine"},
    "harness/worker": {"turns", "devices", "machine"},
    "harness/coordinator": {"turns", "devices", "machine"},
    "report/words": set(),
    "report/drawing": {"words"},
    "report/page": {"drawing", "words"},
    "report/screen": {"words"},
    "report/verdicts": {"drawing", "page", "words"},
}
# The most statements of a room, docstrings left out: what it has. A new capability says what it replaces.
MAX_STATEMENTS = {
    ".": 290,
    "adapt": 1070,
    "analysis": 2020,
    "api": 220,
    "cells": 670,
    "cli": 890,
    "check": 1760,
    "harness": 5860,
    "kernels": 820,
    "profiling": 1240,
    "pytest_plugin": 210,
    "report": 4550,
    "speedup": 1650,
    "slurm": 360,
    "store": 960,
    "suite": 610,
    "workloads": 1560,
}
MAX_ALL_MODULES = 275  # of the package
MAX_TEST_STATEMENTS = 26_700
MAX_MODULES = 20  # in a folder, without `__init__.py`
# What times live modules until enough is known, which takes many times as long on a machine whose cores are shared.
LIVE = {"measure", "sweep", "explain", "assert_not_slower"}
# Calls that read a clock which can be set, and the modules that may: for a run's folder, its `started`, ages of files.
MAY_BE_SET = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("date", "today")}
NAMES_A_RUN = {"store/folder.py", "store/run_info.py", "slurm/sweep.py", "store/user_cache.py"}


def modules() -> dict[str, Path]:
    """The file of every module of the package, by its name."""
    files = {".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts): file for file in PACKAGE.rglob("*.py")}
    return {name.removesuffix(".__init__"): file for name, file in files.items()}


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


@cache
def imports(file: Path) -> frozenset[str]:
    """Every module and every name that a file imports, at its top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def test_every_folder_of_the_package_is_a_room_with_a_rule() -> None:
    folders = {file.parent.relative_to(PACKAGE).as_posix() for file in PACKAGE.rglob("*.py")}
    with_rooms = {room.partition("/")[0] for room in ALLOWED if "/" in room}
    for folder in folders - {".", "cli"}:
        room, *inner = folder.split("/")
        assert (f"{room}/{inner[0]}" if room in with_rooms and inner else room) in ALLOWED
    assert set(ALLOWED) <= folders


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_the_rooms_below_it(room: str) -> None:
    above, _, own = room.rpartition("/")
    prefix = ".".join(["rnnbench", *filter(None, [above])]) + "."
    beside = {other.rpartition("/")[2] for other in ALLOWED if other.rpartition("/")[0] == above}
    for file in (PACKAGE / room).rglob("*.py"):
        used = {name.removeprefix(prefix).split(".")[0] for name in imports(file) if name.startswith(prefix)} & beside
        assert used <= ALLOWED[room] | {own}, file


def test_no_modules_import_each_other_in_a_circle() -> None:
    files = modules()
    graph = {
        name: {used if used in files else used.rpartition(".")[0] for used in imports(file)} & files.keys() - {name}
        for name, file in files.items()
    }
    in_order = list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which shows the circle
    assert set(in_order) == files.keys()


def test_no_folder_is_a_corridor_of_modules() -> None:
    for folder in {file.parent for file in PACKAGE.rglob("*.py")}:
        assert len(list(folder.glob("*.py"))) - 1 <= MAX_MODULES, folder


@pytest.mark.parametrize("room", ["store", "cells", "kernels", "workloads", "harness", "check", "analysis"])
def test_only_the_classes_of_devices_ask_which_device_it_is(room: str) -> None:
    for file in (PACKAGE / room).rglob("*.py"):
        if "devices" in file.parts:
            continue
        for node in ast.walk(parsed(file)):
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
        "rnnbench.slurm.sweep",
        "rnnbench.report.screen.progress",
        "rnnbench.store.frames",
    ],
)
def test_the_coordinator_does_not_load_torch(module: str) -> None:
    code = f"import {module}, sys; sys.exit('torch' in sys.modules or 'submitit' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


HEAVY = {"torch", "pandas", "numpy", "scipy", "matplotlib", "jinja2", "pydantic", "pydantic_core", "rich", "psutil"}
READS_SUITES = {"pydantic", "pydantic_core"}
QUICK = """
import contextlib, io, sys
from rnnbench import cli

def helps(command, path=()):
    yield [*path, "--help"]
    for name, inner in getattr(command, "commands", {}).items():
        yield from helps(inner, (*path, name))

for words in [*helps(cli.cli), *LISTS]:
    sys.argv = ["rnnbench", *words]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            cli.run_and_exit()
        except SystemExit as end:
            code = end.code
    heavy = (HEAVY - ALLOWED if words in LISTS else HEAVY) & sys.modules.keys()
    if code or heavy or not said.getvalue():
        sys.exit(f"{words}: code {code}, loaded: {heavy}")
"""


def test_no_help_and_no_list_loads_anything_heavy(tmp_path: Path) -> None:
    """Nobody waits for a list; pydantic, which takes a tenth of a second to import, reads suites."""
    (tmp_path / "mine.toml").write_text(commands.MINE)
    (tmp_path / "mine.py").write_text(commands.cells())
    listed = ["suites", "cells", "metrics", "cases quick --only cell=gru", "cases mine.toml", "cases mine.py:Mine"]
    code = (
        f"HEAVY = {HEAVY}\nALLOWED = {READS_SUITES}\nLISTS = {[['list', *words.split()] for words in listed]}\n{QUICK}"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_type_name_stands_for_one_thing() -> None:
    owners: dict[str, set[str]] = {}
    for name, file in modules().items():
        for node in parsed(file).body:
            if isinstance(node, ast.ClassDef):
                owners.setdefault(node.name, set()).add(name)
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                alias = node.targets[0].id
                if alias[0].isupper() and not alias.isupper():
                    owners.setdefault(alias, set()).add(name)
    assert {name: definitions for name, definitions in owners.items() if len(definitions) > 1} == {}


def overloads(node: ast.FunctionDef | ast.ClassDef) -> bool:
    """Whether a definition is only a signature of the function that follows."""
    return any(isinstance(part, ast.Name) and part.id == "overload" for part in node.decorator_list)


def test_no_name_of_a_module_is_defined_twice() -> None:
    """The first definition would be lost, unnoticed."""
    twice = {}
    for name, file in modules().items():
        body = parsed(file).body
        names = [node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef) and not overloads(node)]
        assigned = [node for node in body if isinstance(node, ast.Assign)]
        names += [target.id for node in assigned for target in node.targets if isinstance(target, ast.Name)]
        if repeated := {each for each in names if names.count(each) > 1}:
            twice[name] = repeated
    assert twice == {}


def messages(file: Path) -> list[str]:
    """All strings in the `raise` statements of a file."""
    raised = (node for node in ast.walk(parsed(file)) if isinstance(node, ast.Raise) and node.exc)
    parts = (part for node in raised for part in ast.walk(node) if isinstance(part, ast.Constant))
    return [part.value for part in parts if isinstance(part.value, str)]


def test_the_docstring_of_a_function_begins_with_a_verb() -> None:
    """Those of properties, and of commands, whose help they are, may name what there is."""
    nouns = re.compile(r"(The|An?|All|Each|Every|Whether|What|Which|Where|Why|How|Those) ")
    for file in PACKAGE.rglob("*.py"):
        functions = [node for node in ast.walk(parsed(file)) if isinstance(node, ast.FunctionDef)]
        for function in () if "cli" in file.parts else functions:
            is_property = any(isinstance(each, ast.Name) and "property" in each.id for each in function.decorator_list)
            is_noun = not is_property and nouns.match(ast.get_docstring(function) or "")
            assert not is_noun, f"{file}:{function.lineno}: {function.name}"


def test_only_the_command_line_names_its_options_in_messages() -> None:
    """A function's caller has no options; the command line adds their names to the function's message."""
    others = {
        name: file for name, file in modules().items() if not name.startswith(("rnnbench.cli", "rnnbench.pytest"))
    }
    named = {
        name: text
        for name, file in others.items()
        for text in messages(file)
        if re.search(r"(?<![\w-])--[a-z]", text) and not re.search(r"\b(rnnbench|pytest|pip) ", text)
    }
    assert named == {}


def statements_of(file: Path) -> int:
    """How many statements a file has, docstrings left out."""
    nodes = [node for node in ast.walk(parsed(file)) if isinstance(node, ast.stmt)]
    docstrings = sum(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in nodes)
    return len(nodes) - docstrings


def test_no_room_outgrows_its_ceiling() -> None:
    statements: Counter[str] = Counter()
    for file in PACKAGE.rglob("*.py"):
        folder = file.relative_to(PACKAGE).parts[0] if file.parent != PACKAGE else "."
        statements[folder] += statements_of(file)
    assert {room: number for room, number in statements.items() if number > MAX_STATEMENTS[room]} == {}
    assert len(modules()) <= MAX_ALL_MODULES
    assert sum(map(statements_of, (PACKAGE.parent / "tests").rglob("*.py"))) <= MAX_TEST_STATEMENTS


def test_only_the_names_of_runs_and_their_start_come_from_a_clock_that_can_be_set() -> None:
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(parsed(file)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                read = (node.value.id, node.attr) in MAY_BE_SET
                assert not read or str(file.relative_to(PACKAGE)) in NAMES_A_RUN, f"{file}:{node.lineno}"


def test_no_test_waits_until_the_times_of_live_modules_hold() -> None:
    """Every file of tests that times some has the fixture `short_turns`, but those that judge the times of a GPU."""
    tests = PACKAGE.parent / "tests"
    waiting: set[str] = set()
    for file in tests.rglob("test_*.py"):
        called = {ast.unparse(node.func) for node in ast.walk(parsed(file)) if isinstance(node, ast.Call)}
        times_some = any(f"rnnbench.{name}" in called | (imports(file) if name in called else set()) for name in LIVE)
        if times_some and '"short_turns"' not in file.read_text():
            waiting.add(str(file.relative_to(tests)))
    assert waiting == {"gpu/test_more.py"}
