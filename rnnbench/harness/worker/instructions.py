"""Count the instructions of a case's call, in steady state and under varied conditions."""

import gc

import torch
from torch import nn

from rnnbench.analysis.instructions import CounterName
from rnnbench.harness.machine.perf_event import counting
from rnnbench.workloads.phases import TimedCall

ROUNDS = 5
WARMUP_STEPS = 32  # of a recurrence before a call is counted: Python specializes code after some repetitions


def count(timed: TimedCall, steps: int, counter: CounterName) -> list[int]:
    """Return the instructions of one call in each round; under callgrind zeros, since it writes a file for each.

    `steps`: of the recurrence in a call. Raises Unavailable if the kernel has no counter, and what the call raises.
    """
    calls, totals = -(-WARMUP_STEPS // steps), list[int]()
    with timed.mode():
        timed.call()
        for _ in range(ROUNDS):
            timed.renew("instructions")
            # CPython finds methods through a cache of 4,096 places; which of them share a place follows from the
            # version numbers of their classes. Assigning an attribute gives a class and all its subclasses new ones.
            for kind in (nn.Module, torch.Tensor):
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
