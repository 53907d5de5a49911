"""The parts of a Python file and what they name: functions, classes, and statements outside of them.

Each has a digest that stays the same for other comments, lines and docstrings.
"""

import ast
import copy
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from rnnbench.harness.worker.only_binds import (
    DEFINITIONS,
    FUNCTIONS,
    IMPORTS,
    bound_names,
    foreign_names,
    has_meaning,
    imported_names,
    is_idle,
    last_name,
    may_register,
    module_of,
    names_bound_often,
    never_runs,
    runs_body,
)

Imports = set[tuple[str, tuple[str, ...]]]  # modules, and the members that are taken of them
TAKES_FOLDER = ("parent", "parents", "with_name", "dirname")  # of a file's path
DOTTED = re.compile(r"[^\W\d]\w*")
STATEMENTS = "<module>"  # the part of a file that has its statements outside of functions
IMPORT = "<import>"  # the part that stands for an installed package that is imported


@dataclass(frozen=True)
class CodePart:
    """A function, class or statement of a file."""

    nodes: Sequence[ast.AST]

    @cached_property
    def digest(self) -> str:
        """A text that differs if the code does."""
        return digest_of(map(ast.dump, self.nodes))

    @cached_property
    def names(self) -> set[str]:
        """What it names, as `names_of` returns it."""
        return names_of(self.nodes)

    @cached_property
    def imports(self) -> Imports:
        """The modules that it imports, with the members that it takes of them."""
        return imports_of(self.nodes)


@dataclass(frozen=True)
class Statement:
    """A statement of a module; of imports, those whose place among the others may matter."""

    code: CodePart
    binds: tuple[str, ...] = ()
    foreign: Set[str] | None = None  # it only binds its names if none of these is the tree's own; None: it does more
    imports: frozenset[tuple[str, tuple[str, ...]]] = frozenset()  # of an import, as in `CodePart.imports`
    # Outermost functions and classes that a decorator may hand to others, or that run members of their own.
    registered: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileParts:
    """The parts of a file, by name: functions, classes, and names that are bound to a value."""

    parts: Mapping[str, CodePart]
    statements: tuple[Statement, ...]  # in their order, with imports
    imports: Imports  # of its statements
    sources: Mapping[str, set[tuple[str, str]]] = field(default_factory=dict)  # an imported name -> module, member
    stars: tuple[str, ...] = ()  # modules of which all names are imported
    lambdas: tuple[str, ...] = ()  # names that are bound to functions without a name


@cache
def parts(file: str) -> FileParts:
    """Return the parts of a file, whose content is one statement if it is not Python's.

    Comments and docstrings do not count.
    """
    content = Path(file).read_bytes()
    if not file.endswith(".py"):
        whole = CodePart([ast.Constant(content)])
        return FileParts({}, (Statement(whole),), set())
    tree = ast.parse(content)
    _drop_docstrings(tree)
    tree.body = [node for node in tree.body if not (never_runs(node) or is_idle(node))]
    often = names_bound_often(tree)
    bodiless = _without_bodies(tree)
    sources, stars = _sources(bodiless)
    statements = tuple(_statement(node, often, has_stars=bool(stars)) for node in bodiless.body)
    imports = imports_of([bodiless])
    values: dict[str, list[ast.AST]] = defaultdict(list)
    for node, statement in zip(bodiless.body, statements, strict=True):
        if not isinstance(node, DEFINITIONS) and statement.code.nodes:
            for name in statement.binds:
                values[name].append(node)
    lambdas = [name for name, nodes in values.items() if any(isinstance(each, ast.Lambda) for each in _walk(nodes))]
    code_parts = {name: CodePart(nodes) for name, nodes in values.items()}
    outermost = defaultdict[str, list[Any]](list)  # several of one name: overloads, and those of branches
    for definition in _outermost(tree):
        outermost[definition.name].append(definition)
    code_parts |= {name: CodePart(definitions) for name, definitions in outermost.items()}
    return FileParts(code_parts, statements, imports, sources, stars, tuple(lambdas))


def _statement(node: ast.stmt, often: set[str], *, has_stars: bool) -> Statement:
    """Return a statement of a module, without bodies of functions.

    `often`: names whose order of binding matters; `has_stars`: the module imports all names of others.
    """
    if isinstance(node, IMPORTS):
        is_placed = has_stars or any(name in often for name, _ in imported_names(node))
        return Statement(CodePart([node] if is_placed else []), imports=frozenset(imports_of([node])))
    binds = bound_names(node)
    has_place = any(name in often or has_meaning(name) for name in binds)
    foreign = None if has_place else foreign_names(node)
    registered = tuple(each.name for each in _outermost(node) if may_register(each) or runs_body(each))
    return Statement(CodePart([node]), binds, foreign, registered=registered)


def _outermost(top: ast.AST) -> list[Any]:
    """Return the functions and classes of a module or statement that are within no other one."""
    outermost = list[Any]()
    nodes = [top]
    for node in nodes:
        if isinstance(node, DEFINITIONS):
            outermost.append(node)
        else:
            nodes += ast.iter_child_nodes(node)
    return outermost


def _without_bodies(node: Any) -> Any:
    """Return a copy of a statement or module whose functions have no bodies."""
    copied = copy.copy(node)
    for name, value in ast.iter_fields(node):
        if name == "body" and isinstance(node, FUNCTIONS):
            copied.body = []
        elif isinstance(value, ast.AST):
            setattr(copied, name, _without_bodies(value))
        elif isinstance(value, list):
            setattr(copied, name, [_without_bodies(each) if isinstance(each, ast.AST) else each for each in value])
    return copied


def _walk(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    return (each for node in nodes for each in ast.walk(node))


def _is_star(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.names[0].name == "*"


def _sources(bodiless: ast.Module) -> tuple[dict[str, set[tuple[str, str]]], tuple[str, ...]]:
    """Return where imported names come from: module and member, which is empty for a module; and the stars."""
    sources = defaultdict[str, set[tuple[str, str]]](set)
    stars = list[str]()
    for node in ast.walk(bodiless):
        if isinstance(node, ast.ImportFrom) and _is_star(node):
            stars.append(module_of(node))
        elif isinstance(node, IMPORTS):
            for name, source in imported_names(node):
                sources[name].add(source)
    return dict(sources), tuple(stars)


def _drop_docstrings(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, DEFINITIONS | ast.Module) and ast.get_docstring(node) is not None:
            node.body[0] = ast.copy_location(ast.Pass(), node.body[0])
            if len(node.body) > 1:
                del node.body[0]


def digest_of(texts: Any) -> str:
    """Return the digest of some texts."""
    content = "\n".join(texts).encode(errors="surrogatepass")
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()[:16]


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
