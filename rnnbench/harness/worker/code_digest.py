"""Digests of code that stay the same for other comments, lines, docstrings and names of local variables."""

import ast
import copy
import hashlib
from collections.abc import Sequence
from types import CodeType
from typing import Any

FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
# Code that names one of these may read the names of its local variables.
READS_LOCALS = {"locals", "vars", "dir", "eval", "exec", "f_locals", "evaluate", "query", "currentframe", "_getframe"}


def digest_of(nodes: Sequence[ast.AST], owner: str = "") -> str:
    """Return the digest of some definitions and statements; `owner`: the class that they are members of."""
    return of_texts(
        _of_function(node, owner) if isinstance(node, FUNCTIONS) and node.body else ast.dump(node) for node in nodes
    )


def of_texts(texts: Any) -> str:
    """Return the digest of some texts."""
    content = "\n".join(texts).encode(errors="surrogatepass")
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()[:16]


def _of_function(node: ast.FunctionDef | ast.AsyncFunctionDef, owner: str) -> str:
    """Return a text of all that decides how a function runs: its bytecode, with what it names, and how it is made."""
    copied = copy.copy(node)
    copied.body = []
    alone: Any = copy.copy(node)
    alone.decorator_list = []
    alone.returns = None
    alone.args = _without_annotations(node.args)
    within: Any = [ast.ClassDef(owner, [], [], [alone], []) if owner else alone]
    if owner and "type_params" in ast.ClassDef._fields:
        within[0].type_params = []
    module = ast.fix_missing_locations(ast.Module(within, []))
    code = _code_named(compile(module, "<part>", "exec", dont_inherit=True), node.name)
    names = {name for each in ast.walk(node) for name in (getattr(each, "id", ""), getattr(each, "attr", ""))}
    return f"{ast.dump(copied)} {_frozen(code, keeps_locals=bool(READS_LOCALS & names))}"


def _without_annotations(arguments: ast.arguments) -> ast.arguments:
    """Return a copy of a function's arguments without their annotations."""
    copied = copy.copy(arguments)
    for name, value in ast.iter_fields(arguments):
        if isinstance(value, ast.arg):
            setattr(copied, name, _plain(value))
        elif name.endswith("args"):
            setattr(copied, name, [_plain(each) for each in value])
    return copied


def _plain(argument: ast.arg) -> ast.arg:
    return ast.copy_location(ast.arg(argument.arg), argument)


def on_one_line(tree: ast.AST) -> None:
    """Move all code to one place, so that the lines of an expression make no difference to its bytecode."""
    nodes: Any = ast.walk(tree)
    for each in nodes:
        if hasattr(each, "lineno"):
            each.lineno = each.end_lineno = 1
            each.col_offset = each.end_col_offset = 0


def _code_named(code: CodeType, name: str) -> CodeType:
    """Return the outermost function of this name within some code."""
    every = [code]
    for each in every:
        inner = [constant for constant in each.co_consts if isinstance(constant, CodeType)]
        for inner_code in inner:
            if inner_code.co_name == name and inner_code.co_flags & 1:  # CO_OPTIMIZED: a function, and no class
                return inner_code
        every += inner
    raise ValueError(f"no function {name}")


def _frozen(value: Any, *, keeps_locals: bool) -> str:
    """Return all of a constant, such as bytecode, as a text that is the same in each process."""
    if isinstance(value, CodeType):
        arguments = value.co_argcount + value.co_kwonlyargcount + bool(value.co_flags & 4) + bool(value.co_flags & 8)
        names = value.co_varnames if keeps_locals else value.co_varnames[:arguments]
        parts: list[Any] = [value.co_code, value.co_exceptiontable, value.co_flags, value.co_argcount]
        parts += [value.co_posonlyargcount, value.co_kwonlyargcount, value.co_name, value.co_names, names]
        parts += [value.co_freevars, value.co_cellvars]
        constants = [_frozen(each, keeps_locals=keeps_locals) for each in value.co_consts]
        return f"code({parts!r}, [{', '.join(constants)}])"
    if isinstance(value, tuple):
        return f"({', '.join(_frozen(each, keeps_locals=keeps_locals) for each in value)})"
    if isinstance(value, frozenset):
        return f"{{{', '.join(sorted(_frozen(each, keeps_locals=keeps_locals) for each in value))}}}"
    return repr(value)
