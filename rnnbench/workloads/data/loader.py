"""A `DataLoader` over a data set, in each of two ways that give the same batches in the same order."""

import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler, Sampler, default_collate

from rnnbench.workloads.data.datasets import Batched, Example
from rnnbench.workloads.processes import end_with_parent

Indices = np.ndarray[tuple[int], np.dtype[np.int64]]
LoadingWay = Literal["per_item", "vectorised"]


def loader(
    dataset: Batched, way: LoadingWay, batch_size: int, workers: int = 0, *, generator: torch.Generator | None = None
) -> DataLoader[Any]:
    """Batches `(inputs, targets)`, each (seq, batch, ...), or (batch, ...) where an item has no steps.

    `per_item` is the usual `DataLoader`: one item after another, then stacked. `vectorised` reads each batch at once.
    `workers` is the number of processes that load. They last from epoch to epoch and end once nothing holds the loader;
    with 0, this process loads. `generator` shuffles anew in each epoch; without it the data set's order is kept. The
    last batch may be smaller.
    """
    common: dict[str, Any] = {
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "worker_init_fn": _end_with_parent,
    }
    if way == "per_item":
        items: Any = dataset
        order = None if generator is None else RandomSampler(items, generator=generator)
        return DataLoader(items, batch_size, sampler=order, collate_fn=_collate_items, **common)
    # The fastest way to read whole batches in this process: it gave 0.84 M windows a second (of 32 steps, in shuffled
    # batches of 32). `__getitems__` with a collate that does nothing gave 0.68 M, and a `BatchSampler` as sampler gave
    # 0.48 M: both go through a list of numbers. Item by item gave 0.26 M.
    batches = IndexBatches(len(dataset), batch_size, generator)
    whole: Any = _Whole(dataset)
    return DataLoader(whole, batch_size=None, sampler=batches, collate_fn=steps_first, **common)


class IndexBatches(Sampler[Indices]):
    """The indices of one batch after another: in order, or shuffled anew in each epoch by `generator`."""

    def __init__(self, items: int, batch_size: int, generator: torch.Generator | None) -> None:
        self.items = items
        self.batch_size = batch_size
        self.generator = generator

    def __len__(self) -> int:
        return math.ceil(self.items / self.batch_size)

    def __iter__(self) -> Iterator[Indices]:
        shuffled = self.generator is not None
        indices = torch.randperm(self.items, generator=self.generator) if shuffled else torch.arange(self.items)
        # Arrays go to another process by value; a tensor would go through shared memory, which takes longer than the
        # loading itself.
        array = indices.numpy()
        for start in range(0, self.items, self.batch_size):
            yield array[start : start + self.batch_size]


class _Whole(Dataset[Example]):
    """A data set whose items are whole batches, as `DataLoader` needs it to make no batches itself."""

    def __init__(self, dataset: Batched) -> None:
        self.dataset = dataset

    def __getitem__(self, indices: Indices) -> Example:
        return self.dataset.batch(torch.from_numpy(indices))


def steps_first(batch: Any) -> Example:
    """Turn (batch, seq, ...) into a view (seq, batch, ...), the models' order; keep (batch,) and (batch, size)."""
    inputs, targets = (part.transpose(0, 1) if part.dim() > 2 else part for part in batch)
    return inputs, targets


def _collate_items(items: list[Example]) -> Example:
    inputs, targets = default_collate(items)
    return steps_first((inputs, targets))


def _end_with_parent(_worker: int) -> None:
    """End a worker with its parent: torch's own workers check only every 5 s whether it is alive."""
    end_with_parent()
