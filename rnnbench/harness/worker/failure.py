"""How a worker reports an exception: the kind of failure, and the reason in one line."""

from typing import Any

import torch

from rnnbench.cells import CellMissing
from rnnbench.harness.protocol import FailedReply
from rnnbench.raised import ending, place
from rnnbench.store.records import Failure
from rnnbench.text import message_of


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


def reason(error: BaseException) -> str:
    """One line with the error, and the innermost line of code outside installed packages."""
    if not isinstance(error, Exception):
        return ending(error)
    name = "out of memory" if _is_out_of_memory(error) else type(error).__name__
    # TorchScript begins with a sentence about itself and its own traceback; the error of the module comes last.
    lines = message_of(error).strip().splitlines()
    line = lines[-1 if isinstance(error, torch.jit.Error) else 0][:300] if lines else ""
    return f"{name}: {line}{place(error)}" if line else f"{name}{place(error)}"


def _is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out: in torch, in the host's allocator, in the driver, or while a library is set up."""
    phrases = ("can't allocate memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")
    message = message_of(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(phrase in message for phrase in phrases)
