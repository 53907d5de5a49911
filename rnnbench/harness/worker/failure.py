"""How a worker reports an exception: the kind of failure, and the reason in one line."""

import os
import traceback
from pathlib import Path
from typing import Any

import torch

from rnnbench.cells import CellMissing
from rnnbench.harness.protocol import FailedReply
from rnnbench.store.records import Failure

HIDDEN = ("child_processes.py",)  # files whose frames do not belong to the cell


def reply(error: BaseException, reason: str) -> dict[str, Any]:
    """The reply to a request in which this error was raised."""
    return {**FailedReply(ok=False, status="failed", reason=reason, failure=kind(error))}


def kind(error: BaseException) -> Failure:
    """`loading` if the error or one of its causes is missing or unreadable code or a file; otherwise `running`.

    Files can be missing because of the place where a case runs, such as a temporary worktree, and not because of its
    code.
    """
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, CellMissing | ImportError | SyntaxError | OSError):
            return "loading"
        link = link.__cause__ or link.__context__
    return "running"


def reason(error: Exception) -> str:
    """One line with the error, and the innermost line of code outside installed packages."""
    name = "out of memory" if _is_out_of_memory(error) else type(error).__name__
    message = str(error).strip().splitlines()
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if f"{os.sep}site-packages{os.sep}" not in frame.filename and Path(frame.filename).name not in HIDDEN
    ]
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    # TorchScript begins with a sentence about itself and its own traceback; the error of the module comes last.
    line = message[-1 if isinstance(error, torch.jit.Error) else 0] if message else ""
    return f"{name}: {line[:300]}{where}"


def _is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out: in torch, in the host's allocator, in the driver, or while a library is set up."""
    phrases = ("can't allocate memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(phrase in str(error) for phrase in phrases)
