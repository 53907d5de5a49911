"""Epochs over a case's data, one after another."""

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader

from rnnbench.store.records import Workload
from rnnbench.workloads.data.datasets import Batched, Example
from rnnbench.workloads.data.loader import LoadingWay, loader

SEED = 4


class Epochs:
    """Each iteration over it is one epoch in a new order, with batches on the case's device."""

    def __init__(self, dataset: Batched, way: LoadingWay, workload: Workload) -> None:
        self._device = workload.device
        generator = torch.Generator().manual_seed(SEED)
        self._loader: DataLoader[Example] | None = loader(
            dataset, way, workload.batch_size, workload.workers, generator=generator
        )

    def __iter__(self) -> Iterator[Example]:
        assert self._loader is not None
        for inputs, targets in self._loader:
            yield inputs.to(self._device), targets.to(self._device)

    def close(self) -> None:
        """End the processes that load; no epoch can follow."""
        self._loader = None
