"""The coordinator's handle on a worker. Never imports torch."""

import contextlib
import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rnnbench.harness.coordinator.process_group import end_with_descendants
from rnnbench.harness.coordinator.worker_output import WorkerOutput
from rnnbench.harness.machine.scratch import scratch
from rnnbench.harness.protocol import NO_RANDOMIZATION

PACKAGE_PARENT = Path(__file__).resolve().parents[3]
STARTER = PACKAGE_PARENT / "rnnbench" / "harness" / "worker" / "__main__.py"
START_SECONDS = 120.0  # importing torch from a cold disk
MAX_STARTS = 3  # of a worker that somebody kills before it is ready, as the system does where memory is short
LOOK_SECONDS = 0.5  # between looks at what a worker prints while it is waited for
PAUSE_SECONDS = 5.0  # a wait that lasts so much longer than that tells that this process was stopped
MAX_LAYOUTS = 1 << 32  # seeds that Python takes for its hashes
COMPILER_CACHE = "TORCHINDUCTOR_CACHE_DIR"
# torch.compile would keep processes of its own, which would not end with the compiling.
COMPILE_ALONE = {"TORCHINDUCTOR_COMPILE_THREADS": "1"}


@contextlib.contextmanager
def fixed_addresses() -> Iterator[None]:
    """Processes that are started meanwhile have no randomized addresses, where Linux allows that."""
    if sys.platform != "linux":
        yield
        return
    libc, ask = ctypes.CDLL(None), 0xFFFFFFFF
    before = libc.personality(ask)
    libc.personality(before | NO_RANDOMIZATION)  # refused in some containers: addresses then differ, and cost precision
    try:
        yield
    finally:
        libc.personality(before)


@contextlib.contextmanager
def compiler_cache() -> Iterator[None]:
    """Workers that are started meanwhile share what torch.compile makes, and nobody else does.

    So each case is compiled once in a run, and what that costs is not what an earlier run has left. A cache that the
    shell names (`TORCHINDUCTOR_CACHE_DIR`) is used instead; what is found there is told as not compiled anew.
    """
    if COMPILER_CACHE in os.environ:
        yield
        return
    with scratch("compiled") as folder:
        os.environ[COMPILER_CACHE] = str(folder)
        try:
            yield
        finally:
            del os.environ[COMPILER_CACHE]


class WorkerLost(Exception):
    """The worker died, hung or said something that is no reply; the reason in a clause."""


class WorkerProcess:
    """A worker that is starting; `wait_ready` returns its hello."""

    def __init__(
        self,
        name: str,
        python: str = sys.executable,
        paths: Sequence[Path] | None = None,
        layout: int | None = None,
        variables: Mapping[str, str] | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start `python`, importing from `paths` first: the folder that holds rnnbench, those of a user's modules.

        By default this is rnnbench's own folder, and modules that a suite names may come from the current folder; with
        `paths`, nothing does. Python's standard library comes before all of them. Workers of equal `layout` have equal
        hash seeds and, where the system allows it, equal addresses. `variables` are added to the environment.
        """
        self.name = name
        self.paused_seconds = 0.0  # of the last request, in which this process was stopped and could not wait
        self._now = now
        self._stopped = False
        self._requests = 0
        options = {"layout": layout, "current_folder": str(Path.cwd()) if paths is None else None}
        started_with = {"paths": [str(path) for path in paths or (PACKAGE_PARENT,)], "options": options}
        fixed = {} if layout is None else {"PYTHONHASHSEED": str(layout)}
        # -P: or the folder of the file that is run would come first on the import path.
        self._command = [python, "-P", str(STARTER), json.dumps(started_with)]
        self._environment = os.environ | COMPILE_ALONE | fixed | dict(variables or {})
        self._addresses = contextlib.nullcontext if layout is None else fixed_addresses
        self._start()

    def _start(self) -> None:
        self._output = WorkerOutput()
        self._unread = b""
        with self._addresses():
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._output.fileno(),
                env=self._environment,
                start_new_session=True,  # Ctrl-C is the coordinator's to handle
                bufsize=0,
            )

    def wait_ready(self) -> dict[str, Any]:
        """The worker's hello; raises WorkerLost where it can't start. One that is killed meanwhile starts again."""
        for _ in range(MAX_STARTS - 1):
            try:
                return self._read(START_SECONDS)
            except WorkerLost:
                if self._stopped or self._process.returncode != -signal.SIGKILL:
                    raise
            self._start()
        return self._read(START_SECONDS)

    def pin(self, cores: Sequence[int]) -> None:
        """Bind every thread of the worker to `cores`, where the system can do that."""
        if not hasattr(os, "sched_setaffinity"):
            return
        with contextlib.suppress(FileNotFoundError):  # it has ended, as the next request will tell
            for task in Path(f"/proc/{self._process.pid}/task").iterdir():
                with contextlib.suppress(ProcessLookupError):  # a thread that ended since it was listed
                    os.sched_setaffinity(int(task.name), cores)

    def request(self, message: Mapping[str, Any], deadline_seconds: float) -> dict[str, Any]:
        """Send one request and wait for its reply; raises WorkerLost."""
        assert self._process.stdin is not None
        if self._process.returncode is not None:
            raise WorkerLost("the worker has ended")
        self._requests += 1
        try:
            self._process.stdin.write(json.dumps({**message, "id": self._requests}).encode() + b"\n")
        except BrokenPipeError:
            raise WorkerLost(self._how_it_ended()) from None
        reply = self._read(deadline_seconds)
        if reply.pop("id", None) != self._requests:  # a case has found the stream and answers in the worker's place
            self.close()
            raise WorkerLost(f"no reply to this request, but {json.dumps(reply)[:60]!r}")
        return reply

    def _read(self, seconds: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        waited, self.paused_seconds, before = 0.0, 0.0, self._now()
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                is_there = selector.select(max(0.0, min(LOOK_SECONDS, seconds - waited)))
                now = self._now()
                before, passed = now, now - before
                # A wait that takes longer than was asked for: this process was stopped, and perhaps the worker too.
                waited += min(passed, LOOK_SECONDS)
                if passed > LOOK_SECONDS + PAUSE_SECONDS:
                    self.paused_seconds += passed
                if is_there:
                    chunk = os.read(self._process.stdout.fileno(), 1 << 16)
                    if not chunk:
                        raise WorkerLost(self._how_it_ended())
                    self._unread += chunk
                elif waited >= seconds:
                    self.close()
                    raise WorkerLost(f"no answer within {seconds:g} s")
                else:
                    self._output.cut()
        line, _, self._unread = self._unread.partition(b"\n")
        self._output.cut()
        try:
            reply = json.loads(line)
        except ValueError:
            reply = None
        if not isinstance(reply, dict):  # a case found the stream and wrote into it
            self.close()
            raise WorkerLost(f"no reply, but {line[:60].decode(errors='replace')!r}")
        return reply

    def _how_it_ended(self) -> str:
        """The exit in words, with the last line that the worker wrote to its standard error."""
        ended_itself = self._end(grace_seconds=1.0)  # its streams are closed, so it ends by itself, if it has not
        code, last = self._process.returncode, self._output.last_line()[:300]
        self._output.close()
        if not ended_itself and not self._stopped:
            return "the worker closed its streams without ending"
        if code < 0:
            return f"the worker was killed by {signal.Signals(-code).name}"
        return f"the worker exited with {code}{f': {last}' if last else ''}"

    def kill(self) -> None:
        """End the worker from another thread: whoever waits for its answer finds it lost."""
        self._stopped = True
        self._process.kill()

    def close(self) -> None:
        """End the worker and every process that it has started, whatever they do."""
        self._stopped = True
        self._end(grace_seconds=0.0)
        self._output.close()

    def _end(self, grace_seconds: float) -> bool:
        """End it; whether it ended by itself in that time."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        if self._process.returncode is not None:
            return True
        return end_with_descendants(self._process, grace_seconds)
