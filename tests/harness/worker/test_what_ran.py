"""What a case may run, in small trees, before and after an edit."""

import importlib
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rnnbench.harness.protocol import Reply
from rnnbench.harness.worker import what_ran
from rnnbench.harness.worker.what_ran import Doubts, Tracer, reach
from rnnbench.workloads.phases import TimedCall

MAIN = """
import functools
import subprocess, importlib
import torch
import of_test.helpers as helpers
LATE = 1000
from of_test.helpers import Helper, decorated, TABLE
{top}
class Cell(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0
        {init}
    def forward(self, x):
        self.calls += 1
        if self.calls > LATE:
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


def reached(
    folder: Path, *edit: str, top: str = "", init: str = "", late: str = "pass", call: str = "", beside: str = "sys"
) -> Reply:
    """What the cell of a tree may run.

    `edit`: a file, an old text and the new one; `beside`: a module that was imported for another cell.
    """
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
        importlib.import_module(beside)
        main: Any = importlib.import_module("of_test.main")

    def build() -> Any:
        cell = main.Cell()
        timed = TimedCall(lambda: cell(1), main.torch.enable_grad)
        return SimpleNamespace(case=SimpleNamespace(implementation="loop"), timed_call=lambda: timed)

    try:
        return reach(tracer, build)
    finally:
        sys.path.remove(str(folder))


UNEDITED: dict[str, Reply] = {}  # by what is in the cell


def unedited(folder: Path, late: str = "pass") -> Reply:
    """What the cell may run before any edit; many edits are compared with the same one."""
    if late not in UNEDITED:
        UNEDITED[late] = reached(folder, late=late)
    return UNEDITED[late]


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
        ({"late": "x = helpers.CONSTANT"}, ("helpers", "CONSTANT = 2", "CONSTANT = 3")),
        ({"late": "from of_test.helpers import CONSTANT as C; x = C"}, ("helpers", "CONSTANT = 2", "CONSTANT = 3")),
        ({"top": "from of_test.helpers import *", "late": "x = CONSTANT"}, ("helpers", "CONSTANT = 2", "CONSTANT = 3")),
        (
            {"top": "from of_test.helpers import *", "late": "x = CONSTANT"},
            ("helpers", "import torch", "import torch\n__all__ = ['CONSTANT']"),
        ),
        ({"late": "x = LIMIT", "top": "LIMIT = 1"}, ("main", "LIMIT = 1", "LIMIT = 2")),
        ({"late": "x = pick(x)", "top": "pick = lambda x: x + 7"}, ("main", "x + 7", "x + 8")),
        ({"late": "x = KEPT[0](x)", "top": "KEPT = [lambda x: x + 7]"}, ("main", "x + 7", "x + 8")),
        ({"late": "x = Helper().own(x)"}, ("helpers", "def own(self, x):\n        return x", "def own(self, x): pass")),
        ({"late": "x = getattr(Helper(), 'o' + 'wn')(x)"}, ("helpers", "x):\n        return x\n", "x): pass\n")),
        ({"late": "x = Helper().run(x)"}, ("helpers", "    def own", "    def __init__(self): pass\n    def own")),
        ({"late": "x = Helper().run(x)"}, ("helpers", "class Root:", "class Root:\n    def __getattr__(s, n): pass")),
        ({"late": "x = Helper().run(x)"}, ("helpers", "class Root:", "class Root:\n    made = [].copy()")),
        ({"late": "x = Late.level", "top": "class Late:\n    level = 1"}, ("main", "level = 1", "level = 2")),
        (
            {"late": "x = Late()", "top": "class Late:\n    def __len__(self): return 1"},
            ("main", "return 1", "return 2"),
        ),
        (
            {"late": "self.train()"},
            ("main", "    def forward", "    def train(self, mode=True): pass\n    def forward"),
        ),
        ({"top": "from of_test.helpers import fast as f", "late": "x = f(x)"}, ("main", "fast as f", "slow as f")),
    ],
)
def test_code_that_a_later_call_may_run_counts(tmp_path: Path, body: Any, edit: Any) -> None:
    before = reached(tmp_path / "base", **body)
    after = reached(tmp_path / "head", *edit, **body)
    assert before["code"] != after["code"]
    assert before["doubts"] == after["doubts"] == []


@pytest.mark.parametrize(
    "statement",
    [
        "_ = torch.set_num_threads(torch.get_num_threads())",
        "import gc; gc.enable()",
        "LIB = torch.library.Library('mine_of_test', 'FRAGMENT')",
        "try: import nothing\nexcept ImportError: nothing = None",
        "helpers_of_all = {}; helpers_of_all[1] = 2",
        "CONSTANT = 3",  # after another value
        "def made(x=print()): pass",
        "@decorated\ndef further(): pass",  # by a function of the tree
        "class Made:\n    size = max(1, 2)",
    ],
)
@pytest.mark.parametrize("file", ["helpers", "main"])
def test_a_statement_that_may_do_more_than_bind_a_name_counts(tmp_path: Path, statement: str, file: str) -> None:
    old = (
        "CONSTANT = 2\n" if file == "helpers" else "LATE = 1000\nfrom of_test.helpers import Helper, decorated, TABLE\n"
    )
    text = statement.replace("CONSTANT = 3", "LATE = 1000") if file == "main" else statement
    before = unedited(tmp_path / "base")
    after = reached(tmp_path / "head", file, old, f"{old}{text}\n")
    assert [part for part in after["code"] if part not in before["code"]]


@pytest.mark.parametrize(
    "edit",
    [
        ("helpers", "CONSTANT = 2", "CONSTANT = 3"),
        ("helpers", "CONSTANT = 2", "CONSTANT = 2\nMORE = {'a': slow}\nmore = lambda x: x"),
        ("helpers", "CONSTANT = 2", "CONSTANT = 2\nimport time, colorsys\nfrom torch import nn"),
        ("helpers", "CONSTANT = 2", "CONSTANT = 2\nrelu = torch.relu"),
        ("helpers", "CONSTANT = 2", "CONSTANT = 2\nclass Further(Root):\n    def run(self, x): return 3"),
        ("helpers", "CONSTANT = 2", "CONSTANT = 2\nclass Layer(torch.nn.Module):\n    def run(self, x): return 3"),
        ("helpers", "CONSTANT = 2", "CONSTANT = 2\nif __name__ == '__main__': print(slow(1))"),
        ("__init__", "", "from of_test.deep import work\n__version__ = '1.1'\n__all__ = ['work']"),
        ("helpers", "  # slowly", ""),
        ("helpers", "It is slow.", "It is slower."),
        ("helpers", "def unrelated(x):\n    return x + 1", "def unrelated(x):\n    return x + 2"),
        ("helpers", "import torch\n", "import torch\n\n\n"),
        ("deep", "x + 1", "x + 2"),
    ],
)
def test_what_no_call_can_run_does_not_count(tmp_path: Path, edit: Any) -> None:
    late = "x = helpers.slow(x) if isinstance(x, Helper) else helpers.slow(x)"
    before = unedited(tmp_path / "base", late)
    after = reached(tmp_path / "head", *edit, late=late)
    assert before["code"] == after["code"]
    assert any("slow" in part for part in after["code"])


@pytest.mark.parametrize(
    "edit",
    [
        ("main", "    def forward", "    def further(self): pass\n    def forward"),
        ("main", "    def forward", "    size = 1\n    def forward"),
        ("helpers", "def own(self, x):\n        return x", "def own(self, x):\n        return 2 * x"),
        ("helpers", "return x + 1\nclass Helper", "return x + 2\nclass Helper"),  # of a base
        ("main", "def forward(self, x)", "def forward(self, x: 'Helper') -> torch.Tensor"),
        ("helpers", 'def slow(x):\n    "It is slow."\n', 'def slow(x: float):\n    "It is slow."\n'),
    ],
)
def test_a_class_counts_as_a_whole_and_a_function_with_its_annotations(tmp_path: Path, edit: Any) -> None:
    late = "x = helpers.slow(x) if isinstance(x, Helper) else helpers.slow(x)"
    before = unedited(tmp_path / "base", late)
    assert before["code"] != reached(tmp_path / "head", *edit, late=late)["code"]


@pytest.mark.parametrize(
    ("body", "doubt"),
    [
        ({"init": "self.inner = torch.jit.script(torch.nn.Linear(1, 1))"}, "it is a TorchScript module"),
        ({"call": "subprocess.run(['true'])"}, "a process is started by of_test/main.py:18"),
        ({"top": "subprocess.run(['true'])"}, "a process is started by of_test/main.py:8"),
        ({"late": "importlib.import_module('of_test.' + 'deep')"}, "any code, by a name made at run time"),
        ({"late": "globals()['he' + 'lpers'].slow(x)"}, "any code, by a name made at run time"),
        ({"top": "GATES = vars()", "late": "GATES['he' + 'lpers'].slow(x)"}, "any code, by a name made at run time"),
        ({"top": "GATES = locals()", "late": "GATES['he' + 'lpers'].slow(x)"}, "any code, by a name made at run time"),
        ({"top": "pick = lambda name: globals()[name]", "late": "pick('he' + 'lpers').slow(x)"}, "any code, by a name"),
    ],
)
def test_what_can_not_be_followed_is_a_doubt(tmp_path: Path, body: Any, doubt: str) -> None:
    assert doubt in " ".join(each["clause"] for each in reached(tmp_path, **body)["doubts"])


@pytest.mark.parametrize(
    ("body", "kinds"),
    [
        ({"late": "x = float(helpers.slow.__doc__)"}, {"text"}),
        ({"late": "import inspect; x = len(inspect.getsource(helpers.slow))"}, {"text"}),
        ({"call": "import inspect; inspect.getdoc(helpers.slow)"}, {"text"}),
        ({"late": "x = len(open(helpers.__file__).read())"}, {"text", "path"}),
        ({"top": "from pathlib import Path; HERE = Path(__file__).parent"}, set()),  # only where it is
        ({"late": "import pydoc; x = pydoc.locate('of_test.helpers.slow')(x)"}, {"code"}),
        ({"top": "from pickle import loads as made", "late": "x = made(b'')(x)"}, {"code"}),
        ({"top": "import json", "late": "x = json.loads('1')"}, set()),
        ({"late": "import builtins; x = builtins.eval('helpers.slow')(x)"}, {"code"}),
        ({"top": "run = eval", "late": "x = run('helpers.slow')(x)"}, {"code"}),
        ({"late": "subprocess.run(['true'])"}, {"code", "path"}),
        ({"late": "x = torch.load('x.pt', weights_only=False)"}, {"code", "path"}),
        ({"late": "x = torch.load('x.pt', weights_only=True)"}, {"path"}),
        ({"late": "x = torch.stack([x])"}, set()),
        ({"late": "x = open('README.md').read()"}, {"path"}),
        ({"call": "import os; os.listdir('of_test')"}, {"path"}),
        ({"call": "subprocess.run(['true', 'README.md'])"}, {"code", "path"}),
        ({"call": "import warnings; warnings.warn('new')"}, set()),
    ],
)
def test_what_code_names_or_does_is_a_doubt_of_its_kind(
    tmp_path: Path, body: Any, kinds: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "README.md").touch()
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reply = reached(tmp_path, **body)
    assert {each["kind"] for each in reply["doubts"]} == kinds


SETS = "import of_test.helpers as h\ndef mark(): h.TABLE[1] = 1\nmark()\ndef work"


@pytest.mark.parametrize(
    ("edit", "counts"),
    [
        (SETS.replace("mark()\n", "h.CONSTANT = 3\n"), True),
        (SETS.replace("= 1", "= 2"), True),  # what its statements call
        (SETS.replace("def work", "def other(x): pass\ndef work"), False),
    ],
)
def test_what_another_cells_module_does_when_it_is_imported_counts(tmp_path: Path, edit: str, counts: bool) -> None:
    before = reached(tmp_path / "base", "deep", "def work", SETS, beside="of_test.deep")
    after = reached(tmp_path / "head", "deep", "def work", edit, beside="of_test.deep")
    assert (before["code"] != after["code"]) == counts


@pytest.mark.parametrize(
    ("rare", "top", "counts"),
    [
        ("import of_test.helpers as h\nh.TABLE[1] = 2\n", ("import of_test.rare", "import of_test.deep"), True),
        ("import of_test.helpers as h\n", ("import of_test.rare", "import of_test.deep"), False),
        ("ONE = 1\n", ("TABLE[1] = 3", "import of_test.deep"), True),
    ],
)
def test_the_order_of_what_modules_do_when_they_are_imported_counts(
    tmp_path: Path, rare: str, top: tuple[str, str], counts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "RARE", rare)
    before = reached(tmp_path / "base", "deep", "def work", SETS, top="\n".join(top))
    after = reached(tmp_path / "head", "deep", "def work", SETS, top="\n".join(reversed(top)))
    assert (before["code"] != after["code"]) == counts


def test_an_import_of_modules_that_others_have_imported_before_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "HELPERS", f"{HELPERS}TABLE['one'] = 1\n")
    monkeypatch.setitem(globals(), "DEEP", DEEP.replace("def work", SETS))
    top = "import of_test.deep\nimport of_test.rare"
    before = reached(tmp_path / "base", top=top)
    after = reached(tmp_path / "head", "rare", "def work", "import of_test.deep, of_test.helpers\ndef work", top=top)
    assert before["code"] == after["code"]


REGISTRY = """
import weakref
KNOWN = weakref.WeakValueDictionary()
class Meta(type):
    pass
def keep(function):
    KNOWN["late"] = function
@keep
def late(x): return x + 7
class Kept(metaclass=Meta):
    def run(self, x): return x + 7
"""


@pytest.mark.parametrize(
    ("body", "edit"),
    [
        ({}, ("def late(x): return x + 7", "def late(x): return x + 8")),  # which a decorator has put somewhere
        ({}, ("def run(self, x): return x + 7", "def run(self, x): return x + 8")),  # and a metaclass
    ],
)
def test_what_is_registered_when_a_module_is_imported_may_run(tmp_path: Path, body: Any, edit: Any) -> None:
    before = reached(tmp_path / "base", "helpers", "CONSTANT = 2", f"CONSTANT = 2{REGISTRY}", **body)
    edited = f"CONSTANT = 2{REGISTRY.replace(*edit)}"
    after = reached(tmp_path / "head", "helpers", "CONSTANT = 2", edited, **body)
    assert before["code"] != after["code"]


@pytest.mark.parametrize("held", ["weakref.ref(helpers.slow)()", "weakref.proxy(helpers.slow)", "WEAK['slow']"])
def test_what_is_held_weakly_may_run(tmp_path: Path, held: str) -> None:
    top = "import weakref\nWEAK = weakref.WeakValueDictionary()"
    body = {
        "top": f"{top}\ndef fill(**kept): WEAK.update(kept)",
        "init": f"fill(slow=helpers.slow); self.held = {held}",
    }
    before, after = reached(tmp_path / "base", **body), reached(tmp_path / "head", "helpers", *SLOW, **body)
    assert before["code"] != after["code"]


def test_calls_go_on_for_a_while_so_that_a_slow_path_is_seen_by_whatever_name_it_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(what_ran, "FOLLOWED_SECONDS", 60.0)  # each test's tracer goes on listening, which takes time
    body = {
        "call": "if self.calls == 40: x = getattr(sys.modules[__package__ + '.helpers'], 'slow')(x)",
        "top": "import sys",
    }
    code = reached(tmp_path, **body)["code"]
    assert any(part.startswith("of_test/helpers.py:slow") for part in code)


@pytest.mark.parametrize(("file", "old", "kinds"), [("helpers", "CONSTANT = 2", {"path"}), ("deep", "def work", set())])
def test_what_an_import_does_is_a_doubt_about_the_cases_whose_code_has_the_file_that_did_it(
    tmp_path: Path, file: str, old: str, kinds: set[str]
) -> None:
    reading = f"from pathlib import Path; OWN = list(Path(__file__).parent.iterdir())\n{old}"
    reply = reached(tmp_path, file, old, reading, beside="of_test.deep")
    assert {each["kind"] for each in reply["doubts"]} == kinds


def test_what_a_thread_runs_counts(tmp_path: Path) -> None:
    space: dict[str, Any] = {}
    exec(compile("def fast(): pass", str(tmp_path / "mine.py"), "exec"), space)
    with Tracer(str(tmp_path)).following(Doubts(set)) as ran:
        thread = threading.Thread(target=space["fast"])
        thread.start()
        thread.join()
    assert [code.co_name for code, _, _ in ran.values()] == ["fast"]


@pytest.mark.parametrize(
    ("installed", "clauses"),
    [
        ("import subprocess; subprocess.run(['true'])", []),
        ("import os; os.listdir({tree!r})", []),
        ("import importlib.metadata as m, sys; sys.path.append({tree!r}); [*m.distributions(path=[{tree!r}])]", []),
        (
            "import subprocess; subprocess.run(['ls', {file!r}])",
            ["a process is started by of_test/main.py:8", "it opens of_test/deep.py by its path"],
        ),
        (
            "from of_test import deep; deep.work(1)",  # the tree's own code starts it, within that import
            ["a process is started by of_test/deep.py:4"],
        ),
    ],
)
def test_a_process_that_an_installed_package_starts_while_it_is_imported_is_no_doubt_unless_the_tree_has_a_part_in_it(
    tmp_path: Path, installed: str, clauses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    packages, tree = tmp_path / "site-packages", tmp_path / "tree"
    packages.mkdir()
    (packages / "of_test_starting.py").write_text(
        installed.format(tree=str(tree), file=str(tree / "of_test" / "deep.py"))
    )
    monkeypatch.syspath_prepend(str(packages))
    monkeypatch.delitem(sys.modules, "of_test_starting", raising=False)
    edit = (
        "deep",
        "def work(x):\n",
        "import subprocess\ndef work(x):\n    if x == 1:\n        subprocess.run(['true'])\n",
    )
    reply = reached(tree, *edit, top="import of_test_starting; from of_test import deep")
    assert [each["clause"] for each in reply["doubts"]] == clauses
    sys.modules.pop("of_test_starting", None)


def test_an_installed_package_that_the_tree_imports_counts_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "site-packages"
    packages.mkdir()
    (packages / "of_test_installed.py").touch()
    monkeypatch.syspath_prepend(str(packages))
    before = reached(tmp_path / "base")
    after = reached(tmp_path / "head", "helpers", "import torch\n", "import torch, of_test_installed, json, numpy\n")
    assert {*after["code"]} - {*before["code"]} == {"of_test_installed:<import> of_test_installed"}
    sys.modules.pop("of_test_installed", None)
