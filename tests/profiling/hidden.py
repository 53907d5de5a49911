"""A function that a recording can't look into."""

from typing import Any

import torch
from torch import Tensor


class Hidden(torch.autograd.Function):
    """tanh, with a backward of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.tanh()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad
