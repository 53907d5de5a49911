"""What one call does, counted by torch's profiler: products, operators, blocks of memory."""

import os
import re
from collections.abc import Iterable
from typing import Any

import torch
from torch._C._profiler import _EventType
from torch.autograd.profiler import profile

from rnnbench.store.records import (
    FUSED_LAYERS,
)
from rnnbench.workloads.phases import TimedCall

ProfilerEvent = Any  # a node of the profiler's tree, which torch does not export
# `aten::mm`; not what autograd's engine and `record_function` put around operators (`torch::autograd::AccumulateGrad`,
# `MmBackward0`, `Optimizer.step#Adam.step`).
OPERATOR_NAME = re.compile(r"\w+::\w+")
PRODUCT_OPERATORS = {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"}  # all other products call these
TORCHSCRIPT_SCOPE = 2  # the scope of an event that is a call of TorchScript's interpreter
# Operators that are backends of their own; everything else consists of ATen's plain operators.
OPERATOR_BACKENDS = (*FUSED_LAYERS, "_thnn_fused_lstm_cell", "_thnn_fused_gru_cell")

# In torch 2.13 every profile logs its start and end on standard error, where the coordinator looks for a dead worker's
# last lines. The first profile of a process reads this variable, which mutes the profiler's log and nothing else.
os.environ.setdefault("KINETO_LOG_LEVEL", "6")


def count(timed: TimedCall, device: torch.device) -> dict[str, Any]:
    """Make a call once and return its counts; whatever the call raises is passed on.

    `macs`: of the products that torch shows, None if TorchScript hides some; `operators`: those that its code or
    autograd calls, without those called by other operators; `allocations`: the blocks that it requests from the
    device's allocator; `peak_bytes`: the most that it holds of them at once; `backend`: one of BACKENDS, or `aten`.
    """
    device_module: Any = None if torch.empty(0, device=device).is_cpu else torch.get_device_module(device)
    # The allocator of a GPU keeps its own peak; that of Apple's devices keeps none.
    allocator: Any = device_module if hasattr(device_module, "reset_peak_memory_stats") else None
    if allocator is not None:
        allocator.reset_peak_memory_stats(device)
    before = 0 if allocator is None else allocator.memory_allocated(device)
    kineto = profiled(timed, profile_memory=True, with_flops=True)
    operators = 0
    backends = set[str]()
    blocks = list[ProfilerEvent]()
    # The events are a tree: an operator's children are what happens while it runs.
    unseen = [(event, False) for event in kineto.experimental_event_tree()]
    while unseen:
        event, is_inside = unseen.pop()
        if event.tag == _EventType.Allocation:
            if event.extra_fields.device.type == device.type:
                blocks.append(event)
            continue
        name = event.name
        is_operator = is_inside or OPERATOR_NAME.fullmatch(name) is not None
        operators += is_operator and not is_inside
        if name.endswith(OPERATOR_BACKENDS):
            backends.add(name.rpartition("::")[2])
        unseen += [(child, is_operator) for child in event.children]
    allocations, peak_bytes = _memory(blocks)
    return {
        "macs": multiply_adds(kineto),
        "operators": operators,
        "allocations": allocations,
        "peak_bytes": peak_bytes if allocator is None else allocator.max_memory_allocated(device) - before,
        "backend": next((b for b in OPERATOR_BACKENDS if b in backends), "aten"),
    }


def profiled(timed: TimedCall, **options: Any) -> Any:
    """Make a call once under torch's profiler, and return the results of kineto."""
    with timed.mode(), profile(**options) as watched:
        timed.call()
    return watched.kineto_results


def multiply_adds(kineto: Any) -> int | None:
    """Return the multiply-adds of the products in a profile; None if TorchScript hides some."""
    # Not by `FlopCounterMode`, which counts the same at many times the cost.
    events = kineto.events()
    if any(event.scope() == TORCHSCRIPT_SCOPE for event in events):  # its products have no reliable shapes
        return None
    return sum(int(event.flops()) for event in events if event.name() in PRODUCT_OPERATORS) // 2


def operator_calls(timed: TimedCall) -> int:
    """Make a call once and count all operators, also those that others call; whatever the call raises is passed on.

    It costs a quarter of `count`, which records shapes. A `TorchDispatchMode` would cost less, but a cell with a
    higher-order operator such as `torch.cond` fails under one, and then in all later calls.
    """
    return sum(OPERATOR_NAME.fullmatch(event.name()) is not None for event in profiled(timed).events())


def _memory(blocks: Iterable[ProfilerEvent]) -> tuple[int, int]:
    """Return the number of allocated blocks, and the most bytes held at once."""
    allocations = held = peak = 0
    sizes: dict[int, int] = {}  # of the blocks held, by address
    for block in sorted(blocks, key=lambda event: int(event.start_time_ns)):
        size = block.extra_fields.alloc_size  # negative: freed
        address = block.extra_fields.ptr
        # A freed block that was not allocated here is from an earlier call: its gradients, for example.
        held -= sizes.pop(address, 0)
        if size > 0:
            sizes[address] = size
            allocations += 1
            held += size
            peak = max(peak, held)
    return allocations, peak
