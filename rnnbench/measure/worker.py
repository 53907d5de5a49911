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

CASE is `"case": {axes}, "root": DIR, "compiled_steps": N`. A reply has `ok`; where it is false, `status` (skipped or
failed) and `reason`. The worker ends when its input does.
"""

import contextlib
import gc
import json
import mmap
import os
import random
import signal
import sys
from pathlib import Path
from typing import TextIO

from rnnbench.workloads.processes import end_with_parent

OUT_OF_MEMORY = Path("/proc/self/oom_score_adj")
MOST_SHIFT_PAGES = 1 << 14  # 64 MiB of addresses, none of it touched


def _claim_streams() -> tuple[TextIO, TextIO]:
    """The protocol's two streams, put out of reach of a case that prints or reads."""
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    return requests, replies


def _die_with_parent() -> None:
    """On Linux: end when the coordinator ends, also in the middle of a call, and be the first to go without memory."""
    end_with_parent()
    # Schedulers tell every process of a job to end, and a worker that obeys is taken for one that its case has killed.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # no Linux, or a sandbox whose /proc is read only: the system chooses
        OUT_OF_MEMORY.write_text("1000")


def main() -> None:
    """Answer requests until the input ends; the argument, if any, is the seed of the memory's layout."""
    _die_with_parent()
    requests, replies = _claim_streams()
    layout = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else None)
    # What is mapped later, torch's libraries included, lies that much lower.
    shift = mmap.mmap(-1, mmap.PAGESIZE * layout.randrange(1, MOST_SHIFT_PAGES))
    from rnnbench.measure.operations import Operations, hello

    operations = Operations(layout)
    gc.disable()
    replies.write(json.dumps(hello()) + "\n")
    for line in requests:
        replies.write(json.dumps(operations.handle(json.loads(line))) + "\n")
    shift.close()


if __name__ == "__main__":
    main()
