"""The table of a worker's operations: the function of each registers itself where it is defined.

The room of an operation may be above this one: whoever starts a worker names the modules whose operations it will ask
for (`rnnbench.harness.coordinator.process.WorkerStart`), and the worker imports them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnnbench.harness.protocol import OperationName, Reply, Request

if TYPE_CHECKING:
    from rnnbench.harness.worker.state import WorkerState

Perform = Callable[["WorkerState", Request], Reply | None]


@dataclass(frozen=True)
class Operation:
    """A row of the table: what performs an operation, and what comes before and after it."""

    perform: Perform  # returns the fields of the reply beside `ok`; its errors become the reply of a failed case
    ends_case: bool  # the worker holds no case afterwards, and tells which files were used since the last such reply
    is_timed: bool  # nothing else is done meanwhile: nobody notes which settings modules change that it imports
    runs_apart: bool  # in a fork, where that is possible, which leaves nothing behind


OPERATIONS: dict[str, Operation] = {}  # by name, those of all modules that have been imported


def operation(
    name: OperationName, *, ends_case: bool = False, is_timed: bool = False, runs_apart: bool = False
) -> Callable[[Perform], Perform]:
    """Register a function as the operation of this name; the flags are those of `Operation`.

    Raises ValueError if another function has the name.
    """

    def register(perform: Perform) -> Perform:
        if name in OPERATIONS:
            raise ValueError(f"the operation {name!r} is registered twice: give the second one another name")
        OPERATIONS[name] = Operation(perform, ends_case, is_timed, runs_apart)
        return perform

    return register
