"""The operations that the coordinator asks for, and those that a worker has."""

import ast
import re
from importlib import import_module
from typing import get_args

import pytest

from rnnbench.harness.protocol import OperationName
from rnnbench.harness.worker.answers import answer
from rnnbench.harness.worker.table import OPERATIONS, operation
from rnnbench.profiling.run import OPERATION_MODULES
from tests.doubles.visits import worker_here
from tests.rules.test_layout import imports, modules, parsed

ASKS = re.compile(r"\bbuilding\.request$|Building\(.*\)\.request$")


def sent() -> set[str]:
    """Return every operation that a request anywhere in the package names."""
    names: set[str] = set()
    for file in modules().values():
        for node in ast.walk(parsed(file)):
            if isinstance(node, ast.Dict) and node.keys and ast.unparse(node.keys[0] or node) == "'op'":
                names |= texts(node.values[:1])
            if isinstance(node, ast.Call) and ASKS.search(ast.unparse(node.func)):
                names |= texts(node.args[:1])
    return names


def texts(nodes: list[ast.expr]) -> set[str]:
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_a_worker_has_every_operation_that_the_coordinator_asks_for_and_no_other() -> None:
    for module in OPERATION_MODULES:
        import_module(module)
    assert set(OPERATIONS) == set(get_args(OperationName))
    assert sent() <= set(OPERATIONS)
    assert len(sent()) > 10


def test_the_operations_of_higher_rooms_come_with_the_module_that_the_start_of_a_worker_names() -> None:
    """A worker that was started without it replies which operations it has, and lives."""
    beside = {name for name, each in OPERATIONS.items() if each.perform.__module__ in OPERATION_MODULES}
    assert beside <= {"profile"}
    harness = {file for name, file in modules().items() if name.startswith("rnnbench.harness.")}
    assert not any(name.startswith("rnnbench.profiling") for file in harness for name in imports(file))
    reply = answer(worker_here(), {"op": "none"})
    assert reply["reason"].startswith("this worker has no operation 'none'; it has ceiling, ")


def test_no_name_is_registered_twice() -> None:
    with pytest.raises(ValueError, match="the operation 'release' is registered twice"):
        operation("release")(lambda state, request: None)
    assert OPERATIONS["release"].perform.__module__ == "rnnbench.harness.worker.operations.timing"
