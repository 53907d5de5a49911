"""What one call does, counted rather than timed: equal from run to run, so that a change in it is a change of code."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch._C._profiler import _EventType
from torch.autograd.profiler import profile

from rnnbench.workloads.phases import TimedCall

Call = Callable[[], object]
Event = Any  # a node of the profiler's tree, which torch does not export

# In torch 2.13 every profile notes its start and end on standard error, where the coordinator looks for a dead
# worker's last words. Read once, by the first profile of a process; it mutes the profiler's log and nothing else.
os.environ.setdefault("KINETO_LOG_LEVEL", "6")

# `aten::mm`; not what autograd's engine and `record_function` put around operators (`torch::autograd::AccumulateGrad`,
# `MmBackward0`, `Optimizer.step#Adam.step`).
OPERATOR = re.compile(r"\w+::\w+")

PRODUCTS = {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"}  # what the others are made of


@dataclass(frozen=True)
class Counts:
    """Of one call; `Measurement` has the same fields."""

    macs: int  # multiply-accumulates of its matrix products
    operators: int  # torch operators that its code or autograd calls, without those that these call in turn
    allocations: int  # blocks that it asks of the allocator of its device
    peak_bytes: int  # most bytes of such blocks that it holds at once; blocks that were there before it don't count


def count(timed: TimedCall, device: torch.device) -> Counts:
    """Run a call three times: to warm up, to watch what it enters and allocates, and to count its products.

    Whatever the call raises is passed on.
    """
    with timed.mode():
        _watch(timed.call)  # a watched warm-up, because the profiler complains when a block is freed that it never saw
        events = _watch(timed.call)
        macs = _macs(timed.call)
    allocations, peak_bytes = _memory(events, device)
    return Counts(macs, _operators(events), allocations, peak_bytes)


def _macs(call: Call) -> int:
    """From the shapes of all products, backward's included; layers that oneDNN or cuDNN fuse would show none.

    Not by `FlopCounterMode`, which counts the same, but imports much, after which small calls take longer.
    """
    with _unfused(), profile(with_flops=True) as watched:
        call()
    results: Any = watched.kineto_results
    return sum(int(event.flops()) for event in results.events() if event.name() in PRODUCTS) // 2


@contextmanager
def _unfused() -> Iterator[None]:
    """torch.nn's layers are made of torch's own products meanwhile."""
    backends: Any = torch.backends  # partly untyped in torch
    libraries = (backends.mkldnn, backends.cudnn)
    before = [library.enabled for library in libraries]
    try:
        # Not by their `flags`, which also set what was not asked for, and warn about it.
        for library in libraries:
            library.enabled = False
        yield
    finally:
        for library, enabled in zip(libraries, before, strict=True):
            library.enabled = enabled


def _watch(call: Call) -> list[Event]:
    """The events of one call as a tree: an operator's children are what happens while it runs."""
    with profile(profile_memory=True) as watched:
        call()
    results: Any = watched.kineto_results
    events: list[Event] = results.experimental_event_tree()
    return events


def _operators(events: Iterable[Event]) -> int:
    return sum(1 if OPERATOR.fullmatch(event.name) else _operators(event.children) for event in events)


def _memory(events: Iterable[Event], device: torch.device) -> tuple[int, int]:
    """Blocks that are allocated, and the most bytes that are held at once."""
    allocations = held = peak = 0
    sizes: dict[int, int] = {}  # of the blocks held, by address
    for block in sorted(_blocks(events, device.type), key=lambda event: int(event.start_time_ns)):
        size, address = block.extra_fields.alloc_size, block.extra_fields.ptr  # a size below 0: freed
        # A block that is freed and was not allocated here is one of an earlier call, such as its gradients.
        held -= sizes.pop(address, 0)
        if size > 0:
            sizes[address] = size
            allocations += 1
            held += size
            peak = max(peak, held)
    return allocations, peak


def _blocks(events: Iterable[Event], device_type: str) -> list[Event]:
    """What a device's allocator gives and takes back, in no order."""
    found, unseen = [], list(events)
    while unseen:
        event = unseen.pop()
        if event.tag != _EventType.Allocation:
            unseen += event.children
        elif event.extra_fields.device.type == device_type:
            found.append(event)
    return found
