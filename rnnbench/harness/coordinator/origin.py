"""A process that has imported torch, called nothing of it, and forks itself into workers, which are ready in 0.1 s.

Workers of one origin have equal hash seeds and addresses. They are no children of the origin: the coordinator takes
each over, so that it can wait for it as for any child.
"""

import contextlib
import ctypes
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rnnbench.harness.machine.variables import FULL_PRECISION
from rnnbench.harness.protocol import NO_RANDOMIZATION

PACKAGE_PARENT = Path(__file__).resolve().parents[3]
STARTER = PACKAGE_PARENT / "rnnbench" / "harness" / "worker" / "__main__.py"
# torch.compile would start processes of its own, which would not end with the compiling.
COMPILE_ALONE = {"TORCHINDUCTOR_COMPILE_THREADS": "1"}
START_SECONDS = 120.0  # importing torch from a cold disk
MAX_LAYOUTS = 1 << 32  # number of hash seeds that Python accepts
READY = b"ready"  # what an origin sends when it can fork
MAX_MESSAGE = 32  # bytes of that, and of a process's number as text
PR_SET_CHILD_SUBREAPER = 36
_one_fork = threading.Lock()


@contextlib.contextmanager
def fixed_addresses() -> Iterator[None]:
    """Processes that start within the context have no randomized addresses, if Linux, which must run, allows that."""
    libc, ask = ctypes.CDLL(None), 0xFFFFFFFF
    before = libc.personality(ask)
    libc.personality(before | NO_RANDOMIZATION)  # refused in some containers: addresses then differ, and cost precision
    try:
        yield
    finally:
        libc.personality(before)


def worker_environment(layout: int | None) -> dict[str, str]:
    """Return the variables of a worker; those of equal `layout` have equal hash seeds."""
    seed = {} if layout is None else {"PYTHONHASHSEED": str(layout)}
    return os.environ | COMPILE_ALONE | FULL_PRECISION | seed


class ForkedProcess:
    """A worker that an origin forked, with as much of `subprocess.Popen` as the coordinator uses."""

    def __init__(self, pid: int, stdin: int, stdout: int) -> None:
        self.pid = pid
        self.stdin = open(stdin, "wb", buffering=0)  # noqa: SIM115 - they live as long as the worker
        self.stdout = open(stdout, "rb", buffering=0)  # noqa: SIM115
        self.returncode: int | None = None

    def kill(self) -> None:
        """Kill it, unless it has been waited for."""
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Wait until it has ended and return its exit code, negative after a signal."""
        if self.returncode is None:
            try:
                self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            except ChildProcessError:  # an interrupt came between the end of an earlier wait and its result
                self.returncode = -signal.SIGKILL
        return self.returncode


class Origin:
    """The handle on such a process. Linux only, and never for workers that use CUDA, which can't be forked."""

    def __init__(self, python: str, layout: int, *, preload: Path | None = None) -> None:
        """Describe it; it starts with its first worker.

        `preload`: the folder from which all of its workers import rnnbench, so that it may import that too.
        """
        self._python, self._layout, self._preload = python, layout, preload
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ready = False

    def start(self) -> None:
        """Start it, which takes as long as the import of torch; `wait` and `fork` wait for that."""
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection.settimeout(START_SECONDS)
        folder = str(self._preload) if self._preload else None
        started_with = json.dumps({"origin": theirs.fileno(), "layout": self._layout, "preload": folder})
        with theirs, fixed_addresses():
            self._process = subprocess.Popen(
                [self._python, "-P", str(STARTER), started_with],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=worker_environment(self._layout),
                start_new_session=True,  # the coordinator handles Ctrl-C
                pass_fds=[theirs.fileno()],
            )

    def fork(
        self,
        started_with: Mapping[str, Any],
        relay: Mapping[str, int],
        stderr: int,
        folder: Path | None,
        variables: Mapping[str, str],
    ) -> ForkedProcess | None:
        """Fork a worker; returns None if the origin can't start, has ended or hangs, as it may without torch.

        `relay`: descriptors that the worker keeps, by their names among its options. `variables` are added to its
        environment, and must be such as torch reads late.
        """
        places = {"relay": list(relay), "folder": str(folder or Path.cwd()), "variables": dict(variables)}
        request, pid = json.dumps({**started_with, **places}).encode(), b""
        (requests, stdin), (stdout, replies) = os.pipe(), os.pipe()
        with _one_fork, contextlib.suppress(OSError):
            self._wait()
            prctl = ctypes.CDLL(None).prctl
            prctl(PR_SET_CHILD_SUBREAPER, 1)  # the fork of a fork becomes a child of this process
            try:
                streams = [requests, replies, stderr, *relay.values()]
                socket.send_fds(self._connection, [request], streams)
                pid = self._connection.recv(MAX_MESSAGE)
            finally:
                prctl(PR_SET_CHILD_SUBREAPER, 0)
        for end in (requests, replies) if pid else (requests, replies, stdin, stdout):
            os.close(end)
        if pid:
            return ForkedProcess(int(pid), stdin, stdout)
        if self._process is not None:
            self._process.kill()  # a late answer would be taken for that to the next request
        return None

    def wait(self) -> None:
        """Wait until it can fork; one that can't start or hangs is told by its first `fork`."""
        with _one_fork, contextlib.suppress(OSError):
            self._wait()

    def _wait(self) -> None:
        if self._process is None:
            self.start()
        if not self._is_ready:
            self._is_ready = self._connection.recv(MAX_MESSAGE) == READY

    def close(self) -> None:
        """End it; its workers go on."""
        if self._process is not None:
            self._connection.close()
            self._process.wait()


class Origins:
    """The origins of the workers of a run, which take turns: each has another hash seed and other addresses."""

    def __init__(self, *, may_fork: bool, seed: int | None = None) -> None:
        """`may_fork`: whether all devices of the run allow it; if not, or elsewhere than on Linux, there are none."""
        self._rng = random.Random(seed)
        self._replicates = 0
        self._origins: list[Origin] = []
        if may_fork and sys.platform == "linux":
            self._add()

    @property
    def first(self) -> Origin | None:
        """The one that starts first; None if nothing may be forked."""
        return self._origins[0] if self._origins else None

    def of_next_replicate(self) -> Origin | None:
        """Return the origin of the next replicate's worker; None if nothing may be forked."""
        if not self._origins:
            return None
        self._replicates += 1
        return self._origins[(self._replicates - 1) % len(self._origins)]

    def add(self, number: int) -> None:
        """Start so many more, at the same time; `wait` waits for them."""
        if self._origins:
            for _ in range(number):
                self._add()
                self._origins[-1].start()

    def wait(self) -> None:
        """Wait until all that were started can fork, so that none of them imports torch while a case is timed."""
        for origin in self._origins:
            origin.wait()

    def close(self) -> None:
        """End them; their workers go on."""
        for origin in self._origins:
            origin.close()

    def _add(self) -> None:
        self._origins.append(Origin(sys.executable, self._rng.randrange(MAX_LAYOUTS), preload=PACKAGE_PARENT))
