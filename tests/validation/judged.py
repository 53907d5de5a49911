"""The rule by which a commit is judged: could it affect a case?

A case could be affected if, comments, docstrings, annotations of functions, formatting and names of local variables
aside, one of these differs between both sides:

1. a function that runs when the case is built, called 70 times or differentiated (a cell has cases of training, too),
   or when the modules are imported that it imports, or which of these functions run;
2. a function of the package that one of these functions names, in the modules that they are in or import from, and
   all that such a function names;
3. a statement outside of functions in a module that is imported, which is no definition, no import, no description
   (`__version__`, `__all__`) and no value; and a value, a base or a default whose name one of these functions has;
4. a file that one of these functions opens.

It can't be affected by documents, packaging, tests, examples, or functions that none of these names.
The rule reads texts and follows calls by `sys.setprofile`. It shares no code with what it judges.
"""

import ast
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch

Ran = list[str]  # `file:qualified name`, and `file:` of each module that was imported, both below the folder
CALLS = 70
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


def functions_that_run(folder: Path, cell: str, size: int) -> Ran | None:
    """Return what runs when a case is imported, built, called and differentiated; None if it can't be called."""
    ran = set[str]()

    def follow(frame: FrameType, event: str, _argument: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(f"{folder}{os.sep}"):
            name = frame.f_code.co_qualname if frame.f_code.co_flags & 1 else ""
            ran.add(f"{os.path.relpath(file, folder)}:{name}")

    from tests.validation.histories import _installed

    sys.path[:0] = [str(folder), *_installed()]
    os.chdir(folder)
    torch.manual_seed(0)
    sys.setprofile(follow)
    try:
        module = __import__(cell.partition(".")[0])
        made = getattr(module, cell.partition(":")[2])(size, size)
        h = torch.zeros(2, size)
        for _ in range(CALLS):
            output = made(torch.randn(2, size), h)
            h = output.detach()
        if output.requires_grad:
            _differentiate(output, folder.name)
    except Exception as error:
        print(f"{folder.name} {cell}: {type(error).__name__}: {error}", file=sys.stderr)
        return None
    finally:
        sys.setprofile(None)
    return sorted(ran)


def _differentiate(output: torch.Tensor, name: str) -> None:
    try:
        output.sum().backward()
    except RuntimeError as error:  # of a backward pass that is not right: it ran all the same
        print(f"{name}: {error}", file=sys.stderr)


def could_change(
    base: Path, head: Path, files: Sequence[str], before: Ran | None, after: Ran | None
) -> tuple[str, str]:
    """Return `yes`, `no` or `can't run`, and why."""
    if before is None or after is None:
        return "can't run", "the case fails in the " + ("base" if before is None else "head")
    ran = {*before, *after}
    imported = {each.partition(":")[0] for each in ran}
    changed = [file for file in files if file in imported]
    if not changed:
        return "no", "no file changed that is imported"
    sides = [{file: _texts(folder / file) for file in imported} for folder in (base, head)]
    reached = _named({each for each in ran if not each.endswith(":")}, sides)
    for file in changed:
        for name in sorted(sides[0][file].keys() | sides[1][file].keys()):
            old, new = (side[file].get(name) for side in sides)
            if old != new and (name == "" or f"{file}:{name}" in reached):
                return "yes", f"{file}: {name or 'statements'}"
    one_sided = sorted({*before} ^ {*after})
    if moved := [each for each in one_sided if not each.endswith(":")]:
        return "yes", f"{moved[0]} runs on one side alone"
    return "no", f"nothing of {', '.join(changed)} that runs or is named"


def _named(ran: set[str], sides: Sequence[dict[str, dict[str, Any]]]) -> set[str]:
    """Return the definitions that run, and those whose names are in definitions that do."""
    every = {
        f"{file}:{name}": text for side in sides for file, texts in side.items() for name, text in texts.items() if name
    }
    reached, todo = set[str](), {_outer(each, every) for each in ran} | {f"{file}:" for side in sides for file in side}
    words = set[str]()
    while todo:
        reached |= todo
        for each in todo:
            file, _, name = each.partition(":")
            for side in sides:
                words |= _words(side.get(file, {}).get(name, ""))
        # A member counts only if its class is named, too: `__init__` is in many texts.
        todo = {each for each in every if words.issuperset(each.rpartition(":")[2].split("."))} - reached
    return reached


def _outer(name: str, every: Iterable[str]) -> str:
    """Return the definition that a function is in."""
    name = name.partition(".<locals>")[0]
    while name not in every and "." in name.partition(":")[2]:
        name = name.rpartition(".")[0]
    return name


def _words(text: str) -> set[str]:
    return {
        word
        for node in ast.walk(ast.parse(text))
        for word in (getattr(node, "id", ""), getattr(node, "attr", ""), getattr(node, "value", ""))
        if isinstance(word, str)
    }


def _texts(file: Path) -> dict[str, str]:
    """Return the texts of a file's definitions by their qualified names, of its values, and of all else by no name."""
    if not file.exists() or file.suffix != ".py":
        return {}
    tree = ast.parse(file.read_bytes())
    texts: dict[str, str] = {}
    _collect(tree.body, "", texts)
    return texts


def _collect(body: Iterable[ast.stmt], prefix: str, texts: dict[str, str]) -> None:
    for node in body:
        if isinstance(node, FUNCTIONS):
            texts[f"{prefix}{node.name}"] = texts.get(f"{prefix}{node.name}", "") + f"{_plain(node)}\n"
        elif isinstance(node, ast.ClassDef):
            bases = ", ".join(map(ast.unparse, [*node.bases, *node.decorator_list]))
            texts[f"{prefix}{node.name}"] = f"({bases})"
            _collect(node.body, f"{prefix}{node.name}.", texts)
        elif isinstance(node, ast.Import | ast.ImportFrom) or _is_text(node):
            continue
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and _is_value(node.value):
            name = node.targets[0].id
            if not (name.startswith("__") and name.endswith("__")):
                texts[f"{prefix}{name}"] = ast.unparse(node)
        else:
            place = prefix.removesuffix(".")
            texts[place] = f"{texts.get(place, '')}\n{ast.unparse(node)}"


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _is_value(node: ast.expr) -> bool:
    kinds = ast.Constant | ast.Tuple | ast.List | ast.Dict | ast.Name | ast.UnaryOp | ast.operator | ast.unaryop
    return all(isinstance(each, kinds | ast.expr_context | ast.BinOp) for each in ast.walk(node))


def _plain(function: Any) -> str:
    """Return the text of a function without docstring and annotations, its local variables numbered."""
    arguments = [each for each in ast.walk(function.args) if isinstance(each, ast.arg)]
    stored = [node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    shared = {name for node in ast.walk(function) if isinstance(node, ast.Global | ast.Nonlocal) for name in node.names}
    renamed = {name: f"_{place}" for place, name in enumerate(dict.fromkeys(stored)) if name not in shared}
    for argument in arguments:
        argument.annotation = None
        renamed.pop(argument.arg, None)
    function.returns = None
    for node in ast.walk(function):
        if isinstance(node, FUNCTIONS) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        if isinstance(node, ast.Name):
            node.id = renamed.get(node.id, node.id)
    return ast.unparse(function)
