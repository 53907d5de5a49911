"""The subprocess that runs cases: requests and replies as JSON lines on its standard streams.

Its first line says what it is (`hello`); then each request line gets one reply line:

    {"op": "device", "device": NAME}      why it can't be used: `reason`, empty where it can; `no_energy`; its `cards`
    {"op": "ceiling", "device": NAME, "dtype": TYPE, "threads": N}      the best that the machine can do: `ceiling`
    {"op": "observe", CASE}                    everything beside time: `measurement`
    {"op": "energy", CASE, "window_seconds": S}      `values` and `missing`
    {"op": "profile", CASE, "folder": DIR}     where its time goes: `profile`; traces are written into the folder
    {"op": "prepare", CASE, "window_seconds": S, "cold_cache": BOOL, "plan": PLAN or null}
    {"op": "window", "case": KEY, "plan": PLAN}
    {"op": "release"}                          forget all prepared cases

CASE is `"case": {axes}, "root": DIR, "compiled_steps": N`. Every request has an `id`, which its reply repeats. A reply
has `ok`; where it is false, `status` (skipped or failed) and `reason`. The worker ends when its input does.
"""

import contextlib
import gc
import json
import mmap
import os
import random
import signal
from pathlib import Path

from rnnbench.harness.worker.streams import WorkerStreams
from rnnbench.workloads.processes import end_with_parent

OUT_OF_MEMORY = Path("/proc/self/oom_score_adj")
MAX_SHIFT_PAGES = 1 << 14  # 64 MiB of addresses, none of it touched


def _die_with_parent() -> None:
    """On Linux: end when the coordinator ends, also in the middle of a call, and be the first to go without memory."""
    end_with_parent()
    # Schedulers tell every process of a job to end, and a worker that obeys is taken for one that its case has killed.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # no Linux, or a sandbox whose /proc is read only: the system chooses
        OUT_OF_MEMORY.write_text("1000")


def main(layout: int | None, current_folder: str | None) -> None:
    """Answer requests until the input ends.

    `layout` is the seed of the memory's layout. `current_folder`: where modules that a suite names may come from.
    """
    _die_with_parent()
    streams = WorkerStreams()
    draw = random.Random(layout)
    # What is mapped later, torch's libraries included, lies that much lower.
    shift = mmap.mmap(-1, mmap.PAGESIZE * draw.randrange(1, MAX_SHIFT_PAGES))
    from rnnbench.harness.worker.operations import Operations, hello  # first, so that a missing torch is what is told

    gc.disable()
    from rnnbench.harness.worker.case_guard import CaseGuard
    from rnnbench.harness.worker.user_modules import UserModules

    guard = CaseGuard(streams)
    operations = Operations(draw, guard, UserModules(Path(current_folder) if current_folder else None))
    worker = os.getpid()
    streams.replies.write(json.dumps(hello()) + "\n")
    for line in streams.requests:
        request = json.loads(line)
        reply = operations.handle(request)
        if os.getpid() != worker:  # a copy that a case has made of this process, by other means than `os.fork`
            os._exit(0)
        streams.replies.write(json.dumps(reply | {"id": request["id"]}) + "\n")
    shift.close()
