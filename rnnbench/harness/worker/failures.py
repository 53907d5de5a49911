"""Why a case failed, as the fields of a worker's reply."""

from typing import Any

import torch

from rnnbench import cells
from rnnbench.cells import CellMissing
from rnnbench.harness.protocol import Reply
from rnnbench.store.records import Failure
from rnnbench.text import ending, error_in_words, first_line, last_frame, message_of, place

# What torch, the host's allocator, the driver and libraries say when memory runs out.
NO_MEMORY = ("can't allocate memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")


def failed_reply(error: BaseException, reason: str) -> Reply:
    """Return the reply to a request in which this error was raised."""
    kind = failure_kind(error)
    places = failed_imports(error) if kind == "loading" else {}
    return {"ok": False, "status": "failed", "reason": reason, "failure": kind, **places}


def failure_kind(error: BaseException) -> Failure:
    """Return `loading` if the error or one of its causes is missing or unreadable code or a file; otherwise `running`.

    Files can be missing because of the place where a case runs, such as a temporary worktree, and not because of its
    code.
    """
    if isinstance(error, CellMissing | ImportError | SyntaxError | OSError):
        return "loading"
    cause = error.__cause__ or error.__context__
    return "running" if cause is None else failure_kind(cause)


def failed_imports(error: BaseException | None) -> dict[str, Any]:
    """Return where a failed import arose, among the errors that led to it.

    `arose_in`: the files whose code raised, can't be parsed, or lack a name that is imported from them; `lacks`: the
    modules that were not found; `is_lack`: whether a module or a name in one was not found.
    """
    files = dict[str, None]()
    modules = dict[str, None]()
    is_lack = False
    while error is not None:
        if (frame := last_frame(error)) is not None and frame.filename != cells.__file__:  # which imports a user's
            files[frame.filename] = None
        named = getattr(error, "path", None) or getattr(error, "filename", None) or getattr(error, "file", None)
        if isinstance(error, ImportError | SyntaxError | CellMissing) and named:
            files[str(named)] = None
        is_lack = is_lack or isinstance(error, ImportError) or (isinstance(error, CellMissing) and bool(error.file))
        if isinstance(error, ModuleNotFoundError) and error.name:
            modules[error.name] = None
        error = error.__cause__ or error.__context__
    return {"arose_in": [*files], "lacks": [*modules], "is_lack": is_lack}


def failure_reason(error: BaseException) -> str:
    """Return one line with the error, and the innermost line of a user's code."""
    if not isinstance(error, Exception):
        return ending(error)
    message = message_of(error)
    is_memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or any(text in message for text in NO_MEMORY)
    words = f"out of memory: {first_line(error)}" if is_memory else error_in_words(error)
    return f"{words}{place(error)}"
