"""How a worker answers a request: by the operation that it names, whose errors become the reply of a failed case.

A case can't harm the cases after it, and may leave no process running. The reply of one that failed says why.
"""

import gc
import sys
import traceback
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch

import rnnbench.harness.worker.operations  # noqa: F401 - they register themselves
from rnnbench import cells
from rnnbench.cells import CellError, CellMissing
from rnnbench.harness import devices
from rnnbench.harness.machine import global_state
from rnnbench.harness.machine.cores import file_text
from rnnbench.harness.protocol import NO_RANDOMIZATION, PROTOCOL_VERSION, Reply, Request
from rnnbench.harness.worker.apart import answered_apart, may_fork
from rnnbench.harness.worker.left_running import MAX_NAMED_LEFT, running_processes
from rnnbench.harness.worker.state import WorkerState
from rnnbench.harness.worker.table import OPERATIONS, Operation
from rnnbench.store.records import Failure
from rnnbench.text import ending, error_in_words, first_few, first_line, last_frame, message_of, place
from rnnbench.workloads import compiled
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.parity import ParityError
from rnnbench.workloads.processor import in_plain_words

PERSONALITY = Path("/proc/self/personality")
# What torch, the host's allocator, the driver and libraries say when memory runs out.
NO_MEMORY = ("can't allocate memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")


def answer(state: WorkerState, request: Request) -> Reply:
    """Reply to one request; an error of a case is a reply, too, after which the coordinator ends the worker."""
    operation = OPERATIONS.get(request["op"])
    if operation is None:
        return {
            "ok": False,
            "status": "failed",
            "reason": f"this worker has no operation {request['op']!r}; it has {', '.join(sorted(OPERATIONS))}",
            "failure": "running",
        }
    if operation.runs_apart and may_fork(request):
        return answered_apart(request, partial(answer, state), state.files)
    before = running_processes()
    try:
        reply = _performed(operation, state, request)
        _put_back(operation, state, request, before)
    except CellError as error:
        reply = failed_reply(error, str(error))
    except ParityError as error:
        late = " after timing" if request["op"] == "verify" else ""
        reply = failed_reply(error, f"parity{late}: {error}")
    except BaseException as error:  # also `sys.exit` of a case: signals that end a process do not reach a worker
        state.restore_streams()  # a case that raises may have closed them
        traceback.print_exc()
        reply = failed_reply(error, failure_reason(error))
    return reply | (state.files.new() if operation.ends_case else {})


def _performed(operation: Operation, state: WorkerState, request: Request) -> Reply:
    """Return the reply of an operation, or the reason for which its case is skipped."""
    state.begin_request()
    try:
        with ExitStack() as stack:
            stack.enter_context(in_plain_words())
            if not operation.is_timed:
                stack.enter_context(state.code_settings.noting())
                stack.enter_context(state.files.missed.noting(is_case="case" in request))
            return {"ok": True} | (operation.perform(state, request) or {})
    except Skip as skip:
        return {"ok": False, "status": "skipped", "reason": str(skip)}


def _put_back(operation: Operation, state: WorkerState, request: Request, before: Mapping[int, str]) -> None:
    """Prepare the process for the next case; `before`: the processes that ran. Raises CellError."""
    state.settings = state.place_settings
    if operation.ends_case and not request.get("apart"):  # a process that ends now keeps nothing
        # Much is in reference cycles: compiled code, a recorded graph with all its memory, a profile. Garbage
        # collection is off while cases run; what remains is torch's own, which later collections skip.
        compiled.forget()
        gc.collect()
        gc.freeze()
        for kind in {*devices.BACKENDS.values()}:
            kind.empty_cache()
    state.restore_settings()
    prepared = (ready.built.case.workload.workers for ready in state.prepared.values())
    if request.get("case", {}).get("workers") or any(prepared):
        return  # they load data
    if new := [name for number, name in running_processes().items() if number not in before]:
        raise CellError(
            f"the call leaves processes running: {first_few(new, MAX_NAMED_LEFT)}; end them within the call"
        )


def hello() -> dict[str, Any]:
    """Describe this worker: versions, and the devices that it sees."""
    personality = file_text(PERSONALITY) or "0"  # which only Linux tells, and some sandboxes hide
    return {
        "protocol": PROTOCOL_VERSION,
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        **devices.Cpu.about(),
        **devices.Cuda.about(),
        "fixed_addresses": bool(int(personality, 16) & NO_RANDOMIZATION),
        "settings": {name: str(global_state.TORCH[name].read()) for name in global_state.DESCRIBED},
    }


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
