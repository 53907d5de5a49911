"""What a piece of code names: variables, attributes, modules, and attributes by a name that is made at run time."""

import ast
import re
from collections.abc import Iterable, Iterator, Sequence

from rnnbench.harness.worker.only_binds import DEFINITIONS, last_name, module_of

Imports = set[tuple[str, tuple[str, ...]]]  # modules, and the members that are taken of them
TAKES_FOLDER = ("parent", "parents", "with_name", "dirname")  # of a file's path
# Functions that take an attribute by its name -> the place of the name among the arguments; 0: any place.
TAKES_BY_NAME = {
    **dict.fromkeys(("getattr", "hasattr", "getattr_static"), 1),
    **dict.fromkeys(("attrgetter", "methodcaller", "__getattribute__"), 0),
}
TAKES_ALL = {"vars", "dir", "__dict__", "getmembers", "getmembers_static"}
DOTTED = re.compile(r"[^\W\d]\w*")


def names_of(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the names in some code.

    NAME; NAME.ATTRIBUTE... if some are taken of it; .ATTRIBUTE of anything, or a text that may name one; KEYWORD= of a
    call, but for True; .__file__ if the path of a file is taken, and not only that of its folder.
    """
    names = set[str]()
    in_chain = set[ast.AST]()  # of which an attribute is taken; `walk` comes to the attribute first
    of_folder = set[ast.AST]()  # within an expression that takes the folder of a path
    tops = [*nodes]
    names |= _of_all_names(tops)
    for node in (each for top in tops for each in ast.walk(top)):
        if isinstance(node, ast.Attribute | ast.Call) and last_name(node) in TAKES_FOLDER:
            of_folder.update(ast.walk(node))
        if isinstance(node, ast.Name) and node.id == "__file__" and node not in of_folder:
            names.add(".__file__")
        if isinstance(node, ast.Attribute):
            names.add(f".{node.attr}")
            if node not in in_chain:
                names |= _chain(node, in_chain)
        elif isinstance(node, ast.Name) and node not in in_chain:
            names.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names |= _of_text(node.value)
        elif isinstance(node, ast.keyword) and not (isinstance(node.value, ast.Constant) and node.value.value is True):
            names.add(f"{node.arg}=")
        elif isinstance(node, ast.MatchClass):
            names.update(f".{name}" for name in node.kwd_attrs)
        elif isinstance(node, ast.ImportFrom):
            names.update(f".{alias.name}" for alias in node.names)
    return names


def _of_all_names(nodes: Iterable[ast.AST]) -> set[str]:
    """Return `globals` if statements of a module take all of its names by `vars()` or `locals()`."""
    outside = (each for top in nodes if not isinstance(top, DEFINITIONS) for each in ast.walk(top))
    calls = (each for each in outside if isinstance(each, ast.Call) and not each.args)
    return {"globals"} if any(last_name(each) in ("vars", "locals") for each in calls) else set()


def _chain(node: ast.Attribute, in_chain: set[ast.AST]) -> set[str]:
    """Return `a.b.c` for the attributes of a name, and add all but the outermost node to `in_chain`."""
    attributes = [node.attr]
    inner = node.value
    while isinstance(inner, ast.Attribute):
        in_chain.add(inner)
        attributes.append(inner.attr)
        inner = inner.value
    if not isinstance(inner, ast.Name):
        return set()
    in_chain.add(inner)
    return {".".join([inner.id, *reversed(attributes)])}


def _of_text(text: str) -> set[str]:
    """Return the attributes that a text may name, for `getattr` or in a format such as `{0.name}`."""
    if "{" in text and "." in text:
        return {f".{name}" for name in DOTTED.findall(text)}
    return {f".{name}" for name in text.split(".") if name.isidentifier()}


def imports_of(nodes: Iterable[ast.AST]) -> Imports:
    """Return the modules that some code imports, with the members that it takes of them."""
    imports: Imports = set()
    for node in (each for top in nodes for each in ast.walk(top)):
        if isinstance(node, ast.Import):
            imports |= {(alias.name, ()) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imports.add((module_of(node), tuple(alias.name for alias in node.names)))
    return imports


def computed_owners(nodes: Sequence[ast.AST]) -> Iterator[str]:
    """Yield of what attributes are taken by a name that is made at run time: `a.b`, or empty if that is computed, too.

    A name that is a constant is a text of the code.
    """
    called = set[ast.AST]()
    for node in (each for top in nodes for each in ast.walk(top)):
        name = last_name(node)
        if isinstance(node, ast.Call) and name in TAKES_BY_NAME:
            called.add(node.func)
            place = TAKES_BY_NAME[name]
            names = node.args[place : place + 1] if place > 0 else node.args
            if not names or not all(isinstance(each, ast.Constant) for each in names):
                yield _dotted(node.args[0]) if place > 0 and names else ""
        elif isinstance(node, ast.Call) and name in TAKES_ALL and node.args:
            called.add(node.func)
            yield _dotted(node.args[0])
        elif isinstance(node, ast.Attribute) and name in TAKES_ALL and node not in called:
            yield _dotted(node.value)
        elif node not in called and name in {*TAKES_BY_NAME, *TAKES_ALL}:
            yield ""


def _dotted(node: ast.expr) -> str:
    parts = list[str]()
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""
