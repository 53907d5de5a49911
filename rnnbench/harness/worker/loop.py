"""The process that runs cases: requests and replies (`rnnbench.harness.protocol`) on its standard streams."""

import contextlib
import ctypes
import gc
import importlib
import json
import mmap
import os
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
OUT_OF_MEMORY = Path("/proc/self/oom_score_adj")
MAX_SHIFT_PAGES = 1 << 14  # 64 MiB of addresses, never touched


class WorkerStreams:
    """Requests and replies, on the standard input and output that the process was started with, out of a case's reach.

    For the cases, descriptor 0 is empty, and 1 and 2 are the standard error that the process was started with.
    """

    def __init__(self) -> None:
        self.requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
        self.replies = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
        self._nothing = os.open(os.devnull, os.O_RDWR)
        self._errors = os.dup(2)
        os.register_at_fork(after_in_child=self._close)
        self.restore()

    def restore(self) -> None:
        """Restore descriptors 0 to 2, whatever a case has closed or opened in their place."""
        streams = (("stdin", "r", self._nothing), ("stdout", "w", self._errors), ("stderr", "w", self._errors))
        for descriptor, (name, mode, source) in enumerate(streams):
            os.dup2(source, descriptor)
            if getattr(getattr(sys, name), "closed", True):  # a case may have put any object there
                setattr(sys, name, os.fdopen(os.dup(descriptor), mode, encoding="utf-8", errors="backslashreplace"))

    def printed_bytes(self) -> int:
        """Return the number of bytes printed so far; it decreases only when the coordinator truncates the file."""
        sys.stdout.flush()
        sys.stderr.flush()
        return os.fstat(self._errors).st_size

    def _close(self) -> None:
        """Run in a forked process, so that it takes no requests and does not keep the coordinator's pipes open."""
        for stream in (self.requests, self.replies):
            os.dup2(self._nothing, stream.fileno(), inheritable=False)


def bind_to_family() -> None:
    """On Linux: end with the coordinator, even in a call, be killed first if memory runs out, and adopt orphans.

    Descendants of this process whose parent has ended become its children.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    # Schedulers send SIGTERM to every process of a job; a worker that ended would look as if its case had killed it.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # not Linux, or a sandbox with a read-only /proc: the system chooses
        OUT_OF_MEMORY.write_text("1000")


def main(layout: int | None, current_folder: str | None, relay: dict[str, int], operations: Sequence[str] = ()) -> None:
    """Answer requests until the input ends.

    `layout` is the seed of the memory layout. `current_folder`: a folder from which modules of a suite may be imported.
    `relay`: see `WorkerState`. `operations`: modules beside those of this room that register operations.
    """
    bind_to_family()
    streams = WorkerStreams()
    draw = random.Random(layout)
    # Everything mapped later, including torch's libraries, gets an address that is lower by this much.
    shift = mmap.mmap(-1, mmap.PAGESIZE * draw.randrange(1, MAX_SHIFT_PAGES))
    gc.disable()  # before the imports: to search their objects again and again takes a tenth of a worker's start
    import torch  # noqa: F401 - first, so that a missing torch is reported

    from rnnbench.harness.worker.answers import answer, hello
    from rnnbench.harness.worker.state import WorkerState
    from rnnbench.harness.worker.user_files import UsedFiles, UserModules

    files = UsedFiles()
    files.watch()
    modules = UserModules(Path(current_folder) if current_folder else None)
    state = WorkerState(draw, streams.restore, streams.printed_bytes, files, modules.add, relay)
    for module in operations:
        importlib.import_module(module)
    streams.replies.write(json.dumps(hello()) + "\n")
    for line in streams.requests:
        streams.replies.write(json.dumps(answer(state, json.loads(line))) + "\n")
    shift.close()
