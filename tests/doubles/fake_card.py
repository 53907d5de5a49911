"""A GPU's memory as torch's caching allocator and its CUDA graphs hold it. The processor does all computing.

What a recording holds is free once nothing refers to the recording, and the driver has it back once the allocator's
cache has been emptied.
"""

import itertools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from rnnbench.harness import devices
from rnnbench.workloads import graphed, implementations
from tests.doubles.fake_cuda import FakeCuda, FakeLine

MEGABYTE = 1 << 20

Pool = tuple[int, int]


class Block:
    """Memory that is in use as long as this object lives."""


class FakeCard:
    """Memory of `total_bytes`, of which each recording takes `pool_bytes`."""

    def __init__(self, total_bytes: int, pool_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.pool_bytes = pool_bytes
        self.in_use: dict[int, tuple[Pool, int]] = {}  # number of a block -> its pool and bytes
        self.cached = 0  # bytes freed but not given back to the driver
        self.peak = 0
        self.recordings = 0
        self._numbers = itertools.count()
        self._pools = itertools.count(1)

    def reserved(self, device: object = None) -> int:
        """Like `torch.cuda.memory_reserved`."""
        return sum(size for _, size in self.in_use.values()) + self.cached

    def allocate(self, size: int, pool: Pool = (0, 0)) -> Block:
        """Allocate a block; give cached ones back if there is no room. Raises OutOfMemoryError."""
        if self.reserved() + size > self.total_bytes:
            self.empty_cache()
        if self.reserved() + size > self.total_bytes:
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {size / 2**30:.2f} GiB.")
        block, number = Block(), next(self._numbers)
        self.in_use[number] = pool, size
        self.peak = max(self.peak, self.reserved())
        weakref.finalize(block, self._free, number)
        return block

    def _free(self, number: int) -> None:
        self.cached += self.in_use.pop(number)[1]

    def empty_cache(self) -> None:
        """Like `torch.cuda.empty_cache`."""
        self.cached = 0

    def reset_peak(self, device: object = None) -> None:
        """Like `torch.cuda.reset_peak_memory_stats`."""
        self.peak = self.reserved()

    def snapshot(self) -> list[dict[str, Any]]:
        """Like `torch.cuda.memory_snapshot`, with only those keys of a segment that are read."""
        return [{"segment_pool_id": pool, "total_size": size} for pool, size in self.in_use.values()]

    def pool_handle(self) -> Pool:
        """Like `torch.cuda.graph_pool_handle`."""
        return 0, next(self._pools)

    def graphs(self, call: Callable[[], Sequence[Tensor]], wanted: Sequence[Tensor], pool: Pool) -> "FakeGraphs":
        """Like `rnnbench.workloads.graphed.Graphs`."""
        for _ in range(graphed.WARM_UP_CALLS):
            call()
        self.recordings += 1
        self.empty_cache()  # as `torch.cuda.graph` does before it records
        return FakeGraphs(call, wanted, self.allocate(self.pool_bytes, pool))

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Replace torch's GPU by the card, and also the processor among rnnbench's devices."""
        for name, function in {
            "memory_reserved": self.reserved,
            "max_memory_reserved": lambda device=None: self.peak,
            "reset_peak_memory_stats": self.reset_peak,
            "memory_snapshot": self.snapshot,
            "empty_cache": self.empty_cache,
            "graph_pool_handle": self.pool_handle,
            "is_initialized": lambda: True,
        }.items():
            monkeypatch.setattr(torch.cuda, name, function)
        monkeypatch.setattr(graphed, "Graphs", self.graphs)
        monkeypatch.setattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: None, raising=False)
        monkeypatch.setattr(implementations, "GRAPHED_ON", "cpu")
        monkeypatch.setattr(devices, "BACKENDS", {"cpu": type("Carded", (_OnCard,), {"card": self})})


class FakeGraphs:
    """Computes at each replay."""

    def __init__(self, call: Callable[[], Sequence[Tensor]], wanted: Sequence[Tensor], memory: Block) -> None:
        self.memory = memory
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
    """A CUDA device whose memory is a `FakeCard`'s; every call takes a millisecond."""

    card: FakeCard

    def __init__(self, name: str) -> None:
        super().__init__(FakeLine())

    def event(self) -> Any:
        return _Tick()

    @staticmethod
    def why_not(name: str) -> str:
        """Always available."""
        return ""

    def uuid(self) -> str:
        """A fixed UUID."""
        return "fake"

    def memory_bytes(self) -> int:
        """The total memory of the card."""
        return self.card.total_bytes


class _Tick:
    def record(self) -> None:
        pass

    def elapsed_time(self, later: "_Tick") -> float:
        return 1.0
