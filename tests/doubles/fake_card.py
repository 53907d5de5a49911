"""A GPU's memory and its CUDA graphs under rnnbench's own recorder. The processor does all computing.

A recording is as unkind as CUDA's: while it is made, nothing may wait for the device, move data to or from the host, or
ask for memory on another stream; what was computed meanwhile is NaN until a replay computes it; a replay runs no Python
code, and reads what lies at the addresses that the recording saw, if that memory is still there.

What a recording holds is free once nothing refers to the recording, and the driver has it back once the allocator's
cache has been emptied.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from rnnbench.harness import devices
from rnnbench.workloads import implementations
from tests.doubles.fake_cuda import FakeCuda, FakeLine

MEGABYTE = 1 << 20
NOT_PERMITTED = "CUDA error: operation not permitted when stream is capturing"
# Operators that read a value back, or copy from the host.
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2", "lift_fresh")

Pool = tuple[int, int]


class FakeStream:
    """A stream; work on it is done at once, or recorded."""

    records = False

    def wait_stream(self, other: "FakeStream") -> None:
        """Do nothing: there is nothing to wait for."""


class FakeCard:
    """A card on which each pool of recordings takes `pool_bytes`."""

    def __init__(self, pool_bytes: int) -> None:
        self.pool_bytes = pool_bytes
        self.in_use: dict[Pool, int] = {}  # pool -> living recordings in it
        self.peak = self.pools = self.recordings = 0
        self.cached = 0  # bytes freed but not given back to the driver
        self.stream = FakeStream()  # the current one
        self.recorder: Recorder | None = None  # while a recording is made

    def reserved(self, device: object = None) -> int:
        """Like `torch.cuda.memory_reserved`."""
        return len(self.in_use) * self.pool_bytes + self.cached

    def wait(self, *_: object) -> None:
        """Like `torch.cuda.synchronize`, and all else that a recording does not permit."""
        if self.recorder is not None:
            raise RuntimeError(NOT_PERMITTED)

    def empty_cache(self) -> None:
        """Like `torch.cuda.empty_cache`."""
        self.wait()
        self.cached = 0

    def reset_peak(self, device: object = None) -> None:
        """Like `torch.cuda.reset_peak_memory_stats`."""
        self.peak = self.reserved()

    def snapshot(self) -> list[dict[str, Any]]:
        """Like `torch.cuda.memory_snapshot`, with only those keys of a segment that are read."""
        return [{"segment_pool_id": pool, "total_size": self.pool_bytes} for pool in self.in_use]

    def new_pool(self) -> Pool:
        """Like `torch.cuda.graph_pool_handle`."""
        self.pools += 1
        return 0, self.pools

    @contextmanager
    def on(self, stream: FakeStream) -> Iterator[None]:
        """Like `torch.cuda.stream`."""
        before = self.stream
        self.stream = stream
        try:
            yield
        finally:
            self.stream = before

    @contextmanager
    def recording(
        self, graph: "FakeGraph", pool: Pool | None = None, stream: FakeStream | None = None
    ) -> Iterator[None]:
        """Like `torch.cuda.graph`."""
        assert self.recorder is None, "two recordings at once"
        self.wait()
        self.empty_cache()
        self.recordings += 1
        pool_in_use = pool or self.new_pool()
        self.in_use[pool_in_use] = self.in_use.get(pool_in_use, 0) + 1
        self.peak = max(self.peak, self.reserved())
        weakref.finalize(graph, self._free, pool_in_use)
        stream = stream or FakeStream()
        self.recorder = graph.recorder = Recorder(self, stream)
        stream.records = True
        try:
            with self.on(stream), self.recorder:
                yield
        finally:
            self.recorder = None
            stream.records = False
        graph.recorder.forget_values()

    def _free(self, pool: Pool) -> None:
        self.in_use[pool] -= 1
        if not self.in_use[pool]:
            del self.in_use[pool]
            self.cached += self.pool_bytes

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Replace torch's GPU by the card, and also the processor among rnnbench's devices."""
        for name, function in {
            "memory_reserved": self.reserved,
            "max_memory_reserved": lambda device=None: self.peak,
            "reset_peak_memory_stats": self.reset_peak,
            "memory_snapshot": self.snapshot,
            "empty_cache": self.empty_cache,
            "synchronize": self.wait,
            "graph_pool_handle": self.new_pool,
            "is_initialized": lambda: True,
            "Stream": FakeStream,
            "current_stream": lambda device=None: self.stream,
            "stream": self.on,
            "graph": self.recording,
            "CUDAGraph": FakeGraph,
        }.items():
            monkeypatch.setattr(torch.cuda, name, function)
        for name in ("cpu", "numpy", "tolist"):
            monkeypatch.setattr(Tensor, name, self._to_host(getattr(Tensor, name)))
        monkeypatch.setattr(torch._C, "_cuda_clearCublasWorkspaces", self.wait, raising=False)
        monkeypatch.setattr(implementations, "GRAPHED_ON", "cpu")
        monkeypatch.setattr(devices, "BACKENDS", {"cpu": _OnCard})

    def _to_host(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def copied(tensor: Tensor, *arguments: Any, **options: Any) -> Any:
            self.wait()
            return method(tensor, *arguments, **options)

        return copied


class FakeGraph:
    """What was recorded; a replay computes it again."""

    recorder: "Recorder"

    def replay(self) -> None:
        """Compute again what was recorded, into the same memory."""
        self.recorder.replay()


class Recorder(TorchDispatchMode):
    """Records each operator with the memory that it reads and writes."""

    def __init__(self, card: FakeCard, stream: FakeStream) -> None:
        super().__init__()
        self._card = card
        self._stream = stream
        # Operator, its arguments, and what it made anew: places among its results, and memory.
        self._steps: list[tuple[Any, Any, Any, list[tuple[int, Tensor]]]] = []
        self._own: set[int] = set()  # storages that were made within the recording

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        is_mask = name.startswith("index") and any(each.dtype == torch.bool for each in _tensors(args[1]))
        if name in WAITING or is_mask:
            raise RuntimeError(f"{NOT_PERMITTED} ({function})")
        if self._card.stream is not self._stream:
            raise RuntimeError(f"{NOT_PERMITTED}: {function} runs on another stream, and its memory is not of the pool")
        result = function(*args, **(kwargs or {}))
        storages = {_storage(tensor) for tensor in _tensors((args, kwargs))}
        new_tensors = [
            (place, each.data) for place, each in enumerate(_tensors(result)) if _storage(each) not in storages
        ]
        self._own |= {_storage(tensor) for _, tensor in new_tensors}
        addresses = tree_map(self._address, (args, kwargs or {}))
        self._steps.append((function, *addresses, new_tensors))
        return result

    def forget_values(self) -> None:
        """A recording computes nothing: what was made in it has no values before the first replay."""
        with torch.inference_mode():
            for *_, new_tensors in self._steps:
                for _, tensor in new_tensors:
                    if tensor.is_floating_point():
                        tensor.fill_(float("nan"))

    def replay(self) -> None:
        """Run the operators again."""
        with torch.inference_mode():
            for function, args, kwargs, new_tensors in self._steps:
                result = function(*tree_map(_read, args), **tree_map(_read, kwargs))
                results = _tensors(result)
                for place, tensor in new_tensors:
                    tensor.copy_(results[place])

    def _address(self, value: Any) -> Any:
        """Return what is recorded of an argument: of memory from outside only where it lies."""
        if not isinstance(value, Tensor):
            return value
        return value.data if _storage(value) in self._own else Address(value)


class Address:
    """Where a tensor lies that a recording reads and does not keep."""

    def __init__(self, tensor: Tensor) -> None:
        self._storage = StorageWeakRef(tensor.untyped_storage())
        self._place = tensor.storage_offset(), tensor.shape, tensor.stride()
        self._dtype = tensor.dtype
        self._number = tensor.detach().clone() if tensor.dim() == 0 else None  # one of the host's, which a kernel takes

    def read(self) -> Tensor:
        """Return the tensor; raises RuntimeError if its memory was freed."""
        if self._storage.expired():
            if self._number is not None:
                return self._number
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        storage = torch.UntypedStorage._new_with_weak_ptr(self._storage.cdata)
        return torch.empty(0, dtype=self._dtype).set_(storage, *self._place)


def _read(value: Any) -> Any:
    return value.read() if isinstance(value, Address) else value


def _tensors(tree: Any) -> list[Tensor]:
    return [value for value in tree_leaves(tree) if isinstance(value, Tensor)]


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


class _OnCard(FakeCuda):
    """A CUDA device that is always there; every call takes a millisecond."""

    def __init__(self, name: str) -> None:
        line = FakeLine()
        line.host.look_seconds = 1e-6
        super().__init__(line)
        event = {"return_value.elapsed_time.return_value": 1.0, "return_value.query.return_value": False}
        self.event = Mock(**event)  # type: ignore[method-assign]

    @staticmethod
    def why_not(name: str) -> str:
        return ""
