"""The phases that read a whole data set: `loading` draws its batches, and `epoch` trains on them.

Both ways to load it give the same batches in the same order. With `workers`, other processes load, each on a core of
its own if there are enough. More processes than cores share all cores, also that of the timed process.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, RandomSampler, Sampler, TensorDataset, default_collate

from rnnbench.cells.states import State, torch_dtype
from rnnbench.store.implementations import Implementation
from rnnbench.store.records import (
    Case,
    DataSet,
    Workload,
)
from rnnbench.workloads.phases import TimedCall, resting

Samples = TensorDataset  # item i is `(inputs[i], targets[i])`; inputs: (items, seq, input), targets: (items, ...)
Example = tuple[Tensor, Tensor]
Indices = np.ndarray[tuple[int], np.dtype[np.int64]]
DATA_SEED = 3  # of the values
ORDER_SEED = 4  # of the order in which they are read


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


def make(name: DataSet, workload: Workload) -> Samples:
    """Return `samples` inputs (seq, input) with targets (seq, output), in the memory of the host: normal draws.

    The series that windows are cut from is as long as `samples` sequences. If windows overlap, it is as long as one
    sequence and one step for each further sample.
    """
    generator = torch.Generator().manual_seed(DATA_SEED)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(torch_dtype(workload.dtype))

    samples = workload.samples
    length = workload.seq_len
    targets = draw(samples, length, workload.output_size)
    if name == "regular":
        return Samples(draw(samples, length, workload.input_size), targets)
    stride = length if name == "windows" else 1
    series = draw((samples - 1) * stride + length, workload.input_size)
    return Samples(windows(series, length, stride), targets)


class IndexBatches(Sampler[Indices]):
    """The indices of one batch after another, shuffled anew in each epoch by `generator`."""

    def __init__(self, items: int, batch_size: int, generator: torch.Generator) -> None:
        self.items = items
        self.batch_size = batch_size
        self.generator = generator

    def __iter__(self) -> Iterator[Indices]:
        # Arrays go to another process by value; a tensor would go through shared memory, which takes longer than the
        # loading itself.
        array = torch.randperm(self.items, generator=self.generator).numpy()
        for start in range(0, self.items, self.batch_size):
            yield array[start : start + self.batch_size]


def _steps_first(batch: Any) -> Example:
    """Turn (batch, seq, ...) into a view (seq, batch, ...), the models' order."""
    inputs, targets = (part.transpose(0, 1) for part in batch)
    return inputs, targets


def _collate_items(items: list[Example]) -> Example:
    return _steps_first(default_collate(items))


class Epochs:
    """Each iteration over it is one epoch in a new order: `(inputs, targets)`, each (seq, batch, ...), on the device.

    The last batch may be smaller. `per_item` is the usual `DataLoader`: one item
    after another, then stacked. `vectorised` reads each batch at once. With `workers`, other processes load; they last
    from epoch to epoch.
    """

    def __init__(self, dataset: Samples, way: Implementation, workload: Workload) -> None:
        self._device = workload.device
        workers = workload.workers
        generator = torch.Generator().manual_seed(ORDER_SEED)
        items: Any = dataset
        order = RandomSampler(items, generator=generator)
        reading: dict[str, Any] = {"batch_size": workload.batch_size, "sampler": order, "collate_fn": _collate_items}
        if way == "vectorised":
            # The fastest way to read whole batches in this process: it gave 0.84 M windows a second (of 32 steps, in
            # shuffled batches of 32). `__getitems__` with a collate that does nothing gave 0.68 M, and a
            # `BatchSampler` as sampler gave 0.48 M: both go through a list of numbers. Item by item gave 0.26 M.
            batches = IndexBatches(len(dataset), workload.batch_size, generator)
            items = Batches(dataset)
            reading = {"batch_size": None, "sampler": batches, "collate_fn": _steps_first}
        self._loader: Any = DataLoader(items, **reading, num_workers=workers, persistent_workers=workers > 0)

    def __iter__(self) -> Iterator[Example]:
        for inputs, targets in self._loader:
            yield inputs.to(self._device), targets.to(self._device)

    def close(self) -> None:
        """End the processes that load; no epoch can follow."""
        self._loader = None


@dataclass(frozen=True)
class Loading:
    """A data set from which a timed call is made, in the place of a built case."""

    case: Case
    dataset: Samples

    def timed_call(self) -> TimedCall:
        """Return the call for an epoch that reads every input."""
        epochs = Epochs(self.dataset, self.case.implementation, self.case.workload)

        def call() -> None:
            for inputs, _ in epochs:
                inputs.sum()  # otherwise, data in memory shared with other processes would not be fetched

        return TimedCall(call, torch.enable_grad, epochs.close)


def build_loading(case: Case) -> Loading:
    """Return the data set that the case names."""
    name: Any = case.workload.reference  # a data set, as the suite has checked
    return Loading(case, make(name, case.workload))


def epoch(model: nn.Module, state_of: Callable[[int], State], workload: Workload) -> TimedCall:
    """Return the call that trains on an epoch of `windows` by mean squared error, loaded item by item, as usual.

    `state_of`: the initial state for a number of sequences, in the model's form. Adam's learning rate is zero, as in
    `step`.
    """
    epochs = Epochs(make("windows", workload), "per_item", workload)
    optimizer = resting(torch.optim.Adam, list(model.parameters()))
    sizes = {min(workload.batch_size, workload.samples), workload.samples % workload.batch_size or workload.batch_size}
    states = {size: state_of(size) for size in sizes}  # the last batch may be smaller

    def train() -> None:
        for inputs, targets in epochs:
            optimizer.zero_grad(set_to_none=True)
            output, _ = model(inputs, states[inputs.shape[1]])
            loss: Any = functional.mse_loss(output, targets)  # its `backward` is untyped in torch
            loss.backward()
            optimizer.step()

    return TimedCall(train, torch.enable_grad, epochs.close)
