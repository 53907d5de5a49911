"""The allocator's peak, exact to the byte; and observing cases must leave no memory behind."""

import random
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from rnnbench.harness import devices
from rnnbench.harness.worker.operations import Operations
from rnnbench.store.readings import Unavailable
from rnnbench.store.records import Case
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.probes.calls import count
from tests.gpu.cases import axes, case, implementations
from tests.gpu.row import Row

BLOCKS = (2 << 20, 64 << 20, 1 << 30)  # bytes; torch rounds smaller ones up
OBSERVATIONS = 20


def check(device: str) -> Iterator[Row]:
    """One row for each block, and one for the observations."""
    yield from peaks(device)
    if devices.is_shared(device):
        _observe_all(device, OBSERVATIONS)  # only tries the program
        raise Unavailable("torch reserves no memory on a CPU")
    yield left_behind(device)


def peaks(device: str) -> Iterator[Row]:
    """One row for each block of known size."""
    for size in BLOCKS[: 2 if devices.is_shared(device) else None]:
        block = partial(torch.empty, size, dtype=torch.uint8, device=device)
        peak = count(TimedCall(block, torch.inference_mode), torch.device(device)).peak_bytes
        yield {"what": "peak of one block", "bytes": size, "found": peak, "holds": peak == size}


def left_behind(device: str) -> Row:
    """The memory that torch has reserved after many observations, and after one of each kind."""
    kinds = len(_cases(device))
    worker = _observe_all(device, kinds)
    before = torch.cuda.memory_reserved(device)
    _observe_all(device, OBSERVATIONS, worker)
    after = torch.cuda.memory_reserved(device)
    what = f"reserved after {OBSERVATIONS} observations"
    return {"what": what, "bytes": before, "found": after, "holds": after <= before}


def _cases(device: str) -> list[Case]:
    kinds = implementations(device, "torch.nn", "loop", "cudagraph")
    return [case("lstm", kind, **axes(device, 64, phase)) for kind in kinds for phase in ("inference", "training")]


def _observe_all(device: str, times: int, worker: Operations | None = None) -> Operations:
    worker = worker or Operations(random.Random(0))
    cases = _cases(device)
    for number in range(times):
        request = {"op": "observe", "case": cases[number % len(cases)].axes(), "root": ".", "compiled_steps": 0}
        reply: dict[str, Any] = worker.handle(request)
        if not reply["ok"]:
            raise RuntimeError(f"{request['case']}: {reply['reason']}")
    return worker
