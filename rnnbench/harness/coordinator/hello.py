"""What a worker says of itself once it is ready, and whether it can be used."""

from typing import Any

from rnnbench.errors import UserError
from rnnbench.harness.coordinator.process import WorkerLost, WorkerProcess
from rnnbench.harness.protocol import PROTOCOL_VERSION

PYTHONPATH = "the worker imports another rnnbench; check PYTHONPATH"


def hello(worker: WorkerProcess, of: str = "", remedy: str = PYTHONPATH) -> dict[str, Any]:
    """Wait until a worker is ready, and return what it says of itself.

    `of`: whose worker it is, for messages. Raises UserError if it can't start or uses another protocol; `remedy` says
    what to do about that.
    """
    prefix = f"{of}: " if of else ""
    try:
        said = worker.wait_ready()
    except WorkerLost as lost:
        raise UserError(f"{prefix}no worker can start: {lost}") from None
    spoken = said.get("protocol")
    if spoken != PROTOCOL_VERSION:
        raise UserError(
            f"{prefix}the worker uses protocol {spoken}, but this rnnbench uses {PROTOCOL_VERSION}; {remedy}"
        )
    return said
