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

    `per_item` is the `DataLoader` as everyone writes it: one item after another, then stacked. `vectorised` reads each
    batch at once. `workers` are processes, which last from epoch to epoch and end once nothing holds the loader; with 0
    of them this process loads. Shuffled anew in each epoch by `generator`, else in the data set's order. The last batch
    may be smaller.
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
    # Of the ways to have batches at once, the fastest in this process: windows of 32 steps in shuffled batches of 32
    # came at 0.84 M a second; at 0.68 M by `__getitems__` with a collate that does nothing, and at 0.48 M by a
    # `BatchSampler` as sampler, both of which go through a list of numbers; item by item at 0.26 M.
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
    """A data set whose items are whole batches: what `DataLoader` asks for where it is not to make batches itself."""

    def __init__(self, dataset: Batched) -> None:
        self.dataset = dataset

    def __getitem__(self, indices: Indices) -> Example:
        return self.dataset.batch(torch.from_numpy(indices))


def steps_first(batch: Any) -> Example:
    """(batch, seq, ...) as (seq, batch, ...), the models' order, as a view; (batch,) and (batch, ...) as they are."""
    inputs, targets = (part.transpose(0, 1) if part.dim() > 2 else part for part in batch)
    return inputs, targets


def _collate_items(items: list[Example]) -> Example:
    inputs, targets = default_collate(items)
    return steps_first((inputs, targets))


def _end_with_parent(_worker: int) -> None:
    """torch's own workers look only every 5 s whether the process that feeds them is still there."""
    end_with_parent()
