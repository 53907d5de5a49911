"""The operation `count`: the instructions of one call of a case, by hardware counters or by callgrind."""

import gc
import os
import subprocess
import time
from contextlib import ExitStack, closing
from typing import Literal

import torch

from rnnbench.harness import devices
from rnnbench.harness.machine.perf_event import CounterName, counting
from rnnbench.harness.protocol import Reply, Request
from rnnbench.harness.worker.state import WorkerState
from rnnbench.harness.worker.table import operation
from rnnbench.store.metrics import Unavailable
from rnnbench.text import last_line
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.phases import TimedCall

COUNTED_ROUNDS = 5  # of which each counts the instructions of one call
WARMUP_STEPS = 32  # of a recurrence before a call is counted: Python specializes code after some repetitions
# to switch callgrind
SWITCH_SECONDS = 60.0
SWITCH_POLL_SECONDS = 0.01


@operation("count", ends_case=True)
def count(state: WorkerState, request: Request) -> Reply:
    """Count the instructions of one call. Raises Skip on a device, and Unavailable if nothing counts."""
    built = state.build(request)
    if not devices.open_device(built.case.workload.device).runs_host_code:
        raise Skip("instructions are counted on the CPU only")
    with closing(built.timed_call()) as timed:
        steps = built.case.workload.seq_len
        prefix = request.get("vgdb_prefix", "")
        return {"totals": count_instructions(timed, steps, request["counter"], prefix)}


def count_instructions(timed: TimedCall, steps: int, counter: CounterName, prefix: str = "") -> list[int]:
    """Return the instructions of one call in each round, in steady state and under varied conditions.

    Under callgrind they are zeros, since it writes a file for each; `prefix`: of the files by which it is told to see
    instructions, which it does only while calls are counted. `steps`: of the recurrence in a call. Raises Unavailable
    if nothing counts, and what the call raises.
    """
    calls = -(-WARMUP_STEPS // steps)
    totals = list[int]()
    with timed.mode(), ExitStack() as stack:
        for _ in range(calls):  # what is imported and specialized in the first calls is not seen
            timed.call()
        gc.collect()
        gc.freeze()
        if counter == "callgrind":
            switch_callgrind(prefix, "on")
            stack.callback(switch_callgrind, prefix, "off")
        for _ in range(COUNTED_ROUNDS):
            timed.renew("instructions")
            # CPython finds methods through a cache of 4,096 places; which of them share a place follows from the
            # version numbers of their classes. Assigning an attribute gives a class and all its subclasses new ones.
            for kind in (torch.nn.Module, torch.Tensor):
                kind._rnnbench_instructions = None  # type: ignore[union-attr]
                del kind._rnnbench_instructions  # type: ignore[union-attr]
            gc.collect()
            for _ in range(calls):
                timed.call()
            if counter == "callgrind":
                # A dump sets the numbers of calls to zero, but only of functions that it has instructions of.
                for _ in ("all calls so far", "the call that counts"):
                    torch._C._valgrind_toggle()
                    timed.call()
                    torch._C._valgrind_toggle_and_dump_stats()
                totals.append(0)
            else:
                with counting() as read:
                    before = read()
                    timed.call()
                    totals.append(read() - before)
    return totals


def switch_callgrind(prefix: str, position: Literal["on", "off"]) -> None:
    """Let callgrind, which runs this process, see every instruction from now on, or none; raises Unavailable.

    Without it the process is about four times as fast.
    """
    request = ["vgdb", f"--vgdb-prefix={prefix}", f"--pid={os.getpid()}", "instrumentation", position]
    try:
        # This process must go on meanwhile: callgrind looks for requests between its instructions.
        with subprocess.Popen(request, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            end = time.monotonic() + SWITCH_SECONDS
            while process.poll() is None and time.monotonic() < end:
                time.sleep(SWITCH_POLL_SECONDS)
            if process.poll() is None:
                process.kill()
                raise Unavailable(f"callgrind can't be switched {position}: no answer within {SWITCH_SECONDS:g} s")
            message = process.stderr.read().decode(errors="replace") if process.stderr else ""
    except OSError as fault:
        raise Unavailable(f"callgrind can't be switched {position}: {fault}") from None
    if process.returncode:
        raise Unavailable(f"callgrind can't be switched {position}: {last_line(message) or process.returncode}")
