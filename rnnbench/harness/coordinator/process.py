"""A worker as the coordinator sees it: its process, its requests and replies, and the one after it if it is lost."""

import contextlib
import fcntl
import json
import math
import mmap
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path
from typing import IO, Any, TypeVar

from rnnbench.errors import UserError
from rnnbench.harness.coordinator.origin import (
    PACKAGE_PARENT,
    START_SECONDS,
    STARTER,
    Origin,
    fixed_addresses,
    worker_environment,
)
from rnnbench.harness.machine.families import end_family
from rnnbench.harness.protocol import PROTOCOL_VERSION, Reply, Request
from rnnbench.store.implementations import COMPILED
from rnnbench.suite.file import Settings
from rnnbench.temporary import no_room, scratch
from rnnbench.text import last_line

OUTPUT_LOOK_SECONDS = 0.5  # between looks at a worker's output while waiting for its reply
MARK = struct.Struct("i")  # of the case in turn, in memory that a worker shares
MAX_PRINTED_BYTES = 16 << 20  # of what a worker prints, which are then forgotten
LAST_BYTES = 64 << 10  # of these, in which the last line is
OBSERVER = "observer"  # name of the workers that time nothing
COMPILER_CACHE = "TORCHINDUCTOR_CACHE_DIR"
ENDED_FLAGS = os.WEXITED | os.WNOHANG | os.WNOWAIT  # of waitid: look for its end, and leave it to be reaped
SLOW_VISIT = 20.0  # how much longer than expected a visit may take on a busy machine
COUNTING_FACTOR = 20  # how much longer a call takes while its instructions are counted

Result = TypeVar("Result")


@contextlib.contextmanager
def compiler_cache() -> Iterator[None]:
    """Let workers that start within the context share a cache of torch.compile, which nobody else uses.

    So each case is compiled once in a run, and an earlier run can't make that look cheaper. A cache that the shell
    names (`TORCHINDUCTOR_CACHE_DIR`) is used instead; what is found there is reported as not compiled anew.
    """
    with scratch("compiled") as folder:
        is_own = os.environ.setdefault(COMPILER_CACHE, str(folder)) == str(folder)
        try:
            yield
        finally:
            if is_own:
                del os.environ[COMPILER_CACHE]


def lost(reason: str) -> Reply:
    """Return the reply that stands for that of a worker that died or hung; the reason is a clause."""
    return {"ok": False, "status": "failed", "reason": reason, "failure": "lost"}


def temporary_file(content: bytes = b"") -> IO[bytes]:
    """Make a file without a name, which ends when it is closed; raises UserError that names a folder without room."""
    try:
        file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - the caller closes it
        file.write(content)
    except OSError as fault:
        raise no_room(fault) from None
    return file


@dataclass(frozen=True)
class WorkerStart:
    """How a worker is started: the interpreter, what it imports from, and what it gets from the coordinator.

    By default it imports rnnbench from its own folder, and modules that a suite names may come from the current folder;
    with `paths`, nothing comes from there. Python's standard library is searched before all of them, everything else
    after them. Workers of equal `layout` have equal hash seeds and, if the system allows it, equal addresses.
    """

    python: str = sys.executable
    paths: Sequence[Path] | None = None  # the folder that contains rnnbench, and those of a user's modules
    layout: int | None = None
    variables: Mapping[str, str] = field(default_factory=dict)  # added to its environment
    folder: Path | None = None  # where it stands; None for the current folder
    first: Request | None = None  # a request that is part of the start
    operations: Sequence[str] = ()  # modules that it imports, which register operations of rooms above the harness
    # The ends of two pipes, through which the worker of another side hands over and gets back the token of a visit.
    token: tuple[int, int] | None = None
    origin: Origin | None = None  # forks the worker in place of a start, if it can and no command is to run it
    under: Sequence[str] = ()  # the start of a command that runs another one, such as valgrind's
    start_seconds: float = START_SECONDS  # the longest time until the worker is ready

    def options(self) -> dict[str, Any]:
        """Return the options of `rnnbench.harness.worker.loop.main` but `relay`.

        Without modules of operations it is not told of any, so that a worker of an older revision, which knows no such
        option, still tells its protocol.
        """
        current_folder = str(Path.cwd()) if self.paths is None else None
        modules = {"operations": [*self.operations]} if self.operations else {}
        return {"layout": self.layout, "current_folder": current_folder, **modules}


USUAL_START = WorkerStart()


class WorkerProcess:
    """A worker that is starting; `wait_ready` returns its hello. When it is lost, its replies say so from then on."""

    def __init__(
        self, name: str, start: WorkerStart = USUAL_START, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Start a worker. Raises UserError if the system starts no process."""
        self.name = name
        self._start = start
        self._now = now
        self._lost: Reply | None = None
        self.first_reply: Reply = {}  # to the request that is part of the start
        self._unread = b""
        self._output = temporary_file()
        # Every write then goes to the end, also after the file was cut.
        fcntl.fcntl(self._output, fcntl.F_SETFL, os.O_RDWR | os.O_APPEND)
        is_fixed = start.layout is not None and sys.platform == "linux"
        options = start.options()
        started_with = {"paths": [str(path) for path in start.paths or (PACKAGE_PARENT,)], "options": options}
        stderr = self._output.fileno()
        added = dict(start.variables)
        ends = {} if start.token is None else dict(zip(("token_from", "token_to"), start.token, strict=True))
        with temporary_file(MARK.pack(-1)) as marks:
            self._marks = mmap.mmap(marks.fileno(), MARK.size)
            relay = {"marks": marks.fileno(), **ends}
            try:
                forked = None
                if start.origin is not None and not start.under:
                    forked = start.origin.fork(started_with, relay, stderr, start.folder, added)
                options["relay"] = relay
                with fixed_addresses() if is_fixed else contextlib.nullcontext():
                    self._process: Any = forked or subprocess.Popen(
                        # Without -P, the folder of the file that is run would come first on the import path.
                        [*start.under, start.python, "-P", str(STARTER), json.dumps(started_with)],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=stderr,
                        env=worker_environment(start.layout) | added,
                        cwd=start.folder,
                        start_new_session=True,  # the coordinator handles Ctrl-C
                        bufsize=0,
                        pass_fds=tuple(relay.values()),
                    )
                self.pid = self._process.pid
            except OSError as fault:  # not of the run's folder: no process, memory or open file is left
                self._marks.close()
                self._output.close()
                why = ": ".join(str(part) for part in (fault.filename, fault.strerror or fault) if part)
                raise UserError(f"no worker can start: {why}") from None

    @property
    def turn(self) -> int | None:
        """The number of the case that the worker is calling in a visit, or was when it failed; None between turns."""
        [number] = MARK.unpack_from(self._marks)
        return None if number < 0 else number

    def wait_ready(self) -> Reply:
        """Return the worker's hello, or that it is lost."""
        hello = self._read(self._start.start_seconds)
        if self._start.first is not None:
            self.first_reply = self.request(self._start.first, self._start.start_seconds)
        return self._lost or hello

    def pin(self, cores: Sequence[int]) -> None:
        """Bind every thread of the worker to `cores`, if the system can do that and allows it."""
        # Not Linux; or the worker has ended, as the next request will find; or a sandbox refuses.
        with contextlib.suppress(FileNotFoundError, PermissionError):
            for task in Path(f"/proc/{self.pid}/task").iterdir():
                with contextlib.suppress(ProcessLookupError):  # a thread that ended since it was listed
                    os.sched_setaffinity(int(task.name), cores)

    def request(self, message: Request, seconds: float) -> Reply:
        """Send one request and wait so long for its reply."""
        if self._lost is None:
            try:
                self._process.stdin.write(json.dumps(message).encode() + b"\n")
            except BrokenPipeError:
                self._lost = lost(self._how_it_ended())
        return self._lost or self._read(seconds)

    def _read(self, seconds: float) -> Reply:
        replies = self._process.stdout
        waited = 0.0
        before = self._now()
        while self._lost is None and b"\n" not in self._unread:
            is_there = connection.wait([replies], max(0.0, min(OUTPUT_LOOK_SECONDS, seconds - waited)))
            now = self._now()
            before, passed = now, now - before
            # If a wait takes longer than requested, this process was stopped (Ctrl-Z), and perhaps the worker too.
            waited += min(passed, OUTPUT_LOOK_SECONDS)
            if os.fstat(self._output.fileno()).st_size > MAX_PRINTED_BYTES:
                os.ftruncate(self._output.fileno(), 0)
            if is_there:
                chunk = os.read(replies.fileno(), 1 << 16)
                self._unread += chunk
                if not chunk:
                    self._lost = lost(self._how_it_ended())
            elif waited >= seconds:
                self.close()
                self._lost = lost(f"no answer within {seconds:g} s")
        line, _, self._unread = self._unread.partition(b"\n")
        return self._lost or json.loads(line)

    def _how_it_ended(self) -> str:
        """Return the exit in words, with the last line that the worker wrote to its standard error."""
        self._end(grace_seconds=1.0)  # its streams are closed, so it is about to end
        code = self._process.wait()
        printed = os.fstat(self._output.fileno()).st_size
        end = os.pread(self._output.fileno(), LAST_BYTES, max(0, printed - LAST_BYTES))
        self._output.close()
        if code < 0:
            names = {int(number): number.name for number in signal.Signals}  # without most of the real-time signals
            return f"the worker was killed by {names.get(-code, f'signal {-code}')}"
        last = last_line(end.decode(errors="replace"))[:300]
        return f"the worker exited with {code}{f': {last}' if last else ''}"

    def kill(self) -> None:
        """End the worker from another thread; a request that waits gets the reply that it is lost."""
        self._process.kill()

    def close(self) -> None:
        """End the worker and every process that it started, whatever they are doing."""
        self._lost = self._lost or lost("the worker has ended")
        self._end(grace_seconds=0.0)
        self._output.close()

    def _end(self, grace_seconds: float) -> None:
        """Wait until it has ended by itself, then kill what is left of its group and its descendants, and reap it."""
        process = self._process
        end = time.monotonic() + grace_seconds
        if process.returncode is None:
            with contextlib.suppress(ChildProcessError):  # it was reaped, but an interrupt came before that was noted
                while time.monotonic() < end and os.waitid(os.P_PID, process.pid, ENDED_FLAGS) is None:
                    time.sleep(0.002)
            end_family(process.pid)
            process.wait()
        # Not before: a worker ends without its input, and then nobody knows any more which processes it has started.
        for stream in (process.stdin, process.stdout):
            stream.close()


def ready(start: Callable[[], WorkerProcess]) -> tuple[WorkerProcess, Reply]:
    """Start a worker, and return it with its hello; if it is lost on the way, start another one.

    Raises UserError as `refuse_hello` does.
    """
    worker = start()
    try:
        if not (reply := worker.wait_ready()).get("ok", True):
            worker.close()
            worker = start()
            reply = worker.wait_ready()
        refuse_hello(reply)
    except BaseException:
        worker.close()
        raise
    return worker, reply


def refuse_hello(reply: Reply, of: str = "") -> None:
    """Raise UserError if a worker could not start, or uses another protocol, as one of an older revision may.

    `of`: whose worker it is, for the message.
    """
    if not reply.get("ok", True):
        raise UserError(f"{of}no worker can start: {reply['reason']}")
    if (version := reply.get("protocol")) != PROTOCOL_VERSION:
        raise UserError(
            f"{of}the worker uses protocol {version}, but this rnnbench uses {PROTOCOL_VERSION}; choose a revision "
            "whose rnnbench uses the same"
        )


def deadline_seconds(request: Request, settings: Settings) -> float:
    """Return the most seconds of a request; the first call of a compiled case compiles what torch's cache lacks."""
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
    with futures.ThreadPoolExecutor(len(jobs)) as pool, contextlib.ExitStack() as stack:
        for _, stop in jobs:
            stack.callback(stop)
        running = [pool.submit(job) for job, _ in jobs]
        for each in futures.as_completed(running):
            each.result()
        stack.pop_all()
    return [each.result() for each in running]


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
        self._settings = settings
        self._start = start
        self.worker = first
        self._on_ready = on_ready
        self._stopped = False

    def ask(self, request: Request, cores: Sequence[int], most_seconds: float = math.inf) -> Reply:
        """Return the reply of a worker on these cores; if the worker is lost, the reply says so.

        `most_seconds`: when the worker is ended even if such a request may take longer.
        """
        if self.worker is None:
            self.worker = self._start()
            if self.worker.wait_ready().get("ok", True):
                self._on_ready(self.worker)
        if self._stopped:
            raise futures.CancelledError
        self.worker.pin(cores)
        reply = self.worker.request(request, min(most_seconds, deadline_seconds(request, self._settings)))
        if self._stopped:
            raise futures.CancelledError
        if reply.get("status") == "failed":  # the state of the worker is unknown
            self.close()
        return reply

    def stop(self) -> None:
        """End the worker from another thread; a waiting `ask` raises CancelledError."""
        self._stopped = True
        worker = self.worker
        if worker is not None:
            worker.kill()

    def close(self) -> None:
        """End the worker, if there is one."""
        if self.worker is not None:
            self.worker.close()
            self.worker = None
