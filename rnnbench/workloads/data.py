"""Samples and their targets: stored one by one, or as windows over one long series.

Each can be read in two ways that give the same values: item by item, as any map-style data set of torch, and by
`batch`, which takes all indices of a batch and copies its inputs by one operator, its targets by another.

The data sets of a case: normal draws from a fixed seed, in the sizes of its workload.

A `DataLoader` over a data set, in each of two ways that give the same batches in the same order.

Epochs over a case's data, one after another.


The phase `epoch`: one call trains on a whole data set, from loading to the optimizer's steps. To compare with:
`loading` only draws the same batches, and `step` trains on one batch that is already in memory.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, Dataset, RandomSampler, Sampler, default_collate

from rnnbench.cells.states import State
from rnnbench.store.records import DataSet, Workload
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.processes import end_with_parent

Example = tuple[Tensor, Tensor]


class Batched(Protocol):
    """A map-style data set that can also give whole batches."""

    def __len__(self) -> int:
        """The number of items."""
        ...

    def __getitem__(self, index: int) -> Example:
        """One input and its target; raises IndexError as a sequence does."""
        ...

    def batch(self, indices: Tensor) -> Example:
        """The inputs and targets at `indices` (batch,), none of them negative, each stacked along a new first axis."""
        ...


class RegularDataset(Dataset[Example]):
    """Samples that lie one after another: item i is `(inputs[i], targets[i])`."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        """`inputs`: (items, ...), `targets`: (items, ...); raises ValueError if their numbers differ."""
        if len(inputs) != len(targets):
            raise ValueError(f"{len(inputs)} inputs and {len(targets)} targets; expected a target for each input")
        self.inputs = inputs
        self.targets = targets

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> Example:
        return self.inputs[index], self.targets[index]

    def batch(self, indices: Tensor) -> Example:
        """The inputs and targets at `indices` (batch,), stacked."""
        return torch.index_select(self.inputs, 0, indices), torch.index_select(self.targets, 0, indices)


class WindowDataset(Dataset[Example]):
    """Windows over one series: item i is the `length` steps from `i * stride` on, and `targets[i]`.

    A stride equal to the length gives windows without overlap, a smaller one overlapping windows, a larger one gaps.
    """

    def __init__(self, series: Tensor, targets: Tensor, length: int, stride: int) -> None:
        """`series`: (steps, ...), `targets`: (windows, ...).

        Raises ValueError if there is no whole window, or if the numbers of targets and windows differ.
        """
        if length < 1 or stride < 1:
            raise ValueError(f"length {length} and stride {stride}; expected both to be 1 or more")
        if len(series) < length:
            raise ValueError(f"the series has {len(series)} steps, fewer than a window of {length}")
        # A view: windows that overlap share the series' memory.
        self.windows = series.unfold(0, length, stride).movedim(-1, 1)  # (windows, length, ...)
        if len(targets) != len(self.windows):
            raise ValueError(
                f"{len(targets)} targets; expected {len(self.windows)}, one for each window of {length} steps, "
                f"{stride} apart, over {len(series)}"
            )
        self.series = series
        self.targets = targets
        self.length = length
        self.stride = stride

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Example:
        if not -len(self) <= index < len(self):
            raise IndexError(f"no window {index}: there are {len(self)}")
        start = index % len(self) * self.stride
        return self.series[start : start + self.length], self.targets[index]

    def batch(self, indices: Tensor) -> Example:
        """The windows and targets at `indices` (batch,), stacked."""
        return torch.index_select(self.windows, 0, indices), torch.index_select(self.targets, 0, indices)


SEED = 3  # of the values


def make(name: DataSet, workload: Workload, dtype: torch.dtype) -> Batched:
    """`samples` inputs (seq, input) with targets (seq, output), in the memory of the host.

    The series that windows are cut from is as long as `samples` sequences. If windows overlap, it is as long as one
    sequence and one step for each further sample.
    """
    generator = torch.Generator().manual_seed(SEED)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    samples, length = workload.samples, workload.seq_len
    targets = draw(samples, length, workload.output_size)
    if name == "regular":
        return RegularDataset(draw(samples, length, workload.input_size), targets)
    stride = length if name == "windows" else 1
    series = draw((samples - 1) * stride + length, workload.input_size)
    return WindowDataset(series, targets, length, stride)


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


ORDER_SEED = 4


class Epochs:
    """Each iteration over it is one epoch in a new order, with batches on the case's device."""

    def __init__(self, dataset: Batched, way: LoadingWay, workload: Workload) -> None:
        self._device = workload.device
        generator = torch.Generator().manual_seed(ORDER_SEED)
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


StateOf = Callable[[int], State]  # the initial state for a number of sequences, in the model's form


def epoch(model: nn.Module, state_of: StateOf, workload: Workload, dtype: torch.dtype) -> TimedCall:
    """The call for an epoch of `windows`, loaded item by item, as usual; Adam's learning rate is zero, as in `step`."""
    epochs = Epochs(make("windows", workload, dtype), "per_item", workload)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0)
    sizes = {min(workload.batch_size, workload.samples), workload.samples % workload.batch_size or workload.batch_size}
    states = {size: state_of(size) for size in sizes}  # the last batch may be smaller
    return TimedCall(lambda: train(model, epochs, states.__getitem__, optimizer), torch.enable_grad, epochs.close)


def train(model: nn.Module, batches: Iterable[Example], state_of: StateOf, optimizer: torch.optim.Optimizer) -> None:
    """Train on each batch of inputs (seq, batch, input) and targets (seq, batch, output), by mean squared error."""
    for inputs, targets in batches:
        optimizer.zero_grad(set_to_none=True)
        output, _ = model(inputs, state_of(inputs.shape[1]))
        loss: Any = mse_loss(output, targets)  # its `backward` is untyped in torch
        loss.backward()
        optimizer.step()
