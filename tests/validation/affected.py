"""Random edits in a small repository of cells: is a case that is said to run the same code really the same?

What is true is seen by running each cell in a process of its own, before and after the edit: the outputs of 1,020
calls, every line of the repository's functions that runs, and the statements of its modules that call or change
something. What a statement only binds shows in the outputs. Names of local variables do not count.
"""

import ast
import hashlib
import inspect
import json
import linecache
import os
import random
import re
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import FrameType
from typing import Any

import pandas as pd
import torch

from rnnbench.cells import load
from rnnbench.check.same_code import Used, same_code, sorted_by_kind
from rnnbench.harness.protocol import Building
from rnnbench.harness.worker.answers import answer
from rnnbench.harness.worker.user_files import UsedFiles
from rnnbench.store.records import Case
from tests.doubles import workload as small
from tests.doubles.visits import worker_here

CALLS = 1020  # beyond the thousandth, at which slow paths come: no worker makes as many to see what a case runs
FILES = {
    "README.md": "about",
    "notes.txt": "1",
    "table.json": "[1.0, 2.0]",
    "conftest.py": "LIMIT = 3\n",
    "unused.py": "def nobody():\n    return 3\n",
    "plain.py": """
from torch import nn
from parts.helpers import scale
import parts.constants as constants
class Plain(nn.GRUCell):
    def forward(self, input, h):
        return super().forward(scale(input) * constants.GAIN, h)
""",
    "child.py": """
from parts.bases import Base
class Child(Base):
    factor = 2.0
    def before(self, input):
        return input * self.factor
""",
    "late.py": """
from torch import nn
from parts import helpers
class Late(nn.GRUCell):
    calls = 0
    def forward(self, input, h):
        self.calls += 1
        if self.calls > 1000:
            from parts import rare
            input = helpers.slow(input) + rare.work(input)
        return super().forward(input, h)
""",
    "named.py": """
from torch import nn
from parts import modes
class Named(nn.GRUCell):
    calls = 0
    def forward(self, input, h):
        self.calls += 1
        mode = getattr(modes, "mode_" + ("slow" if self.calls > 1000 else "fast"))
        return super().forward(mode(input), h)
""",
    "wrapped.py": """
import functools
import torch
from torch import nn
from parts.decorate import twice, made
from parts.helpers import offset
@functools.lru_cache(maxsize=None)
def known(number):
    return offset(number)
class Wrapped(nn.GRUCell):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.count = 0
        self.rare = functools.partial(made(3), extra=2)
    @twice
    def forward(self, input, h, bias=0.5):
        self.count += 1
        if self.count > 1000:
            input = self.rare(input)
        return super().forward(input * known(1) + bias, h)
""",
    "patched.py": """
from torch import nn
import parts.patches
from parts.target import Target
class Patched(nn.GRUCell):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.target = Target()
        self.seen = 0
    def forward(self, input, h):
        self.seen += 1
        input = self.target.often(input)
        if self.seen > 1000:
            input = self.target.seldom(input)
        return super().forward(input, h)
""",
    "tabled.py": """
import json
from pathlib import Path
from torch import nn
from parts.steps import STEPS
NUMBERS = json.loads((Path(__file__).parent / "table.json").read_text())
class Tabled(nn.GRUCell):
    at = 0
    def forward(self, input, h):
        self.at += 1
        return super().forward(STEPS[self.at > 1000](input) * NUMBERS[0], h)
""",
    "parts/__init__.py": "",
    "parts/constants.py": "GAIN = 1.5\nUNUSED = 2\n",
    "parts/helpers.py": """
K = 1.25
def scale(x, by=2):
    return x * K * by
def slow(x):
    for _ in range(3):
        x = x + 1
    return x
def offset(number):
    return number + 4
def nobody(x):
    return x * 7
""",
    "parts/rare.py": "from parts.deep import deeper\ndef work(x):\n    return deeper(x) + 2\n",
    "parts/deep.py": "def deeper(x):\n    return x * 3\n",
    "parts/bases.py": """
from torch import nn
class Root(nn.GRUCell):
    calls = 0
    def after(self, h):
        return h * 2
class Base(Root):
    def before(self, input):
        return input
    def rare(self, h):
        return h * 5
    def forward(self, input, h):
        self.calls += 1
        h = self.after(super().forward(self.before(input), h))
        return self.rare(h) if self.calls > 1000 else h
""",
    "parts/modes.py": """
def mode_fast(x):
    return x
def mode_slow(x):
    return x * 2
def other(x):
    return x
""",
    "parts/decorate.py": """
import functools
def twice(function):
    @functools.wraps(function)
    def call(*arguments):
        for _ in range(2):
            result = function(*arguments)
        return result
    return call
def made(number):
    def inner(x, extra=1):
        return x * number + extra
    return inner
""",
    "parts/target.py": """
class Target:
    def often(self, x):
        return x
    def seldom(self, x):
        return x
""",
    "parts/patches.py": """
from parts import target
def seldom(self, x):
    return x * 6
target.Target.seldom = seldom
""",
    "parts/steps.py": """
def first(x):
    return x + 1
def second(x):
    return x + 2
STEPS = {False: first, True: second}
""",
}
CELLS = [f"{name}.py:{name.title()}" for name in ("plain", "child", "late", "named", "wrapped", "patched", "tabled")]
SIZES = (4, 3)


def edits(number: int = 200, seed: int = 1) -> pd.DataFrame:
    """For each kind of edit: how many cells were said to run the same code, how many did, and how many were wrong."""
    draw = random.Random(seed)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as base, ProcessPoolExecutor(mp_context=get_context("fork")) as pool:
        write(Path(base), {name: _normal(name, text) for name, text in FILES.items()})
        before = in_child(reached, Path(base)), {cell: in_child(truth, Path(base), cell) for cell in CELLS}
        tried = pool.map(partial(_tried, Path(base), *before), [edit(draw) for _ in range(number)])
        table = pd.DataFrame([row for rows in tried for row in rows], columns=["edit", "said", "is", "what"])
    table["wrong"] = table["said"] & ~table["is"]
    for what in table.loc[table["wrong"], "what"]:
        print(what, file=sys.stderr)
    counts = table.groupby("edit")[["said", "is", "wrong"]].sum()
    return counts.assign(cases=table.groupby("edit").size()).reset_index()


def _tried(
    base: Path, before: Any, outcomes: dict[str, str], edited: tuple[str, str, str]
) -> list[tuple[str, bool, bool, str]]:
    """Of each cell after one edit: the edit's kind, whether it is said to run the same code, whether it does."""
    kind, name, text = edited
    with tempfile.TemporaryDirectory() as parent:
        head = Path(parent, "head")
        write(head, {**{file: (base / file).read_text() for file in FILES}, name: text})
        cells = same(name, before, in_child(reached, head))
        return [
            (kind, cell in cells, outcomes[cell] == in_child(truth, head, cell), f"{cell} by {name}:\n{text}")
            for cell in CELLS
        ]


def same(name: str, base: Any, head: Any) -> set[str]:
    """The cells that are said to run the same code after the edit of one file."""
    cells = {cell: {"base": base["reached"][cell], "head": head["reached"][cell]} for cell in base["reached"]}
    imported, read = ({*base[kind], *head[kind]} for kind in ("imported", "read"))
    return {*same_code(sorted_by_kind([name], ""), Used(imported, read), cells, cells).cases}


def edit(draw: random.Random) -> tuple[str, str, str]:
    """One edit: its kind, the file and the file's new text."""
    kinds: dict[str, Callable[[random.Random, ast.Module], None]] = {
        "constant": _constant,
        "statement in a function": _statement,
        "default": _default,
        "decorator": _decorator,
        "method": _method,
        "docstring": _docstring,
        "text": _text,
        "name of a local variable": _local,
        "annotation": _annotation,
        "import that nobody uses": _import,
        "value that nobody uses": _value,
    }
    while True:
        name = draw.choice(sorted(FILES))
        text = _normal(name, FILES[name])
        if not name.endswith(".py"):
            return name, name, text.replace("1", "3") + " "
        tree = ast.parse(text)
        kind = draw.choice(sorted(kinds))
        kinds[kind](draw, tree)
        new = ast.unparse(ast.fix_missing_locations(tree))
        if new != text:
            return kind, name, new


def _chosen(draw: random.Random, tree: ast.Module, kind: Any) -> Any:
    nodes = [node for node in ast.walk(tree) if isinstance(node, kind)]
    return draw.choice(nodes) if nodes else None


def _constant(draw: random.Random, tree: ast.Module) -> None:
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and type(node.value) in (int, float)]
    if nodes:
        node: Any = draw.choice(nodes)
        node.value += 1


def _text(draw: random.Random, tree: ast.Module) -> None:
    swaps = {"slow": "fast", "fast": "slow", "mode_": "other", "table.json": "notes.txt"}
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and node.value in swaps]
    if nodes:
        node: Any = draw.choice(nodes)
        node.value = swaps[node.value]


def _statement(draw: random.Random, tree: ast.Module) -> None:
    if function := _chosen(draw, tree, ast.FunctionDef):
        function.body.insert(0, ast.parse("edited = 1").body[0])


def _default(draw: random.Random, tree: ast.Module) -> None:
    if function := _chosen(draw, tree, ast.FunctionDef):
        function.args.args.append(ast.arg("further"))
        function.args.defaults.append(ast.Constant(draw.random()))


def _decorator(draw: random.Random, tree: ast.Module) -> None:
    if function := _chosen(draw, tree, ast.FunctionDef):
        bodies = (getattr(node, "body", None) for node in ast.walk(tree))
        place = next(body for body in bodies if isinstance(body, list) and function in body)
        if function.decorator_list:
            function.decorator_list.clear()
        else:
            place.insert(
                place.index(function), ast.parse("def around(inner): return lambda *a, **k: inner(*a, **k)").body[0]
            )
            function.decorator_list.append(ast.Name("around"))


def _method(draw: random.Random, tree: ast.Module) -> None:
    if kind := _chosen(draw, tree, ast.ClassDef):
        name = draw.choice(["after", "before", "rare", "often", "seldom", "extra_repr"])
        kind.body.append(ast.parse(f"def {name}(self, x): return x * 11").body[0])


def _local(draw: random.Random, tree: ast.Module) -> None:
    if function := _chosen(draw, tree, ast.FunctionDef):
        for node in ast.walk(function):
            if isinstance(node, ast.Name) and node.id in ("result", "_", "mode"):
                node.id = "renamed"


def _annotation(draw: random.Random, tree: ast.Module) -> None:
    if function := _chosen(draw, tree, ast.FunctionDef):
        function.returns = ast.Constant("float")


def _import(draw: random.Random, tree: ast.Module) -> None:
    tree.body.insert(0, ast.parse(draw.choice(["import time", "from torch import nn as layers"])).body[0])


def _value(draw: random.Random, tree: ast.Module) -> None:
    tree.body.append(ast.parse(draw.choice(["FURTHER = {'a': (1, 2)}", "further = lambda x: x"])).body[0])


def _docstring(draw: random.Random, tree: ast.Module) -> None:
    if function := _chosen(draw, tree, ast.FunctionDef):
        function.body.insert(0, ast.Expr(ast.Constant("about")))


def _normal(name: str, text: str) -> str:
    return ast.unparse(ast.parse(text)) if name.endswith(".py") else text


def write(folder: Path, files: dict[str, str]) -> None:
    """Write files into a folder."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def reached(folder: Path, cells: Sequence[str] = CELLS) -> dict[str, Any]:
    """What each cell may run, as a worker tells it."""
    sys.path.insert(0, str(folder))
    os.chdir(folder)
    files = UsedFiles()
    files.watch()
    worker = worker_here(files=files)
    building = Building(str(folder), 64)
    answer(worker, building.imports(cells, str(folder)))
    workload = small.workload(input_size=SIZES[0], hidden_size=SIZES[1])
    replies = {
        cell: answer(worker, building.request("reach", Case(cell, "loop", workload), tree=str(folder)))
        for cell in cells
    }
    read = {file for reply in replies.values() for file in reply.get("read", ())}
    modules = {str(getattr(module, "__file__", None)) for module in [*sys.modules.values()]}
    own = {
        kind: [os.path.relpath(file, folder) for file in files if file.startswith(f"{folder}/")]
        for kind, files in (("imported", modules), ("read", read))
    }
    return {"reached": replies, **own}


def truth(folder: Path, cell: str) -> str:
    """A digest of the outputs of a cell's calls and of the lines of the folder that run and do more than bind."""
    lines = Counter[str]()

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        file = frame.f_code.co_filename
        if not file.startswith(f"{folder}/"):
            return None
        if event == "line" and (line := _line(frame, linecache.getline(file, frame.f_lineno).strip())):
            lines[f"{os.path.relpath(file, folder)} {line}"] += 1
        return trace

    sys.path.insert(0, str(folder))
    os.chdir(folder)
    torch.manual_seed(0)
    input, h = torch.randn(2, SIZES[0]), torch.randn(2, SIZES[1])
    outputs: list[Any] = []
    sys.settrace(trace)
    try:
        made = load(cell, folder)(*SIZES)
        with torch.inference_mode():
            outputs.extend(made(input, h).tolist() for _ in range(CALLS))
    except Exception as error:
        outputs.append(type(error).__name__)
    finally:
        sys.settrace(None)
    return hashlib.sha256(repr((outputs, sorted(lines.items()))).encode()).hexdigest()


def _does_more(line: str) -> bool:
    """Return whether a line of a module or class calls something, or changes what it does not bind."""
    try:
        nodes = list(ast.walk(ast.parse(line)))
    except SyntaxError:  # a part of a statement
        return "(" in line
    changed = (node for node in nodes if isinstance(node, ast.Attribute | ast.Subscript))
    return any(isinstance(node, ast.Call) for node in nodes) or any(isinstance(node.ctx, ast.Store) for node in changed)


def _line(frame: FrameType, line: str) -> str:
    """A line of a function with its local variables numbered; of others, only one that calls or changes something."""
    code = frame.f_code
    if not code.co_flags & inspect.CO_OPTIMIZED:
        does_more = _does_more(line)
        return line if does_more and not line.startswith(("def ", "class ", "@", "import ", "from ")) else ""
    for place, name in enumerate(code.co_varnames[code.co_argcount + code.co_kwonlyargcount :]):
        line = re.sub(rf"\b{name}\b", f"local_{place}", line)
    return line


def in_child(work: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a function in a copy of this process, which has imported torch and called nothing of it."""
    read, written = os.pipe()
    if not (child := os.fork()):
        os.close(read)
        try:
            with os.fdopen(written, "w") as pipe:
                pipe.write(json.dumps(work(*arguments)))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(written)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text)


if __name__ == "__main__":
    print(edits(*map(int, sys.argv[1:])).to_string(index=False))
