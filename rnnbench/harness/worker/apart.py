"""Work in a fork of the worker, which leaves nothing behind for the cases after it."""

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rnnbench.harness.devices import is_shared
from rnnbench.harness.protocol import Reply, Request
from rnnbench.harness.worker.code_parts import parts
from rnnbench.harness.worker.user_files import UsedFiles

TASKS = Path("/proc/self/task")
APART_SECONDS = 300  # after which the fork is ended


def may_fork(request: Request) -> bool:
    """Return True if this process can be forked for a request: it has no other threads, and no state on a device."""
    if request.get("apart") or sys.platform != "linux" or not is_shared(request["case"]["device"]):
        return False
    return len([*TASKS.iterdir()]) == 1


def answered_apart(request: Request, handle: Callable[[Request], Reply], files: UsedFiles) -> Reply:
    """Return how a fork of this process replies to a request, and `apart`; if the fork ends early, the reason.

    The files that the reply names are read here, too, so that the next fork need not read them again.
    """
    reply: Reply
    read, written = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        _answer(lambda: handle({**request, "apart": True}), written)
    os.close(written)
    with os.fdopen(read, encoding="utf-8") as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if not text:
        number = os.waitstatus_to_exitcode(status)
        how = f"by signal {signal.Signals(-number).name}" if number < 0 else f"with status {number}"
        reply = {"ok": False, "status": "failed", "reason": f"its process ended {how}"}
    else:
        reply = json.loads(text)
    tree = Path(request["tree"])
    for file in {tree.joinpath(part.partition(":")[0]).resolve() for part in reply.get("code", ())}:
        if file.is_file():
            parts(str(file))
    return {**_merged(reply, files.new()), "apart": True}


def _answer(answer: Callable[[], Reply], written: int) -> None:
    """Write the answer into a pipe, and end this process."""
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(APART_SECONDS)
        text = json.dumps(answer())
        with os.fdopen(written, "w", encoding="utf-8") as pipe:
            pipe.write(text)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _merged(reply: Reply, files: Mapping[str, Any]) -> Reply:
    """Return a reply with files that were used, beside those that a fork has told."""
    imported = {**files["imported"], **reply.get("imported", {})}
    missed = {**reply.get("missed", {}), **files["missed"]}
    lists = ("opened", "read", "written", "libraries")
    both = {name: [*dict.fromkeys([*files[name], *reply.get(name, ())])] for name in lists}
    return {**reply, "imported": imported, "missed": missed, **both}
