"""Edits of code that is found by no name in the code itself, and of texts that code reads: is each timed?

Each changes what a cell computes or runs, sometimes from its hundredth call on only. None may be called the same.
"""

import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pandas as pd

from tests.validation.affected import in_child, reached, same, truth, write

CELL = "cell.py:Cell"
CODE = """
import {modules}
import torch
from torch import nn
import helpers
{top}
class Cell(nn.GRUCell):
    calls = 0
    def __init__(self, *sizes):
        super().__init__(*sizes)
        {init}
    def forward(self, input, h):
        self.calls += 1
        if self.calls {when}:
            {body}
        return super().forward(input, h)
"""
HELPERS = """
import torch
{top}
def slow(x):
    '2'
    # two
    return x * 2
"""
FILES = {"README.md": "2", "docs/table.txt": "2", "docs/page.rst": "2", "unused.py": "def slow(x): return x * 2\n"}
SLOW = ("helpers.py", "x * 2", "x * 3")
DOCSTRING = ("helpers.py", "'2'", "'3'")
COMMENT = ("helpers.py", "# two", "# three")
PAGE = ("docs/table.txt", "2", "3")
README = ("README.md", "2", "3")
UNUSED = ("unused.py", "x * 2", "x * 3")
Plan = tuple[str, dict[str, str], tuple[str, str, str]]  # its kind, the files, and a file's name, old and new text
LATE = "== 1001"
ALWAYS = "> 0"
OPERATOR = "(x: torch.Tensor) -> torch.Tensor:\n    return x * 2"
NAMED = "lib = torch.library.Library('mine', 'DEF')\nlib.define('slow(Tensor x) -> Tensor')\n"
TEXTS = (
    ("inspect", "input = input * float(helpers.slow.__doc__)", DOCSTRING),
    ("inspect", "input = input * float(getattr(helpers.slow, '__doc__'))", DOCSTRING),
    ("operator", "input = input * float(operator.attrgetter('slow.__doc__')(helpers))", DOCSTRING),
    ("inspect", "input = input * float(inspect.getdoc(helpers.slow))", DOCSTRING),
    ("inspect", "input = input * len(inspect.getsource(helpers.slow))", COMMENT),
    ("inspect", "input = input * len(inspect.getsourcelines(helpers.slow)[0][2])", COMMENT),
    ("linecache", "input = input * len(linecache.getline(helpers.__file__, 6))", COMMENT),
    ("ast", "input = input * len(open(helpers.__file__).read())", COMMENT),
    ("ast", "input = input * len(open(helpers.slow.__code__.co_filename).read())", COMMENT),
    (
        "ast",
        "tree = ast.parse(helpers.__loader__.get_source('helpers'));"
        " input = input * float(ast.get_docstring(tree.body[-1]))",
        DOCSTRING,
    ),
    ("pathlib", "input = input * len(pathlib.Path(helpers.__file__).read_text())", COMMENT),
    ("tokenize", "input = input * len(tokenize.open('helpers.py').read())", COMMENT),
    ("pkgutil", "input = input * len(pkgutil.get_data('helpers', 'helpers.py'))", COMMENT),
)
NAMES = (
    ("os", "import pydoc; input = pydoc.locate('helpers.slow')(input)"),
    ("os", "import pydoc as p; input = p.locate('helpers.slow')(input)"),
    ("os", "from pickle import loads as f; input = f(b'chelpers\\nslow\\n.')(input)"),
    ("os", "import pickle as p; input = p.loads(b'chelpers\\nslow\\n.')(input)"),
    ("pydoc", "input = pydoc.locate('helpers.slow')(input)"),
    ("pkgutil", "input = pkgutil.resolve_name('helpers:slow')(input)"),
    ("pickle", "input = pickle.loads(b'chelpers\\nslow\\n.')(input)"),
    ("pickle as p", "input = p.loads(b'chelpers\\nslow\\n.')(input)"),
    ("io, pickle", "input = pickle.Unpickler(io.BytesIO(b'chelpers\\nslow\\n.')).load()(input)"),
    ("builtins", "input = builtins.eval('helpers.slow(input)')"),
    ("builtins", "input = getattr(builtins, 'ev' + 'al')('helpers.slow(input)')"),
    ("builtins", "from builtins import eval as run; input = run('helpers.slow(input)')"),
    ("sys", "input = getattr(sys.modules['helpers'], 'slow')(input)"),
    ("sys", "from sys import modules; input = modules['helpers'].slow(input)"),
    ("gc", "input = [f for f in gc.get_objects() if type(f) is type(helpers) and f is helpers][0].slow(input)"),
    ("inspect", "input = inspect.currentframe().f_globals['helpers'].slow(input)"),
    ("operator", "input = operator.attrgetter('slow')(helpers)(input)"),
    ("inspect", "input = dict(inspect.getmembers(helpers))['slow'](input)"),
    (
        "importlib.machinery",
        "input = importlib.machinery.SourceFileLoader('a', 'helpers.py').load_module().slow(input)",
    ),
    ("timeit", "timeit.timeit('import helpers; helpers.slow(1)', number=1)"),
    (
        "subprocess, sys",
        "input *= float(subprocess.check_output([sys.executable, '-c', 'import helpers as h; print(h.slow(1))']))",
    ),
    ("os, sys", "input *= float(os.popen(sys.executable + ' -c \"import helpers as h; print(h.slow(1))\"').read())"),
)
LATER = (
    ("importlib.machinery", "input = importlib.machinery.SourceFileLoader('a', 'unused.py').load_module().slow(input)"),
    ("pydoc", "input = pydoc.locate('unused.slow')(input)"),
    ("runpy", "input = runpy.run_path('unused.py')['slow'](input)"),
)
# What the helpers do beside, and how the cell finds it late.
REGISTERED = (
    (
        f"@torch.library.custom_op('mine::slow', mutates_args=())\ndef late{OPERATOR}",
        "input = torch.ops.mine.slow(input)",
    ),
    (f"{NAMED}@torch.library.impl(lib, 'slow', 'CPU')\ndef late{OPERATOR}", "input = torch.ops.mine.slow(input)"),
    (f"{NAMED}def late{OPERATOR}\nlib.impl('slow', late, 'CPU')", "input = torch.ops.mine.slow(input)"),
    (
        "import weakref\nKNOWN = weakref.WeakValueDictionary()\ndef keep(f):\n    KNOWN['late'] = f\n    return f\n"
        "@keep\ndef late(x): return x * 2",
        "input = helpers.KNOWN['late'](input)",
    ),
    (
        "from functools import singledispatch\n@singledispatch\ndef run(x): return x\n"
        "@run.register(torch.Tensor)\ndef late(x): return x * 2",
        "input = helpers.run(input)",
    ),
    (
        "class Late:\n    known = []\n    def __init_subclass__(cls): Late.known.append(cls)\n"
        "class One(Late):\n    def run(self, x): return x * 2",
        "input = helpers.Late.known[0]().run(input)",
    ),
)
BASES = "class A:\n    def f(self, x): return x * 2\nclass B(A):\n    def f(self, x): return super().f(x)"
# Edits that must be timed, one of each kind: what the helpers have, how the cell uses it late, and the edit.
MUST = (
    ("constant of a function", "def f(x): return x * 2", "input = helpers.f(input)", "x * 2", "x * 3"),
    ("global name of a function", "def f(x): return abs(x)", "input = helpers.f(input)", "abs", "torch.exp"),
    (
        "attribute that a function takes",
        "def f(x): return torch.tanh(x)",
        "input = helpers.f(input)",
        "tanh",
        "sigmoid",
    ),
    ("default", "def f(x, by=2): return x * by", "input = helpers.f(input)", "by=2", "by=3"),
    ("parameters", "def f(x, y=2): return x * y", "input = helpers.f(input, 3)", "(x, y=2)", "(y, x=2)"),
    ("value", "K = 2", "input = input * helpers.K", "2", "3"),
    ("value that is imported by a name", "K = 2", "from helpers import K as k; input = input * k", "2", "3"),
    ("value in a container", "K = {'a': [2]}", "input = input * helpers.K['a'][0]", "[2]", "[3]"),
    ("function without a name", "f = lambda x: x * 2", "input = helpers.f(input)", "x * 2", "x * 3"),
    ("two values of one name", "K = 2\nK = 2", "input = input * helpers.K", "K = 2\nK = 2", "K = 2\nK = 3"),
    ("value in a branch", "if True:\n    K = 2", "input = input * helpers.K", "K = 2", "K = 3"),
    ("value of a class", "class C:\n    k = 2", "input = input * helpers.C().k", "k = 2", "k = 3"),
    ("method", "class C:\n    def f(self, x): return x * 2", "input = helpers.C().f(input)", "x * 2", "x * 3"),
    (
        "override of a library's method",
        "class C(torch.nn.Module):\n    def forward(self, x): return x",
        "input = helpers.C()(input)",
        "def forward",
        "def named_buffers(self, *a, **k): return iter(())\n    def _call_impl(self, x): return x * 3\n    def forward",
    ),
    (
        "bases of a class",
        "class A:\n    k = 2\nclass B:\n    k = 3\nclass C(A): pass",
        "input = input * helpers.C().k",
        "C(A)",
        "C(B)",
    ),
    (
        "attributes that do not exist",
        "class C:\n    k = 2",
        "input = input * getattr(helpers.C(), 'm', 1)",
        "k = 2",
        "k = 2\n    def __getattr__(self, name): return 3",
    ),
    (
        "field of a data class",
        "from dataclasses import dataclass\n@dataclass\nclass C:\n    k: int = 2",
        "input = input * helpers.C().k",
        "= 2",
        "= 3",
    ),
    (
        "annotation",
        "def f(x: 'two'): return x",
        "input = input * len(helpers.f.__annotations__['x'])",
        "'two'",
        "'three'",
    ),
    (
        "name of a local variable that code reads",
        "def f(x):\n    ab = x\n    return x * len(min(locals()))",
        "input = helpers.f(input)",
        "ab = x",
        "abz = x",
    ),
    ("call", "import gc", "pass", "import gc", "import gc\ngc.disable()"),
    ("call whose result is bound", "_ = 1", "pass", "_ = 1", "_ = torch.set_num_threads(1)"),
    ("attribute of another module", "K = 1", "pass", "K = 1", "torch.nn.GRUCell.known = max(1, 2)"),
    (
        "library of operators",
        "K = 1",
        "pass",
        "K = 1",
        "lib = torch.library.Library('mine', 'DEF')",
    ),
    ("default that is computed", "def f(x): pass", "pass", "(x): pass", "(x,\n    y=torch.set_num_threads(1)): pass"),
    (
        "decorator of the tree",
        "def d(f):\n    torch.set_num_threads(1)\n    return f\ndef g(): pass",
        "pass",
        "def g",
        "@d\ndef g",
    ),
    (
        "metaclass",
        "class M(type):\n    def __init__(cls, *a):\n        torch.set_num_threads(1)\nclass C: pass",
        "pass",
        "C: pass",
        "C(metaclass=M): pass",
    ),
    ("body of a class", "class C: pass", "pass", "C: pass", "C:\n    k = torch.set_num_threads(1)"),
    (
        "member that the body of a class calls with",
        "class C:\n    n = 1\n    k = setattr(torch.nn.GRUCell, 'by', n)",
        "input = input * self.by",
        "n = 1",
        "n = 2",
    ),
    (
        "function that the body of a class calls",
        "class C:\n    def f(): setattr(torch.nn.GRUCell, 'by', 1)\n    k = f()",
        "input = input * self.by",
        "1)",
        "2)",
    ),
    (
        "argument of a call in a default",
        "def f(x, y=torch.set_num_threads(1)): pass",
        "pass",
        "(x, y=torch.set_num_threads(1))",
        "(x,\n    y=torch.set_num_threads(2))",
    ),
    (
        "function of the tree that is named like a container",
        "def list(): torch.set_num_threads(1)\ndef f(x, y=None): pass",
        "pass",
        "y=None",
        "y=list()",
    ),
    (
        "order of imports of one name",
        "from math import sqrt as f\nfrom math import exp as f",
        "input = input * helpers.f(2.0)",
        "from math import sqrt as f\nfrom math import exp as f",
        "from math import exp as f\nfrom math import sqrt as f",
    ),
    (
        "order of an import and a value of one name",
        "f = abs\nfrom math import exp as f",
        "input = input * helpers.f(2.0)",
        "f = abs\nfrom math import exp as f",
        "from math import exp as f\nf = abs",
    ),
    (
        "order of imports of all names",
        "from math import *\nfrom cmath import *",
        "input = input * abs(helpers.sqrt(-2.0))",
        "from math import *\nfrom cmath import *",
        "from cmath import *\nfrom math import *",
    ),
    (
        "module of which all names are imported",
        "from math import *",
        "input = input * abs(helpers.sqrt(-2.0))",
        "from math",
        "from cmath",
    ),
    (
        "import of all names and a function of one of them",
        "def sqrt(x): return x * 9\nfrom cmath import *",
        "input = input * abs(helpers.sqrt(-2.0))",
        "def sqrt(x): return x * 9\nfrom cmath import *",
        "from cmath import *\ndef sqrt(x): return x * 9",
    ),
    (
        "import of all names and an import of one of them",
        "from numpy import sqrt\nfrom cmath import *",
        "input = input * abs(helpers.sqrt(-2.0))",
        "from numpy import sqrt\nfrom cmath import *",
        "from cmath import *\nfrom numpy import sqrt",
    ),
    ("member of a base", BASES, "input = helpers.B().f(input)", "x * 2", "x * 3"),
)
PATHS = (
    ("io", "input = input * float(open('{file}').read())"),
    ("io", "input = input * float(io.open('{file}').read())"),
    ("pathlib", "input = input * float(pathlib.Path('{file}').read_text())"),
    ("os", "input = input * float(os.read(os.open('{file}', os.O_RDONLY), 9))"),
    ("numpy", "input = input * float(numpy.loadtxt('{file}'))"),
    ("subprocess", "input = input * float(subprocess.check_output(['cat', '{file}']))"),
)


def planted(one_of: int = 1) -> pd.DataFrame:
    """For each kind of edit: how many cells are said to run the same code, how many do, and how many were wrong.

    `one_of`: tries only one of so many edits.
    """
    with ProcessPoolExecutor(mp_context=get_context("fork")) as pool:
        rows = pool.map(_tried, [*plans()][::one_of])
        table = pd.DataFrame(rows, columns=["edit", "said", "is", "what"])
    table["wrong"] = table["said"] | table["is"]  # an edit that changes nothing shows nothing
    for what in table.loc[table["wrong"], "what"]:
        print(what, file=sys.stderr)
    counts = table.groupby("edit")[["said", "is", "wrong"]].sum()
    return counts.assign(cases=table.groupby("edit").size()).reset_index()


def _tried(plan: Plan) -> tuple[str, bool, bool, str]:
    """One edit: its kind, whether the cell is said to run the same code, whether it does, and what was tried."""
    kind, files, (name, old, new) = plan
    assert old in files[name], (kind, name, old)
    with tempfile.TemporaryDirectory() as parent:
        base, head = Path(parent, "base"), Path(parent, "head")
        write(base, files)
        write(head, {**files, name: files[name].replace(old, new)})
        before, after = (in_child(reached, folder, [CELL]) for folder in (base, head))
        is_said = bool(same(name, before, after))
        is_same = in_child(truth, base, CELL) == in_child(truth, head, CELL)
    return f"planted: {kind}", is_said, is_same, f"{name}: {old} -> {new}\n{files['cell.py']}"


def plans() -> Iterator[Plan]:
    """Yield each kind of edit with the files of a repository, and a file with its old and its new text."""
    for when in (ALWAYS, LATE):
        for modules, body, edit in TEXTS:
            yield "a text of code that is read", files_of(modules, body, when), edit
        for file, edit in (("docs/table.txt", PAGE), ("README.md", README)):
            for modules, body in PATHS:
                yield "a document that is read", files_of(modules, body.format(file=file), when), edit
    for modules, body in NAMES:
        yield "code that is found late by a name", files_of(modules, body, LATE), SLOW
    for modules, body in LATER:
        yield "code that is found late by a name", files_of(modules, body, LATE), UNUSED
    for kind, top, body, old, new in MUST:
        yield (
            f"must be timed: {kind}",
            files_of("gc", body, LATE, helpers=top),
            ("helpers.py", top, top.replace(old, new)),
        )
    for top, body in REGISTERED:
        files = files_of("weakref", body, LATE, helpers=top)
        yield "code that was registered", files, ("helpers.py", f"{top}", top.replace("x * 2", "x * 3"))


def files_of(modules: str, body: str, when: str, *, helpers: str = "") -> dict[str, str]:
    """The files of a repository whose cell imports these modules, and runs a body at some of its calls."""
    cell = CODE.format(modules=modules, top="", init="pass", when=when, body=body)
    return {**FILES, "cell.py": cell, "helpers.py": HELPERS.format(top=helpers)}


if __name__ == "__main__":
    print(planted(*map(int, sys.argv[1:])).to_string(index=False))
