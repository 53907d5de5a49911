"""The coordinator's handle on a worker. Never imports torch."""

import contextlib
import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rnnbench.measure.scratch import scratch
from rnnbench.measure.worker_protocol import NO_RANDOMIZATION

PACKAGE_PARENT = Path(__file__).resolve().parents[2]
START_SECONDS = 120.0  # importing torch from a cold disk
MOST_STARTS = 3  # of a worker that somebody kills before it is ready, as the system does where memory is short
MOST_LAYOUTS = 1 << 32  # seeds that Python takes for its hashes
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
    ) -> None:
        """Start `python`, importing from `paths` first: the folder that holds rnnbench, those of a user's modules.

        By default these are this rnnbench and the current folder; with `paths`, nothing comes from the current folder.
        Workers of equal `layout` have equal hash seeds and, where the system allows it, equal addresses. `variables`
        are added to the environment.
        """
        self.name = name
        self._stopped = False
        paths = (PACKAGE_PARENT, Path.cwd()) if paths is None else paths
        path = os.pathsep.join(filter(None, [*map(str, paths), os.environ.get("PYTHONPATH")]))
        fixed = {} if layout is None else {"PYTHONHASHSEED": str(layout)}
        # -P: or the current folder would come first, and with it the head's rnnbench on both sides.
        self._command = [python, "-P", "-m", "rnnbench.measure.worker", *([] if layout is None else [str(layout)])]
        self._environment = os.environ | COMPILE_ALONE | {"PYTHONPATH": path} | fixed | dict(variables or {})
        self._addresses = contextlib.nullcontext if layout is None else fixed_addresses
        self._start()

    def _start(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the worker
        self._unread = b""
        with self._addresses():
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=self._environment,
                start_new_session=True,  # Ctrl-C is the coordinator's to handle
                bufsize=0,
            )

    def wait_ready(self) -> dict[str, Any]:
        """The worker's hello; raises WorkerLost where it can't start. One that is killed meanwhile starts again."""
        for _ in range(MOST_STARTS - 1):
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

    def request(self, message: dict[str, Any], deadline_seconds: float) -> dict[str, Any]:
        """Send one request and wait for its reply; raises WorkerLost."""
        assert self._process.stdin is not None
        if self._process.returncode is not None:
            raise WorkerLost("the worker has ended")
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            raise WorkerLost(self._how_it_ended()) from None
        return self._read(deadline_seconds)

    def _read(self, seconds: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        end = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not selector.select(max(0.0, end - time.monotonic())):
                    self.close()
                    raise WorkerLost(f"no answer within {seconds:g} s")
                chunk = os.read(self._process.stdout.fileno(), 1 << 16)
                if not chunk:
                    raise WorkerLost(self._how_it_ended())
                self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
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
        self._end(grace_seconds=1.0)  # its streams are closed, so it ends by itself, if it has not
        code = self._process.returncode
        ended = (
            f"the worker was killed by {signal.Signals(-code).name}" if code < 0 else f"the worker exited with {code}"
        )
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        self._errors.close()
        return f"{ended}: {lines[-1][:300]}" if lines and code >= 0 else ended

    def kill(self) -> None:
        """End the worker from another thread: whoever waits for its answer finds it lost."""
        self._stopped = True
        self._process.kill()

    def close(self) -> None:
        """End the worker, whatever it does."""
        self._stopped = True
        self._end(grace_seconds=0.0)
        self._errors.close()

    def _end(self, grace_seconds: float) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        try:
            self._process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
