"""The parts of a Python file: its outermost functions and classes, and its statements outside of functions."""

import ast
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

STATEMENTS = "<module>"  # the part of a file that has its statements outside of functions
DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
# Decorators, by the last part of their names, that return a function or hold it, and hand it to nobody else. Any other
# may keep it where it is found by a name: `torch.library.custom_op`, say.
KEEP_TO_THEMSELVES = {
    *("property", "cached_property", "setter", "getter", "deleter", "staticmethod", "classmethod", "wraps"),
    *("abstractmethod", "overload", "override", "final", "cache", "lru_cache", "contextmanager", "total_ordering"),
    *(
        "dataclass",
        "no_grad",
        "inference_mode",
        "enable_grad",
        "compile",
        "jaxtyped",
        "typechecked",
        "runtime_checkable",
    ),
    *("runtime_checkable", "export", "ignore", "unused", "skip", "skipif", "parametrize", "fixture"),
}

TAKES_FOLDER = ("parent", "parents", "with_name", "dirname")  # of a file's path


class CodePart(NamedTuple):
    """The statements of a file outside of functions, or an outermost function or class."""

    digest: str
    # NAME; NAME.ATTRIBUTE if one is taken of it; .ATTRIBUTE of anything, or a text that may name one; KEYWORD= of a
    # call, but for True; .__file__ if the path of a file is taken, and not only that of its folder.
    names: set[str]
    imports: set[tuple[str, tuple[str, ...]]]  # modules, and the members that are taken of them
    registered: tuple[str, ...] = ()  # outermost functions and classes that a decorator may hand to others


@cache
def parts(file: str) -> dict[str, CodePart]:
    """Return the parts of a file, which is one part if it is not Python's; comments and docstrings do not count."""
    content = Path(file).read_bytes()
    tree = ast.parse(content) if file.endswith(".py") else ast.Constant(content)
    outermost = defaultdict[str, list[ast.AST]](list)  # several of one name: overloads, and those of branches
    nodes: list[ast.AST] = [tree]
    for node in nodes:
        if isinstance(node, DEFINITIONS):
            outermost[node.name].append(node)
        else:
            nodes += ast.iter_child_nodes(node)
    for node in ast.walk(tree):
        if isinstance(node, DEFINITIONS | ast.Module) and ast.get_docstring(node) is not None:
            del node.body[0]
    found = {name: _part(definitions) for name, definitions in outermost.items()}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = []
    registered = [name for name, definitions in outermost.items() if any(map(_may_register, definitions))]
    return found | {STATEMENTS: _part([tree])._replace(registered=tuple(registered))}


def _may_register(definition: ast.AST) -> bool:
    """Return whether a decorator of a definition, or within a class, may hand the function or class to others."""
    every = (node for node in ast.walk(definition) if isinstance(node, DEFINITIONS))
    decorators = (decorator for node in every for decorator in node.decorator_list)
    return any(_last_name(decorator) not in KEEP_TO_THEMSELVES for decorator in decorators)


def _last_name(node: ast.AST) -> str:
    """Return the last part of the name of what is called or taken, such as `no_grad`; empty if it is computed."""
    named = node.func if isinstance(node, ast.Call) else node
    if isinstance(named, ast.Attribute):
        return named.attr
    return named.id if isinstance(named, ast.Name) else ""


def _part(nodes: Sequence[ast.AST]) -> CodePart:
    names, imports = set[str](), set[tuple[str, tuple[str, ...]]]()
    has_attribute = set[ast.AST]()  # names of which an attribute is taken; `walk` comes to the attribute first
    of_folder = set[ast.AST]()  # within an expression that takes the folder of a path
    for node in (each for top in nodes for each in ast.walk(top)):
        if isinstance(node, ast.Attribute | ast.Call) and _last_name(node) in TAKES_FOLDER:
            of_folder.update(ast.walk(node))
        if isinstance(node, ast.Name) and node.id == "__file__" and node not in of_folder:
            names.add(".__file__")
        if isinstance(node, ast.Attribute):
            names.add(f".{node.attr}")
            if isinstance(node.value, ast.Name):
                has_attribute.add(node.value)
                names.add(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.Name) and node not in has_attribute:
            names.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.update(f".{name}" for name in node.value.split(".") if name.isidentifier())  # for `getattr`
        elif isinstance(node, ast.keyword) and not (isinstance(node.value, ast.Constant) and node.value.value is True):
            names.add(f"{node.arg}=")
        elif isinstance(node, ast.Import):
            imports |= {(alias.name, ()) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            members = tuple(alias.name for alias in node.names)
            names.update(f".{member}" for member in members)
            imports.add(("." * node.level + (node.module or ""), members))
    text = "\n".join(map(ast.dump, nodes)).encode(errors="surrogatepass")
    return CodePart(hashlib.sha1(text, usedforsecurity=False).hexdigest()[:16], names, imports)
