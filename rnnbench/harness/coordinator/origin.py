"""A process that has imported torch, called nothing of it, and forks itself into workers, which are ready in 0.1 s.

Workers of one origin have equal hash seeds and addresses. They are no children of the origin: the coordinator takes
each over, so that it can wait for it as for any child.

Workers of a GPU may be forked, too, as long as the origin has not used the GPU. Each fork asks torch whether it has; if
so, the worker ends before it begins, and the coordinator starts it, and all others, without an origin.
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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rnnbench.harness.machine.variables import FULL_PRECISION
from rnnbench.harness.protocol import NO_RANDOMIZATION

PACKAGE_PARENT = Path(__file__).resolve().parents[3]
STARTER = PACKAGE_PARENT / "rnnbench" / "harness" / "worker" / "__main__.py"
# torch.compile would start processes of its own, which would not end with the compiling.
COMPILE_ALONE = {"TORCHINDUCTOR_COMPILE_THREADS": "1"}
# Whatever an origin imports may ask torch whether there is a card. CUDA's runtime would answer, and a fork can't use
# CUDA after that; with this variable it is NVML that answers.
BY_NVML = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
START_SECONDS = 120.0  # importing torch from a cold disk
REPLICATES = 4  # of a run, forked from one origin; the next ones have another hash seed and other addresses
MAX_LAYOUTS = 1 << 32  # number of hash seeds that Python accepts
MAX_ANSWER = 1 << 10  # bytes of a process's number, or of why there is no process
PR_SET_CHILD_SUBREAPER = 36
_one_fork = threading.Lock()


def not_forked(why: str) -> str:
    """Return a note for the reader about workers that could not be forked; `why` is a clause."""
    return f"each worker was started anew, which takes seconds longer than a fork: {why}"


@contextlib.contextmanager
def fixed_addresses() -> Iterator[None]:
    """Start processes without randomized addresses within the context, if the system allows that. Linux only."""
    libc = ctypes.CDLL(None)
    ask = 0xFFFFFFFF
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
    """The handle on such a process. Linux only."""

    def __init__(self, python: str, layout: int, *, preload: Path | None = None, kinds: Sequence[str] = ()) -> None:
        """Describe it; it starts with its first worker.

        `preload`: the folder from which all of its workers import rnnbench, so that it may import that too. `kinds`:
        those of the devices of its workers, such as cuda, that a process can't use if the one that forked it has.
        """
        self._python = python
        self._layout = layout
        self._preload = preload
        self._kinds = kinds
        self._process: subprocess.Popen[bytes] | None = None
        self.fault = ""  # why its forks can't use a device of these kinds, once one has told; it forks no more then

    def _start(self) -> None:
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection.settimeout(START_SECONDS)
        folder = str(self._preload) if self._preload else None
        only_here = {name: value for name, value in BY_NVML.items() if self._kinds and name not in os.environ}
        about = {"layout": self._layout, "preload": folder, "kinds": [*self._kinds], "only_here": [*only_here]}
        with theirs, fixed_addresses():
            self._process = subprocess.Popen(
                [self._python, "-P", str(STARTER), json.dumps({"origin": theirs.fileno(), **about})],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=worker_environment(self._layout) | only_here,
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

        It also returns None, and sets `fault`, if a fork could not use the devices of its kinds. `relay`: descriptors
        that the worker keeps, by their names among its options. `variables` are added to its environment, and must be
        such as torch reads late.
        """
        places = {"relay": list(relay), "folder": str(folder or Path.cwd()), "variables": dict(variables)}
        request = json.dumps({**started_with, **places}).encode()
        answer = b""
        (requests, stdin), (stdout, replies) = os.pipe(), os.pipe()
        with _one_fork, contextlib.suppress(OSError):
            if self._process is None:
                self._start()
            prctl = ctypes.CDLL(None).prctl
            prctl(PR_SET_CHILD_SUBREAPER, 1)  # the fork of a fork becomes a child of this process
            try:
                streams = [requests, replies, stderr, *relay.values()]
                socket.send_fds(self._connection, [request], streams)
                answer = self._connection.recv(MAX_ANSWER)
            finally:
                prctl(PR_SET_CHILD_SUBREAPER, 0)
        is_forked = answer.isdigit()
        for end in (requests, replies) if is_forked else (requests, replies, stdin, stdout):
            os.close(end)
        if is_forked:
            return ForkedProcess(int(answer), stdin, stdout)
        self.fault = self.fault or answer.decode()
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

    def __init__(self, *, may_fork: bool, kinds: Sequence[str] = (), seed: int | None = None) -> None:
        """`may_fork`: whether all devices of the run allow it; if not, or elsewhere than on Linux, there are none.

        `kinds`: see `Origin`.
        """
        self._may_fork = may_fork and sys.platform == "linux"
        self._rng = random.Random(seed)
        self._kinds = kinds
        self._replicates = 0  # of the current one
        self._current: Origin | None = None
        self.notes: list[str] = []  # for the reader: why there are no origins any more
        self._renew()

    @property
    def current(self) -> Origin | None:
        """The origin of the workers that are started now; None if none may be forked."""
        if self._current is not None and self._current.fault:
            self.give_up(self._current.fault)
        return self._current

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

    def give_up(self, why: str) -> None:
        """Fork no more workers; `why` is a clause."""
        self.close()
        self._may_fork = False
        self._current = None
        self.notes.append(not_forked(why))

    def close(self) -> None:
        """End the current one; its workers go on."""
        if self._current is not None:
            self._current.close()

    def _renew(self) -> None:
        self.close()
        self._replicates = 0
        if self._may_fork:
            layout = self._rng.randrange(MAX_LAYOUTS)
            self._current = Origin(sys.executable, layout, preload=PACKAGE_PARENT, kinds=self._kinds)
