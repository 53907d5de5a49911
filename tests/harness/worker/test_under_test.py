"""Where a worker's modules and files come from, and what a case may run, in small trees, before and after an edit."""

import importlib
import os
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.harness.protocol import Reply
from rnnbench.harness.worker.__main__ import import_path
from rnnbench.harness.worker.under_test import Tracer, UsedFiles, UserModules, reach
from rnnbench.workloads.phases import TimedCall


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder; what is imported from it, and from where, is forgotten at the end."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder: Path, **texts: str) -> None:
    """Write modules; `__` in a name is a slash."""
    for name, text in texts.items():
        file = folder / f"{name.replace('__', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def test_each_module_is_told_once_with_its_file_but_torch_and_pythons_own(folder: Path) -> None:
    write(folder, first_of_test="", second_of_test="", space__inner_of_test="")
    sys.path.append(str(folder))
    used = UsedFiles()
    importlib.import_module("first_of_test")
    imported = used.new()["imported"]
    assert imported["first_of_test"] == str(folder / "first_of_test.py")
    names = {name.partition(".")[0] for name in imported}
    assert {"pytest", "rnnbench"} <= names
    assert not names & {"torch", "os", "json", "__main__"}
    importlib.import_module("second_of_test")
    importlib.import_module("space.inner_of_test")  # in a namespace package, which has no file itself
    assert used.new()["imported"] == {
        "second_of_test": str(folder / "second_of_test.py"),
        "space.inner_of_test": str(folder / "space" / "inner_of_test.py"),
    }


def test_a_module_that_would_do_something_when_it_is_asked_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Touchy(ModuleType):
        def __getattribute__(self, name: str) -> object:
            raise AssertionError(name)

    monkeypatch.setitem(sys.modules, "touchy_of_test", Touchy("touchy_of_test"))
    monkeypatch.setitem(sys.modules, "none_of_test", None)
    assert not {"touchy_of_test", "none_of_test"} & UsedFiles().new()["imported"].keys()


def test_a_file_that_is_opened_is_told_once_and_by_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cfg.json").write_text("1")
    used = UsedFiles()
    used.watch()
    monkeypatch.chdir(tmp_path)
    os.close(os.open(b"cfg.json", os.O_RDONLY))
    monkeypatch.chdir("/")
    assert used.new()["opened"] == [str(tmp_path / "cfg.json")]
    (tmp_path / "cfg.json").read_bytes()
    Path(os.__file__).read_bytes()  # Python's own
    os.fdopen(os.dup(2)).close()
    assert used.new()["opened"] == []


@pytest.mark.parametrize(
    ("name", "current", "value"),
    [
        ("mine_named.cells", ".", "from beside"),
        ("mine_in_src", ".", "from src"),  # a package there need not be installed
        ("mine_in_src", "bench", "from src"),
        ("mine_twice", "bench", "from bench"),  # and not from where another is installed
    ],
)
def test_a_module_that_a_suite_names_comes_from_the_current_folder_or_its_project(
    folder: Path, name: str, current: str, value: str
) -> None:
    write(folder, mine_named__cells="from mine_beside import value\n", mine_beside="value = 'from beside'\n")
    write(folder, yaml="raise SystemExit('not asked for')\n", src__mine_in_src="value = 'from src'\n")
    write(folder, installed__mine_twice="value = 'installed'\n", bench__mine_twice="value = 'from bench'\n")
    (folder / "pyproject.toml").touch()
    sys.path.append(str(folder / "installed"))
    UserModules(folder / current).add(f"{name}:Cell", Path("/"))
    assert importlib.import_module(name).value == value


@pytest.mark.parametrize(
    ("cell", "has_current"), [("gru", 1), ("random:Cell", 1), ("mine_no:Cell", 1), ("random:C", 0)]
)
def test_nothing_else_makes_the_current_folder_importable(folder: Path, cell: str, has_current: int) -> None:
    write(folder, random="raise SystemExit('not asked for')\n")
    before = list(sys.path)
    UserModules(folder if has_current else None).add(cell, folder)
    assert sys.path == before


def test_a_file_of_cells_imports_what_lies_beside_it_and_hides_nothing(folder: Path) -> None:
    write(folder, cells__mine_helper="value = 5\n", cells__json="raise SystemExit('not asked for')\n")
    UserModules(None).add("cells/mine.py:Cell", folder)
    assert importlib.import_module("mine_helper").value == 5
    assert sys.path[-1] == str(folder / "cells")


STANDARD = [sysconfig.get_path("stdlib"), f"{sysconfig.get_path('platstdlib')}/lib-dynload"]


@given(
    st.lists(st.sampled_from([*STANDARD, "", "/site-packages", "/a", "/b"]), unique=True), st.lists(st.just("/mine"))
)
def test_the_standard_library_comes_first_and_nothing_is_lost(entries: list[str], first: list[str]) -> None:
    path = import_path(entries, first)
    standard = [entry for entry in entries if entry in STANDARD]
    assert path[: len(standard)] == standard
    assert path[len(standard) :][: len(set(first))] == list(dict.fromkeys(first))
    assert set(path) == {*entries, *first}


MAIN = """
import functools
import subprocess, importlib
import torch
import of_test.helpers as helpers
from of_test.helpers import Helper, decorated, TABLE
{top}
class Cell(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0
        {init}
    def forward(self, x):
        self.calls += 1
        if self.calls > 50:
            {late}
        {call}
        return x
"""
HELPERS = """
import torch
class Root:
    def run(self, x):
        return self.inherited(x)
    def inherited(self, x):
        return x + 1
class Helper(Root):
    def own(self, x):
        return x
def decorated(function):
    def call(*arguments):
        return function(*arguments)
    return call
def fast(x):
    return x
def slow(x):
    "It is slow."
    return x + 1  # slowly
@torch.no_grad()
def without(x):
    return x + 1
TABLE = {"slow": slow}
CONSTANT = 2
def unrelated(x):
    return x + 1
"""
RARE = "from of_test import deep\ndef work(x):\n    return deep.work(x)\n"
DEEP = "def work(x):\n    return x + 1\n"
SLOW = ("    return x + 1  # slowly", "    return x + 2")


@pytest.fixture(autouse=True)
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The modules of a test are forgotten after it, and before it what other tests have compiled in this process."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    if dynamo := sys.modules.get("torch._dynamo.utils"):
        dynamo.counters["frames"].clear()
    yield
    forget()


def forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "of_test"]:
        del sys.modules[name]


def reached(folder: Path, *edit: str, top: str = "", init: str = "", late: str = "pass", call: str = "") -> Reply:
    """What the cell of a tree may run; `edit`: a file, an old text and the new one."""
    package = folder / "of_test"
    package.mkdir(parents=True)
    texts = {"__init__": "", "helpers": HELPERS, "rare": RARE, "deep": DEEP}
    texts["main"] = MAIN.format(top=top, init=init, late=late, call=call)
    if edit:
        file, old, new = edit
        assert old in texts[file]
        texts[file] = texts[file].replace(old, new)
    for name, text in texts.items():
        (package / f"{name}.py").write_text(text)
    forget()
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    tracer = Tracer(str(folder))
    with tracer.following(tracer.doubts):
        main: Any = importlib.import_module("of_test.main")

    def build() -> Any:
        cell = main.Cell()
        timed = TimedCall(lambda: cell(1), main.torch.enable_grad)
        return SimpleNamespace(case=SimpleNamespace(implementation="loop"), timed_call=lambda: timed)

    try:
        return reach(tracer, build)
    finally:
        sys.path.remove(str(folder))


@pytest.mark.parametrize(
    ("body", "edit"),
    [
        ({"late": "x = helpers.slow(x)"}, ("helpers", *SLOW)),
        ({"late": "x = TABLE['slow'](x)"}, ("helpers", *SLOW)),
        ({"late": "x = getattr(helpers, 'sl' + 'ow')(x)"}, ("helpers", *SLOW)),
        ({"late": "module = helpers; x = module.slow(x)"}, ("helpers", *SLOW)),
        ({"init": "self.rare = functools.partial(helpers.slow)", "late": "x = self.rare(x)"}, ("helpers", *SLOW)),
        ({"init": "self.rare = functools.lru_cache(helpers.slow)", "late": "x = self.rare(x)"}, ("helpers", *SLOW)),
        ({"late": "x = helpers.without(x)"}, ("helpers", "    return x + 1\nTABLE", "    return x + 2\nTABLE")),
        ({"late": "x = Helper().run(x)"}, ("helpers", "return x + 1\nclass Helper", "return x + 2\nclass Helper")),
        ({"late": "x = Helper().run(x)"}, ("helpers", "def own(", "def inherited(")),
        ({"top": "@decorated\ndef wrapped(x): return helpers.slow(x)", "late": "x = wrapped(x)"}, ("helpers", *SLOW)),
        ({"top": "def late(x, by=helpers.slow): return by(x)", "late": "x = late(x)"}, ("helpers", *SLOW)),
        ({"top": "helpers.fast = lambda x: x - 1", "call": "x = helpers.fast(x)"}, ("main", "x - 1", "x - 2")),
        ({"late": "from of_test.rare import work; x = work(x)"}, ("deep", "x + 1", "x + 2")),
        ({"late": "from of_test import rare; x = rare.work(x)"}, ("rare", "deep.work(x)", "deep.work(x + 1)")),
        ({}, ("helpers", "CONSTANT = 2", "CONSTANT = 3")),
    ],
)
def test_code_that_a_later_call_may_run_counts(tmp_path: Path, body: Any, edit: Any) -> None:
    before = reached(tmp_path / "base", **body)
    after = reached(tmp_path / "head", *edit, **body)
    assert before["code"] != after["code"]
    assert before["doubts"] == after["doubts"] == []


@pytest.mark.parametrize(
    "edit",
    [
        ("helpers", "  # slowly", ""),
        ("helpers", "It is slow.", "It is slower."),
        ("helpers", "def unrelated(x):\n    return x + 1", "def unrelated(x):\n    return x + 2"),
        ("helpers", "import torch\n", "import torch\n\n\n"),
        ("deep", "x + 1", "x + 2"),
        ("helpers", "return x\ndef decorated", "return x + 2\ndef decorated"),  # a method of another class
    ],
)
def test_what_no_call_can_run_does_not_count(tmp_path: Path, edit: Any) -> None:
    before = reached(tmp_path / "base", late="x = helpers.slow(x)")
    after = reached(tmp_path / "head", *edit, late="x = helpers.slow(x)")
    assert before["code"] == after["code"]
    assert any("slow" in part for part in after["code"])


@pytest.mark.parametrize(
    ("body", "doubt"),
    [
        ({"init": "self.inner = torch.jit.script(torch.nn.Linear(1, 1))"}, "it is a TorchScript module"),
        ({"call": "subprocess.run(['true'])"}, "a process is started"),
        ({"top": "subprocess.run(['true'])"}, "a process is started"),
        ({"late": "importlib.import_module('of_test.' + 'deep')"}, "any code, by a name made at run time"),
        ({"late": "globals()['he' + 'lpers'].slow(x)"}, "any code, by a name made at run time"),
        ({"top": "pick = lambda name: globals()[name]", "late": "pick('he' + 'lpers').slow(x)"}, "any code, by a name"),
    ],
)
def test_what_can_not_be_followed_is_a_doubt(tmp_path: Path, body: Any, doubt: str) -> None:
    assert doubt in " ".join(reached(tmp_path, **body)["doubts"])


def test_what_a_thread_runs_counts(tmp_path: Path) -> None:
    space: dict[str, Any] = {}
    exec(compile("def fast(): pass", str(tmp_path / "mine.py"), "exec"), space)
    with Tracer(str(tmp_path)).following(set()) as ran:
        thread = threading.Thread(target=space["fast"])
        thread.start()
        thread.join()
    assert [code.co_name for code, _, _ in ran.values()] == ["fast"]
