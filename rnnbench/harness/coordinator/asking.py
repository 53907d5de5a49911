"""Asks workers: what they are, and requests by a deadline that fits; a new worker where the last one is lost."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from rnnbench.errors import UserError
from rnnbench.harness.coordinator.lanes import Stopped
from rnnbench.harness.coordinator.process import WorkerLost, WorkerProcess
from rnnbench.harness.protocol import PROTOCOL_VERSION, FailedReply, Reply, Request
from rnnbench.suite_file import Settings

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


def ask(worker: WorkerProcess, request: Request[Reply], settings: Settings) -> Reply | FailedReply:
    """The worker's reply; raises WorkerLost."""
    reply: Any = worker.request(request.content, deadline_seconds(request, settings))
    return cast("Reply | FailedReply", reply)


def deadline_seconds(request: Request[Reply], settings: Settings) -> float:
    """How long a worker may take; the first call of a compiled case compiles what was not found in torch's cache."""
    if request.implementation == "compiled":
        return max(settings.deadline_seconds, settings.compile_deadline_seconds)
    return settings.deadline_seconds


class Asker:
    """Has a worker answer one question after another: a new one where the last was lost, or failed at a case."""

    def __init__(
        self, settings: Settings, start: Callable[[], WorkerProcess], first: WorkerProcess | None = None
    ) -> None:
        """`first` is a worker that is ready; others are started when they are needed."""
        self._settings = settings
        self._start = start
        self._stopped = False
        self._worker = first

    def ask(self, request: Request[Reply], cores: Sequence[int]) -> Reply | FailedReply:
        """The reply of a worker on these cores; a lost one is a reply too."""
        try:
            if self._worker is None:
                self._worker = self._start()
                self._worker.wait_ready()
            if self._stopped:
                raise Stopped
            self._worker.pin(cores)
            reply = ask(self._worker, request, self._settings)
        except WorkerLost as lost:
            if self._stopped:
                raise Stopped from None
            reply = FailedReply(ok=False, status="failed", reason=str(lost))
        if reply.get("status") == "failed":  # nobody knows what state it is in
            self.close()
        return reply

    def hand_over(self) -> WorkerProcess | None:
        """The worker, if there is one; it is no longer this object's to end."""
        worker, self._worker = self._worker, None
        return worker

    def stop(self) -> None:
        """End the worker from another thread; who waits for its answer finds itself `Stopped`."""
        self._stopped, worker = True, self._worker
        if worker is not None:
            worker.kill()

    def close(self) -> None:
        """End the worker, if there is one."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None
