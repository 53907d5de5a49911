"""Count the instructions of a case's call, in steady state and under varied conditions."""

import gc
import random
from collections.abc import Callable

import torch
from torch import nn

from rnnbench.harness.machine.perf_event import PerfEvent
from rnnbench.store.instructions import CounterName
from rnnbench.store.readings import Unavailable
from rnnbench.workloads.phases import TimedCall

ROUNDS = 5
WARMUP_STEPS = 32  # of a recurrence before a call is counted: Python specializes code after some repetitions
MAX_BLOCKS, MAX_BLOCK_BYTES = 256, 1 << 14  # that are held during a round, so that the heap differs from round to round


def count(timed: TimedCall, steps: int, counter: CounterName) -> list[int]:
    """The instructions of one call in each round; under callgrind zeros, since it writes a file for each.

    `steps`: of the recurrence in a call. Raises Unavailable if there is no such counter, and what the call raises.
    """
    counted = _by_callgrind() if counter == "callgrind" else _by_kernel
    calls, draw, totals = -(-WARMUP_STEPS // steps), random.Random(0), []
    with timed.mode():
        timed.call()
        for _ in range(ROUNDS):
            timed.renew("instructions")
            held = _shuffle(draw)
            for _ in range(calls):
                timed.call()
            totals.append(counted(timed.call))
            del held
    return totals


def _shuffle(draw: random.Random) -> list[torch.Tensor]:
    """Change what a call's count owes to chance, and return memory to hold during a round.

    CPython finds methods through a cache of 4,096 places; which of them share a place follows from the version numbers
    of their classes. Assigning an attribute to a class gives it, and all its subclasses, new numbers.
    """
    for kind in (nn.Module, torch.Tensor):
        kind._rnnbench_instructions = None  # type: ignore[union-attr]
        del kind._rnnbench_instructions  # type: ignore[union-attr]
    gc.collect()
    sizes = [draw.randrange(1, MAX_BLOCK_BYTES) for _ in range(draw.randrange(MAX_BLOCKS))]
    blocks = [torch.empty(size, dtype=torch.uint8) for size in sizes]
    return blocks[::2]  # the gaps between them are free


def _by_callgrind() -> Callable[[Callable[[], object]], int]:
    """The function that counts under callgrind, through requests that torch is built with on Linux.

    It writes two dumps, of which the second is that of the call.
    """
    try:
        toggle, toggle_and_dump = torch._C._valgrind_toggle, torch._C._valgrind_toggle_and_dump_stats
    except AttributeError:
        raise Unavailable(f"torch {torch.__version__} has no requests for callgrind") from None

    def counted(call: Callable[[], object]) -> int:
        # A dump sets the numbers of calls to zero, but only of functions that it has instructions of.
        for _ in ("all calls so far", "the call that counts"):
            toggle()
            call()
            toggle_and_dump()
        return 0

    return counted


def _by_kernel(call: Callable[[], object]) -> int:
    with PerfEvent() as counter:
        before = counter.read()
        call()
        return counter.read() - before
