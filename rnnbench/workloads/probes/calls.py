"""What one call does, counted rather than timed: equal from run to run, so that a change in it is a change of code."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch._C._profiler import _EventType
from torch.autograd.profiler import profile

from rnnbench.store.readings import Readings
from rnnbench.workloads import macs
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.prepare import Built

Call = Callable[[], object]
Event = Any  # a node of the profiler's tree, which torch does not export

# In torch 2.13 every profile notes its start and end on standard error, where the coordinator looks for a dead
# worker's last words. Read once, by the first profile of a process; it mutes the profiler's log and nothing else.
os.environ.setdefault("KINETO_LOG_LEVEL", "6")

# `aten::mm`; not what autograd's engine and `record_function` put around operators (`torch::autograd::AccumulateGrad`,
# `MmBackward0`, `Optimizer.step#Adam.step`).
OPERATOR = re.compile(r"\w+::\w+")

PRODUCTS = {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"}  # what the others are made of

# Operators that are a backend of their own; every other way of running is made of ATen's plain ones.
BACKENDS = ("mkldnn_rnn_layer", "_cudnn_rnn", "miopen_rnn", "_thnn_fused_lstm_cell", "_thnn_fused_gru_cell")
HIDE_PRODUCTS = {"mkldnn_rnn_layer", "_cudnn_rnn", "miopen_rnn"}


@dataclass(frozen=True)
class Counts:
    """Of one call."""

    macs: int  # multiply-accumulates of the matrix products that torch shows
    operators: int  # torch operators that its code or autograd calls, without those that these call in turn
    allocations: int  # blocks that it asks of the allocator of its device
    peak_bytes: int  # most bytes of such blocks that it holds at once; blocks that were there before it don't count
    backend: str  # one of BACKENDS, or `aten`


def probe(built: Built) -> Readings:
    """The counts of a built case's call."""
    counts = count(built.timed_call(), built.input.device)
    values = {
        "operators": counts.operators,
        "allocations": counts.allocations,
        "peak_bytes": counts.peak_bytes,
        "backend": counts.backend,
        "macs": counts.macs,
    }
    missing = {}
    if counts.backend in HIDE_PRODUCTS:
        layers = macs.layers(built.spec, built.model.body, built.case.workload)
        if layers is None:
            del values["macs"]
            missing["macs"] = f"{counts.backend} hides its products, and the cell has no formula for them"
        else:
            values["macs"] = macs.of_call(layers, built.case.workload)
    return Readings(values, missing)


def count(timed: TimedCall, device: torch.device) -> Counts:
    """Run a call twice, to warm up and to watch it; whatever the call raises is passed on."""
    with timed.mode():
        # Watched as well, because the profiler complains when a block is freed that it never saw.
        _watch(timed.call, with_flops=False)
        results = _watch(timed.call, with_flops=True)
    events: list[Event] = results.experimental_event_tree()
    # Not by `FlopCounterMode`, which counts the same at many times the cost.
    flops = sum(int(event.flops()) for event in results.events() if event.name() in PRODUCTS)
    allocations, peak_bytes = _memory(events, device)
    return Counts(flops // 2, _operators(events), allocations, peak_bytes, _backend(events))


def _watch(call: Call, *, with_flops: bool) -> Any:
    """What kineto has of one call; its events are a tree: an operator's children are what happens while it runs."""
    with profile(profile_memory=True, with_flops=with_flops) as watched:
        call()
    return watched.kineto_results


def _operators(events: Iterable[Event]) -> int:
    return sum(1 if OPERATOR.fullmatch(event.name) else _operators(event.children) for event in events)


def _backend(events: Iterable[Event]) -> str:
    names = {event.name.rpartition("::")[2] for event in _all(events)}
    return next((backend for backend in BACKENDS if backend in names), "aten")


def _memory(events: Iterable[Event], device: torch.device) -> tuple[int, int]:
    """Blocks that are allocated, and the most bytes that are held at once."""
    allocations = held = peak = 0
    sizes: dict[int, int] = {}  # of the blocks held, by address
    blocks = (event for event in _all(events) if event.tag == _EventType.Allocation)
    own = (event for event in blocks if event.extra_fields.device.type == device.type)
    for block in sorted(own, key=lambda event: int(event.start_time_ns)):
        size, address = block.extra_fields.alloc_size, block.extra_fields.ptr  # a size below 0: freed
        # A block that is freed and was not allocated here is one of an earlier call, such as its gradients.
        held -= sizes.pop(address, 0)
        if size > 0:
            sizes[address] = size
            allocations += 1
            held += size
            peak = max(peak, held)
    return allocations, peak


def _all(events: Iterable[Event]) -> Iterator[Event]:
    """Every node of the tree, in no order."""
    unseen = list(events)
    while unseen:
        event = unseen.pop()
        unseen += event.children
        yield event
