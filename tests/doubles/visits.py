"""A worker in this process, and a visit of one side as a request to it."""

import random
import tempfile
from collections.abc import Mapping
from types import MappingProxyType

from rnnbench.harness import protocol
from rnnbench.harness.coordinator.process import MARK
from rnnbench.harness.turns.schedule import Turns
from rnnbench.harness.worker.state import WorkerState
from rnnbench.harness.worker.user_files import UsedFiles
from rnnbench.store.records import Case

TURNS = Turns(turns=2, blocks=3, calls=2, is_warm=False)


def worker_here(relay: Mapping[str, int] = MappingProxyType({}), files: UsedFiles | None = None) -> WorkerState:
    """Return the state of a worker that leaves its process alone; `files` tells which ones it used."""
    with tempfile.TemporaryFile() as marks:
        marks.write(MARK.pack(-1))
        marks.flush()
        relay = {"marks": marks.fileno(), **relay}
        return WorkerState(
            random.Random(0), lambda: None, lambda: 0, files or UsedFiles(), lambda cell, root: None, relay
        )


def visit(*cases: Case, turns: Turns = TURNS) -> protocol.Request:
    """Return the request for all turns of these cases, one case after the other."""
    order = [("run", number) for number in range(len(cases)) for _ in range(turns.turns)]
    return protocol.visit(cases, [turns] * len(cases), order, "run", 1.0)
