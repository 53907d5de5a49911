"""Conversion to another precision. torch's own `to` and `double` make complex numbers real."""

from typing import Any

import torch
from torch import Tensor, nn


def in_precision(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensor in a type of floating point: complex numbers stay complex, and whole numbers stay as they are.

    The numbers of a complex tensor get 64 bits for float64, and 32 for all other types.
    """
    if tensor.is_complex():
        return tensor.to(torch.complex128 if dtype is torch.float64 else torch.complex64)
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def convert(module: nn.Module, device: str, dtype: torch.dtype) -> None:
    """Move a module's parameters and buffers to a device and into a precision, as `in_precision` does."""
    apply: Any = module._apply  # what `to` and `double` call
    apply(lambda tensor: in_precision(tensor.to(device), dtype))
