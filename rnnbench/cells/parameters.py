"""Parameters with the initial values of torch's recurrent layers."""

import torch
from torch import nn


def uniform(*shape: int, bound: float) -> nn.Parameter:
    """A parameter drawn from U(-bound, bound)."""
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))
