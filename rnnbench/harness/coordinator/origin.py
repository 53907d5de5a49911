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
REPLICATES = 4  # of a run, forked from one origin; the next ones have another hash seed and other addresses
MAX_LAYOUTS = 1 << 32  # number of hash seeds that Python accepts
MAX_NUMBER = 32  # bytes of a process's number as text
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

    def _start(self) -> None:
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
            if self._process is None:
                self._start()
            prctl = ctypes.CDLL(None).prctl
            prctl(PR_SET_CHILD_SUBREAPER, 1)  # the fork of a fork becomes a child of this process
            try:
                streams = [requests, replies, stderr, *relay.values()]
                socket.send_fds(self._connection, [request], streams)
                pid = self._connection.recv(MAX_NUMBER)
            finally:
                prctl(PR_SET_CHILD_SUBREAPER, 0)
        for end in (requests, replies) if pid else (requests, replies, stdin, stdout):
            os.close(end)
        if pid:
            return ForkedProcess(int(pid), stdin, stdout)
        if self._process is not None:
            self._process.kill()  # a late answer would be taken for that to the next request
        return None

    def close(self) -> None:
        """End it; its workers go on."""
        if self._process is not None:
            self._connection.close()
            self._process.wait()


class Origins:
    """The origins of the workers of a run, one after another."""

    def __init__(self, *, may_fork: bool, seed: int | None = None) -> None:
        """`may_fork`: whether all devices of the run allow it; if not, or elsewhere than on Linux, there are none."""
        self._may_fork, self._rng = may_fork and sys.platform == "linux", random.Random(seed)
        self._replicates = 0  # of the current one
        self.current: Origin | None = None
        self._renew()

    def of_next_replicate(self) -> Origin | None:
        """Return the origin of the next replicate's worker, a new one after `REPLICATES`; None if none may fork."""
        if self._replicates == REPLICATES:
            self._renew()
        self._replicates += 1
        return self.current

    def stay(self) -> None:
        """Fork some more replicates from the current origin: there is no time for another one."""
        self._replicates = 0

    @property
    def is_due(self) -> bool:
        """Whether the next replicate needs a new origin, which takes as long as the start of the run."""
        return self._replicates == REPLICATES and self._may_fork

    def close(self) -> None:
        """End the current one; its workers go on."""
        if self.current is not None:
            self.current.close()

    def _renew(self) -> None:
        self.close()
        self._replicates = 0
        if self._may_fork:
            self.current = Origin(sys.executable, self._rng.randrange(MAX_LAYOUTS), preload=PACKAGE_PARENT)
