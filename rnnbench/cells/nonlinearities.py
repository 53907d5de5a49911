"""What an Elman cell's state goes through."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from rnnbench.store.records import Nonlinearity

NONLINEARITIES: Mapping[Nonlinearity, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
}
