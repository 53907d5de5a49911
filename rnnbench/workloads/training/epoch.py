"""The phase `epoch`: one call trains on a whole data set, from loading to the optimizer's steps.

To compare with: `loading` only draws the same batches, and `step` trains on one batch that is already in memory.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.functional import mse_loss

from rnnbench.cells.states import State
from rnnbench.store.records import Workload
from rnnbench.workloads.data.datasets import Example
from rnnbench.workloads.data.epochs import Epochs
from rnnbench.workloads.data.made import make
from rnnbench.workloads.phases import TimedCall

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
