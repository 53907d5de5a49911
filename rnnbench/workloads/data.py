"""The data sets of a case, the two ways to load them, and the phase `epoch`, which trains on a whole data set.

Both ways give the same batches in the same order. To compare with: `loading` only draws these batches, and `step`
trains on one batch that is already in memory.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, Dataset, RandomSampler, Sampler, TensorDataset, default_collate

from rnnbench.cells.states import State
from rnnbench.store.records import DataSet, Workload
from rnnbench.workloads.phases import TimedCall

Samples = TensorDataset  # item i is `(inputs[i], targets[i])`; inputs: (items, seq, input), targets: (items, ...)
Example = tuple[Tensor, Tensor]
Indices = np.ndarray[tuple[int], np.dtype[np.int64]]
LoadingWay = Literal["per_item", "vectorised"]
SEED, ORDER_SEED = 3, 4  # of the values, and of the order in which they are read


class Batches(Dataset[Example]):
    """Samples whose items are whole batches, each copied by one operator for its inputs and one for its targets."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __getitem__(self, indices: Indices) -> Example:
        which = torch.from_numpy(indices)
        inputs, targets = self.samples.tensors
        return torch.index_select(inputs, 0, which), torch.index_select(targets, 0, which)


def windows(series: Tensor, length: int, stride: int) -> Tensor:
    """Return the whole windows over a series (steps, ...), each `stride` steps after the one before it.

    (windows, length, ...), a view: windows that overlap share the series' memory. A stride equal to the length gives
    windows without overlap, a smaller one overlapping windows.
    """
    return series.unfold(0, length, stride).movedim(-1, 1)


def make(name: DataSet, workload: Workload, dtype: torch.dtype) -> Samples:
    """Return `samples` inputs (seq, input) with targets (seq, output), in the memory of the host: normal draws.

    The series that windows are cut from is as long as `samples` sequences. If windows overlap, it is as long as one
    sequence and one step for each further sample.
    """
    generator = torch.Generator().manual_seed(SEED)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    samples, length = workload.samples, workload.seq_len
    targets = draw(samples, length, workload.output_size)
    if name == "regular":
        return Samples(draw(samples, length, workload.input_size), targets)
    stride = length if name == "windows" else 1
    series = draw((samples - 1) * stride + length, workload.input_size)
    return Samples(windows(series, length, stride), targets)


def loader(
    dataset: Samples,
    way: LoadingWay,
    batch_size: int,
    workers: int = 0,
    *,
    generator: torch.Generator | None = None,
) -> DataLoader[Any]:
    """Return batches `(inputs, targets)`, each (seq, batch, ...), or (batch, ...) where an item has no steps.

    `per_item` is the usual `DataLoader`: one item after another, then stacked. `vectorised` reads each batch at once.
    `workers` is the number of processes that load. They last from epoch to epoch and end once nothing holds the loader;
    with 0, this process loads. `generator` shuffles anew in each epoch; without it the data set's order is kept. The
    last batch may be smaller.
    """
    common: dict[str, Any] = {
        "num_workers": workers,
        "persistent_workers": workers > 0,
    }
    if way == "per_item":
        items: Any = dataset
        order = None if generator is None else RandomSampler(items, generator=generator)
        return DataLoader(items, batch_size, sampler=order, collate_fn=_collate_items, **common)
    # The fastest way to read whole batches in this process: it gave 0.84 M windows a second (of 32 steps, in shuffled
    # batches of 32). `__getitems__` with a collate that does nothing gave 0.68 M, and a `BatchSampler` as sampler gave
    # 0.48 M: both go through a list of numbers. Item by item gave 0.26 M.
    whole: Any = Batches(dataset)
    batches = IndexBatches(len(dataset), batch_size, generator)
    return DataLoader(whole, batch_size=None, sampler=batches, collate_fn=_steps_first, **common)


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


def _steps_first(batch: Any) -> Example:
    """Turn (batch, seq, ...) into a view (seq, batch, ...), the models' order; keep (batch,) and (batch, size)."""
    inputs, targets = (part.transpose(0, 1) if part.dim() > 2 else part for part in batch)
    return inputs, targets


def _collate_items(items: list[Example]) -> Example:
    return _steps_first(default_collate(items))


class Epochs:
    """Each iteration over it is one epoch in a new order, with batches on the case's device."""

    def __init__(self, dataset: Samples, way: LoadingWay, workload: Workload) -> None:
        self._device = workload.device
        generator = torch.Generator().manual_seed(ORDER_SEED)
        self._loader: Any = loader(dataset, way, workload.batch_size, workload.workers, generator=generator)

    def __iter__(self) -> Iterator[Example]:
        for inputs, targets in self._loader:
            yield inputs.to(self._device), targets.to(self._device)

    def close(self) -> None:
        """End the processes that load; no epoch can follow."""
        self._loader = None


def epoch(model: nn.Module, state_of: Callable[[int], State], workload: Workload, dtype: torch.dtype) -> TimedCall:
    """Return the call that trains on an epoch of `windows` by mean squared error, loaded item by item, as usual.

    `state_of`: the initial state for a number of sequences, in the model's form. Adam's learning rate is zero, as in
    `step`.
    """
    epochs = Epochs(make("windows", workload, dtype), "per_item", workload)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0)
    sizes = {min(workload.batch_size, workload.samples), workload.samples % workload.batch_size or workload.batch_size}
    states = {size: state_of(size) for size in sizes}  # the last batch may be smaller

    def train() -> None:
        for inputs, targets in epochs:
            optimizer.zero_grad(set_to_none=True)
            output, _ = model(inputs, states[inputs.shape[1]])
            loss: Any = mse_loss(output, targets)  # its `backward` is untyped in torch
            loss.backward()
            optimizer.step()

    return TimedCall(train, torch.enable_grad, epochs.close)
