"""Counts of what one call does. They are equal from run to run, so a changed count means changed code."""

import os
import re
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch._C._profiler import _EventType
from torch.autograd.profiler import profile

from rnnbench.store.metrics import Readings
from rnnbench.store.records import FUSED_LAYERS, GRAPH_BACKENDS
from rnnbench.workloads import compiled
from rnnbench.workloads.model import copied_weights
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.prepare import Built

ProfilerEvent = Any  # a node of the profiler's tree, which torch does not export

# In torch 2.13 every profile logs its start and end on standard error, where the coordinator looks for a dead worker's
# last lines. The first profile of a process reads this variable, which mutes the profiler's log and nothing else.
os.environ.setdefault("KINETO_LOG_LEVEL", "6")

# `aten::mm`; not what autograd's engine and `record_function` put around operators (`torch::autograd::AccumulateGrad`,
# `MmBackward0`, `Optimizer.step#Adam.step`).
OPERATOR = re.compile(r"\w+::\w+")

PRODUCTS = {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"}  # all other products call these

TORCHSCRIPT = 2  # the scope of an event that is a call of TorchScript's interpreter

# Operators that are backends of their own; everything else consists of ATen's plain operators.
BACKENDS = (*FUSED_LAYERS, "_thnn_fused_lstm_cell", "_thnn_fused_gru_cell")


def probe(built: Built, timed: TimedCall) -> Readings:
    """Return the counts of a built case's call, which was made before: a first call sets up much.

    Compiled and recorded code, and layers that a library fuses, hide their products. Those of the same model without
    either are counted, cell by cell and operator by operator.
    """
    values, how = count(timed, built.input.device), built.case.implementation
    backend = GRAPH_BACKENDS.get(how, values["backend"])
    if backend != values["backend"] or backend in FUSED_LAYERS:
        plain = replace(built, case=replace(built.case, implementation="loop"), model=built.model.looped())
        fusing: list[Any] = [torch.backends.mkldnn, torch.backends.cudnn]
        with ExitStack() as put_back:  # without them, layers of torch.nn call a plain operator for each product
            for library in fusing:
                put_back.callback(setattr, library, "enabled", library.enabled)
                library.enabled = False
            values["macs"] = _products(_watched(plain.timed_call(), with_flops=True))
    if backend in FUSED_LAYERS and copied_weights(built.model):
        backend = f"{backend}, weights copied in each call"
    if how == "prepacked" and (libraries := compiled.libraries()):
        backend = f"{backend}, products in {libraries}"
    values["backend"] = backend
    missing = {}
    if how == "cudagraph":
        missing["peak_bytes"] = "a recorded graph keeps all that it needs, and a replay asks for nothing"
    if values["macs"] is None:
        missing["macs"] = "TorchScript hides its products"
    return Readings({name: value for name, value in values.items() if name not in missing}, missing)


def count(timed: TimedCall, device: torch.device) -> dict[str, Any]:
    """Make a call once and return its counts; whatever the call raises is passed on.

    `macs`: of the products that torch shows, None if TorchScript hides some; `operators`: those that its code or
    autograd calls, without those called by other operators; `allocations`: the blocks that it requests from the
    device's allocator; `peak_bytes`: the most that it holds of them at once; `backend`: one of BACKENDS, or `aten`.
    """
    cuda: Any = None if torch.empty(0, device=device).is_cpu else torch.cuda  # whose allocator keeps its own peak
    if cuda is not None:
        cuda.reset_peak_memory_stats(device)
    before = 0 if cuda is None else cuda.memory_allocated(device)
    kineto = _watched(timed, profile_memory=True, with_flops=True)
    operators, backends, blocks = 0, set[str](), list[ProfilerEvent]()
    # The events are a tree: an operator's children are what happens while it runs.
    unseen = [(event, False) for event in kineto.experimental_event_tree()]
    while unseen:
        event, is_inside = unseen.pop()
        if event.tag == _EventType.Allocation:
            if event.extra_fields.device.type == device.type:
                blocks.append(event)
            continue
        name = event.name
        is_operator = is_inside or OPERATOR.fullmatch(name) is not None
        operators += is_operator and not is_inside
        if name.endswith(BACKENDS):
            backends.add(name.rpartition("::")[2])
        unseen += [(child, is_operator) for child in event.children]
    allocations, peak_bytes = _memory(blocks)
    return {
        "macs": _products(kineto),
        "operators": operators,
        "allocations": allocations,
        "peak_bytes": peak_bytes if cuda is None else cuda.max_memory_allocated(device) - before,
        "backend": next((b for b in BACKENDS if b in backends), "aten"),
    }


def _watched(timed: TimedCall, **options: Any) -> Any:
    with timed.mode(), profile(**options) as watched:
        timed.call()
    return watched.kineto_results


def _products(kineto: Any) -> int | None:
    # Not by `FlopCounterMode`, which counts the same at many times the cost.
    events = kineto.events()
    if any(event.scope() == TORCHSCRIPT for event in events):  # its products have no reliable shapes
        return None
    return sum(int(event.flops()) for event in events if event.name() in PRODUCTS) // 2


def operator_calls(timed: TimedCall) -> int:
    """Make a call once and count all operators, also those that others call; whatever the call raises is passed on.

    It costs a quarter of `count`, which records shapes. A `TorchDispatchMode` would cost less, but a cell with a
    higher-order operator such as `torch.cond` fails under one, and then in all later calls.
    """
    return sum(OPERATOR.fullmatch(event.name()) is not None for event in _watched(timed).events())


def _memory(blocks: Iterable[ProfilerEvent]) -> tuple[int, int]:
    """The number of allocated blocks, and the most bytes held at once."""
    allocations = held = peak = 0
    sizes: dict[int, int] = {}  # of the blocks held, by address
    for block in sorted(blocks, key=lambda event: int(event.start_time_ns)):
        size, address = block.extra_fields.alloc_size, block.extra_fields.ptr  # a negative size: freed
        # A freed block that was not allocated here is from an earlier call: its gradients, for example.
        held -= sizes.pop(address, 0)
        if size > 0:
            sizes[address] = size
            allocations += 1
            held += size
            peak = max(peak, held)
    return allocations, peak
