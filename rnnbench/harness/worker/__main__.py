"""Start a worker: set its import path, then hand over to `rnnbench.harness.worker.loop`.

The coordinator runs this file by its path, since nothing may be imported before the import path is set. The argument is
JSON: `paths`, the folders to import from before all installed packages, and the worker's `options`; or the arguments of
`become_origin`: `origin`, a socket with a request for each worker to fork, and the seed of the memory's `layout`.
"""

import json
import os
import sys
import sysconfig
from typing import Any

MAX_REQUEST = 1 << 17  # bytes
MAX_DESCRIPTORS = 8  # of a request
MAX_SHIFT_PAGES = 1 << 14  # 64 MiB of addresses, never touched
PRELOADED_TORCH = (
    "torch",
    "torch.fx.experimental.symbolic_shapes",
)  # and what the first backward imports, which takes 0.4 s
PRELOADED = ("rnnbench.harness.worker.answers",)


def import_path(entries: list[str], first: list[str]) -> list[str]:
    """Return the standard library, then `first`, then the other entries of a `sys.path`.

    Python itself puts $PYTHONPATH and the current folder before the standard library, so a file `random.py` there
    would be imported instead of Python's own.
    """
    folders = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    folders |= {os.path.join(folder, "lib-dynload") for folder in folders}  # noqa: PTH118 - pathlib takes 5 ms to import
    standard = [entry for entry in entries if entry in folders]
    return list(dict.fromkeys([*standard, *first, *entries]))


def become_origin(
    origin: int, layout: int, preload: str | None, kinds: list[str], only_here: list[str]
) -> dict[str, Any]:
    """Import torch, and rnnbench from the folder `preload` if it is given, then `serve`."""
    sys.path[:] = import_path(sys.path, [preload] if preload else [])
    import gc
    import importlib
    import mmap
    import random
    import socket

    # torch's libraries get addresses that are lower by this much.
    shift = mmap.mmap(-1, mmap.PAGESIZE * random.Random(layout).randrange(1, MAX_SHIFT_PAGES))
    gc.disable()  # to search the objects of torch again and again takes a tenth of its import
    for module in (*PRELOADED_TORCH, *(PRELOADED if preload else ())):
        importlib.import_module(module)
    gc.freeze()  # forks look through none of it
    started_with = serve(socket.socket(fileno=origin), kinds, only_here)
    shift.close()
    return started_with


def serve(connection: Any, kinds: list[str], only_here: list[str]) -> dict[str, Any]:
    """Fork this process for each request of a socket; return, in each fork, what its worker is started with.

    Each worker is the child of the process that sent the request, not of this one, which ends with the requests.
    `kinds`: those of devices that each worker must be able to use; if it can't, the answer is the reason. `only_here`:
    variables that no worker gets.
    """
    import socket
    import time

    while True:
        message, descriptors, _, _ = socket.recv_fds(connection, MAX_REQUEST, MAX_DESCRIPTORS)
        if not message:
            os._exit(0)
        between = os.fork()
        if between == 0:
            break
        os.waitpid(between, 0)
        for descriptor in descriptors:
            os.close(descriptor)
    between = os.getpid()
    if reason := why_unusable(kinds):
        connection.send(reason.encode())
        os._exit(0)
    if os.fork():
        os._exit(0)
    while os.getppid() == between:
        time.sleep(0.0002)
    os.setsid()
    connection.send(str(os.getpid()).encode())
    connection.close()
    started_with: dict[str, Any] = json.loads(message)
    for standard, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    started_with["options"]["relay"] = dict(zip(started_with["relay"], descriptors[3:], strict=True))
    os.chdir(started_with["folder"])
    for name in only_here:
        del os.environ[name]
    os.environ.update(started_with["variables"])
    return started_with


def why_unusable(kinds: list[str]) -> str:
    """Return why this process, a fork of one that has imported torch, can't use devices of a kind; empty if it can.

    The answer is torch's: it notes in each fork whether the process before it had used the device by then.
    """
    torch = sys.modules["torch"]
    for kind in kinds:
        is_in_bad_fork = getattr(getattr(torch, kind, None), "_is_in_bad_fork", None)
        if is_in_bad_fork is None or torch.version.hip is not None:
            return f"it is not known whether a fork can use {kind} with torch {torch.__version__}"
        if is_in_bad_fork():
            return f"what torch imports has used {kind} before any worker was forked, so no fork can use it"
    return ""


def work(paths: list[str], options: dict[str, Any], **_: object) -> None:
    """Import rnnbench from the first of these folders, and answer requests."""
    sys.path[:] = import_path(sys.path, paths)

    from rnnbench.harness.worker.loop import main

    main(**options)


if __name__ == "__main__":
    started_with = json.loads(sys.argv.pop(1))
    work(**(become_origin(**started_with) if "origin" in started_with else started_with))
