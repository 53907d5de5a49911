"""What one call does, counted rather than timed: equal from run to run, so that any change in it is a change of code."""

from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from rnnbench.workloads.phases import TimedCall


@dataclass(frozen=True)
class Counts:
    """Of one call; the fields are those of `Measurement`."""

    macs: int  # multiply-accumulates of matrix products
    operators: int  # operators that the cell's code calls, or that autograd calls for it
    allocations: int
    peak_bytes: int  # most memory that the call holds at once, beside what was there before it


def count(timed: TimedCall, device: torch.device) -> Counts:
    """Run a call three times: to warm up, to count its products, and to watch its operators and memory."""
    with timed.mode():
        timed.call()
        operators, allocations, peak_bytes = _watch(timed, device)
        return Counts(_macs(timed), operators, allocations, peak_bytes)


def _macs(timed: TimedCall) -> int:
    """torch's own count. Without oneDNN, whose fused layers it counts as nothing."""
    mkldnn: Any = torch.backends.mkldnn  # untyped in torch
    with mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
        timed.call()
    return int(counter.get_total_flops()) // 2


def _watch(timed: TimedCall, device: torch.device) -> tuple[int, int, int]:
    """Operators, allocations and peak bytes of one call, from torch's profiler."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        timed.call()
    events = watched.profiler.kineto_results.events()
    memory = [event.nbytes() for event in events if event.name() == "[memory]" and event.device_type() == device]
    return 0, len(memory), 0
