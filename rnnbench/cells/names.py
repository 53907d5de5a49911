"""Names of a user's cells: `lmu.py:LMU(theta=16)`, `package.module:Class`."""

import ast
import os
import re
from collections.abc import Mapping
from typing import Any

CALL = re.compile(r"(?P<target>.*:[^:()]+)\((?P<arguments>.*)\)", re.DOTALL)  # file.py:Class(theta=16)


def is_own(cell: str) -> bool:
    """Whether a name points at a class of a user, such as `file.py:Class`, and not at a cell of rnnbench."""
    return ":" in cell


def parsed(cell: str) -> tuple[str, dict[str, Any]]:
    """The target of a user's cell and the arguments of its constructor: `lmu.py:LMU(theta=16,norm=True)`.

    Raises ValueError if the arguments are not literals of Python, each with its name.
    """
    call = CALL.fullmatch(cell)
    if call is None:
        return cell, {}
    try:
        node = ast.parse(f"f({call['arguments']})", mode="eval").body
        assert isinstance(node, ast.Call)
        if node.args or any(keyword.arg is None for keyword in node.keywords):
            raise ValueError
        arguments = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
    except (ValueError, SyntaxError, AssertionError, MemoryError, RecursionError):
        raise ValueError(f"({call['arguments']}) is not a list of NAME=VALUE, such as (theta=16,norm=True)") from None
    return call["target"], arguments


def misnamed(cell: str) -> str:
    """What is wrong with the form of the name of a user's cell; empty if nothing is. Raises ValueError as `parsed`."""
    where, _, name = parsed(cell)[0].rpartition(":")
    is_file = where.endswith(".py")
    if name.isidentifier() and (is_file or all(part.isidentifier() for part in where.split("."))):
        return ""
    like = f" (did you mean {where}.py:{name}?)" if name and not is_file and os.sep in where else ""
    return f"expected FILE.py:CELL or PACKAGE:CELL{like}"


def with_arguments(cell: str, arguments: Mapping[str, Any]) -> str:
    """The name of a cell with these arguments, after those that it has."""
    target, own = parsed(cell)
    every = {**own, **arguments}
    texts = (f"{name}={value!r}" for name, value in every.items())
    return f"{target}({','.join(texts)})" if every else target


def file_of(cell: str) -> str:
    """The file or the module of a user's cell, as its name writes it."""
    return parsed(cell)[0].rpartition(":")[0]
