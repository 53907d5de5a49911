"""A GPU's memory as torch's caching allocator and its CUDA graphs hold it. The processor does all computing.

What a recording holds is free once nothing refers to the recording, and the driver has it back once the allocator's
cache has been emptied.
"""

import weakref
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor

from rnnbench.harness import devices
from rnnbench.workloads import graphed, implementations
from tests.doubles.fake_cuda import FakeCuda, FakeLine

MEGABYTE = 1 << 20

Pool = tuple[int, int]


class FakeCard:
    """A card of which each recording takes `pool_bytes`."""

    def __init__(self, pool_bytes: int) -> None:
        self.pool_bytes = pool_bytes
        self.in_use: dict[int, Pool] = {}  # number of a living recording -> its pool
        self.cached = self.peak = self.recordings = 0  # cached: bytes freed but not given back to the driver

    def reserved(self, device: object = None) -> int:
        """Like `torch.cuda.memory_reserved`."""
        return len(self.in_use) * self.pool_bytes + self.cached

    def empty_cache(self) -> None:
        """Like `torch.cuda.empty_cache`."""
        self.cached = 0

    def reset_peak(self, device: object = None) -> None:
        """Like `torch.cuda.reset_peak_memory_stats`."""
        self.peak = self.reserved()

    def snapshot(self) -> list[dict[str, Any]]:
        """Like `torch.cuda.memory_snapshot`, with only those keys of a segment that are read."""
        return [{"segment_pool_id": pool, "total_size": self.pool_bytes} for pool in self.in_use.values()]

    def graphs(self, call: Callable[[], Sequence[Tensor]], wanted: Sequence[Tensor], pool: Pool) -> "FakeGraphs":
        """Like `rnnbench.workloads.graphed.Graphs`."""
        for _ in range(graphed.WARM_UP_CALLS):
            call()
        self.recordings += 1
        self.empty_cache()  # as `torch.cuda.graph` does before it records
        self.in_use[self.recordings] = pool
        self.peak = max(self.peak, self.reserved())
        recorded = FakeGraphs(call, wanted)
        weakref.finalize(recorded, self._free, self.recordings)
        return recorded

    def _free(self, number: int) -> None:
        del self.in_use[number]
        self.cached += self.pool_bytes

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Replace torch's GPU by the card, and also the processor among rnnbench's devices."""
        for name, function in {
            "memory_reserved": self.reserved,
            "max_memory_reserved": lambda device=None: self.peak,
            "reset_peak_memory_stats": self.reset_peak,
            "memory_snapshot": self.snapshot,
            "empty_cache": self.empty_cache,
            "graph_pool_handle": lambda: (0, self.recordings + 1),
            "is_initialized": lambda: True,
        }.items():
            monkeypatch.setattr(torch.cuda, name, function)
        monkeypatch.setattr(graphed, "Graphs", self.graphs)
        monkeypatch.setattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: None, raising=False)
        monkeypatch.setattr(implementations, "GRAPHED_ON", "cpu")
        monkeypatch.setattr(devices, "BACKENDS", {"cpu": _OnCard})


class FakeGraphs:
    """Computes at each replay."""

    def __init__(self, call: Callable[[], Sequence[Tensor]], wanted: Sequence[Tensor]) -> None:
        self._call, self._wanted, self._trains = call, wanted, torch.is_grad_enabled()
        self._fresh: Sequence[Tensor] = call()
        self.outputs = [output.detach().clone() for output in self._fresh]
        self.directions = graphed._directions(self._fresh)
        self.gradients: list[Tensor | None] = []
        if any(direction is not None for direction in self.directions):
            self.gradients = [None if each is None else each.clone() for each in self._backward()]

    def forward(self) -> None:
        """Compute anew, into the same memory."""
        with torch.set_grad_enabled(self._trains):
            self._fresh = self._call()
        for output, fresh in zip(self.outputs, self._fresh, strict=True):
            output.detach().copy_(fresh.detach())

    def backward(self) -> None:
        """Compute gradients into the same memory."""
        for gradient, fresh in zip(self.gradients, self._backward(), strict=True):
            if gradient is not None and fresh is not None:
                gradient.copy_(fresh)

    def _backward(self) -> Sequence[Tensor | None]:
        return graphed._gradients(self._fresh, self._wanted, self.directions)


class _OnCard(FakeCuda):
    """A CUDA device that is always there; every call takes a millisecond."""

    def __init__(self, name: str) -> None:
        super().__init__(FakeLine())
        self.event = Mock(**{"return_value.elapsed_time.return_value": 1.0})  # type: ignore[method-assign]

    @staticmethod
    def why_not(name: str) -> str:
        return ""
