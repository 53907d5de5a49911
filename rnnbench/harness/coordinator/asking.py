"""Wait for a worker's hello, send it requests with a fitting deadline, and replace a worker that is lost."""

from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any, TypeVar

from rnnbench.errors import UserError
from rnnbench.harness.coordinator.process import WorkerLost, WorkerProcess
from rnnbench.harness.protocol import PROTOCOL_VERSION, Reply, Request
from rnnbench.store.metrics import COMPILED
from rnnbench.suite.file import Settings

Result = TypeVar("Result")
SLOW_VISIT = 20.0  # how much longer than expected a visit may take on a busy machine
COUNTING_FACTOR = 20  # how much longer a call takes while its instructions are counted
PYTHONPATH = "the worker imports another rnnbench; check PYTHONPATH"


def hello(worker: WorkerProcess, of: str = "", remedy: str = PYTHONPATH) -> dict[str, Any]:
    """Wait until a worker is ready, and return its hello, which describes it.

    `of`: whose worker it is, for messages. Raises UserError if it can't start or uses another protocol; `remedy` says
    what to do about the protocol.
    """
    prefix = f"{of}: " if of else ""
    try:
        reply = worker.wait_ready()
    except WorkerLost as lost:
        raise UserError(f"{prefix}no worker can start: {lost}") from None
    version = reply.get("protocol")
    if version != PROTOCOL_VERSION:
        raise UserError(
            f"{prefix}the worker uses protocol {version}, but this rnnbench uses {PROTOCOL_VERSION}; {remedy}"
        )
    return reply


def ask(worker: WorkerProcess, request: Request, settings: Settings) -> Reply:
    """Send a request and return the worker's reply; if the worker is lost, the reply says so."""
    try:
        return worker.request(request, deadline_seconds(request, settings))
    except WorkerLost as lost:
        return lost.reply


def deadline_seconds(request: Request, settings: Settings) -> float:
    """Seconds that a worker may take; the first call of a compiled case compiles what torch's cache lacks."""
    if request["op"] == "visit":
        return settings.deadline_seconds + SLOW_VISIT * float(request["seconds"])
    if request.get("case", {}).get("implementation") in COMPILED:
        return max(settings.deadline_seconds, settings.compile_deadline_seconds)
    if request["op"] == "count":
        return COUNTING_FACTOR * settings.deadline_seconds
    return settings.deadline_seconds


def in_parallel(jobs: Sequence[tuple[Callable[[], Result], Callable[[], None]]]) -> list[Result]:
    """Do jobs at the same time, each given with what stops it from another thread, and return their results.

    The first error, or Ctrl-C, stops all of them: nobody waits for a case that hangs.
    """
    with futures.ThreadPoolExecutor(len(jobs)) as pool:
        try:
            running = [pool.submit(job) for job, _ in jobs]
            done, _ = futures.wait(running, return_when=futures.FIRST_EXCEPTION)
            for each in done:
                each.result()
        except BaseException:
            for _, stop in jobs:
                stop()
            raise
    return [each.result() for each in running]


class Stopped(Exception):
    """A worker was ended because another one failed or the user stopped the command."""


class Asker:
    """Sends one request after another to a worker; starts a new one if the last was lost or failed at a case."""

    def __init__(
        self,
        settings: Settings,
        start: Callable[[], WorkerProcess],
        first: WorkerProcess | None = None,
        on_ready: Callable[[WorkerProcess], None] = lambda worker: None,
    ) -> None:
        """`first` is a worker that is ready; others are started when they are needed, and given to `on_ready`."""
        self._settings, self._start, self._worker, self._on_ready = settings, start, first, on_ready
        self._stopped = False

    def ask(self, request: Request, cores: Sequence[int]) -> Reply:
        """The reply of a worker on these cores; if the worker is lost, the reply says so."""
        try:
            if self._worker is None:
                self._worker = self._start()
                self._worker.wait_ready()
                self._on_ready(self._worker)
            if self._stopped:
                raise Stopped
            self._worker.pin(cores)
            reply = ask(self._worker, request, self._settings)
        except WorkerLost as lost:  # before it was ready
            reply = lost.reply
        if self._stopped:
            raise Stopped
        if reply.get("status") == "failed":  # the state of the worker is unknown
            self.close()
        return reply

    def stop(self) -> None:
        """End the worker from another thread; a waiting `ask` raises `Stopped`."""
        self._stopped, worker = True, self._worker
        if worker is not None:
            worker.kill()

    def close(self) -> None:
        """End the worker, if there is one."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None
