"""What a worker says of an exception: what kind of failure it is, and the reason in a line."""

import os
import traceback
from pathlib import Path
from typing import Any

import torch

from rnnbench.cells import CellMissing
from rnnbench.harness.protocol import FailedReply
from rnnbench.store.records import Failure

HIDDEN = ("child_processes.py",)  # whose line is none of the cell's


def reply(error: BaseException, reason: str) -> dict[str, Any]:
    """The reply to a request in which this was raised."""
    return {**FailedReply(ok=False, status="failed", reason=reason, failure=kind(error))}


def kind(error: BaseException) -> Failure:
    """`loading` where code or a file was missing or unreadable, in what was raised or what led to it; else `running`.

    Files can be missing because of where a case is run, a temporary worktree for example, and not because of its code.
    """
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, CellMissing | ImportError | SyntaxError | OSError):
            return "loading"
        link = link.__cause__ or link.__context__
    return "running"


def reason(error: Exception) -> str:
    """One line: what was raised, and where in code that is not torch's."""
    name = "out of memory" if _is_out_of_memory(error) else type(error).__name__
    message = str(error).strip().splitlines()
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if f"{os.sep}site-packages{os.sep}" not in frame.filename and Path(frame.filename).name not in HIDDEN
    ]
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{name}: {message[0][:300] if message else ''}{where}"


def _is_out_of_memory(error: Exception) -> bool:
    """Also where it shows in the host's allocator, in the driver below torch's, or in a library's set-up."""
    words = ("can't allocate memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(one in str(error) for one in words)
