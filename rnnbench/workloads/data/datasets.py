"""Samples and their targets: stored one by one, or as windows over one long series.

Each can be read in two ways that give the same values: item by item, as any map-style data set of torch, and by
`batch`, which takes all indices of a batch and copies its inputs by one operator, its targets by another.
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

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
