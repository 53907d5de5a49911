"""The shape of a call, on which the choice of a way depends."""

import math
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class CallShape:
    """What the choice of a way depends on."""

    seq_len: int
    batch_size: int
    input_size: int  # of all values of a step together; 1 for whole numbers
    dtype: str  # `float32`, or `float32, autocast to bfloat16`
    device: str
    threads: int
    phase: str  # `training` if gradients are computed, or `inference`

    @classmethod
    def from_input(cls, input: Tensor, phase: str) -> Self:
        """Return the shape of a call; `input`: (seq, batch, ...)."""
        steps, batch, *features = input.shape
        dtype = str(input.dtype).removeprefix("torch.")
        kind = input.device.type
        if torch.is_autocast_enabled(kind):
            dtype += f", autocast to {torch.get_autocast_dtype(kind)}".replace("torch.", "")
        return cls(steps, batch, math.prod(features), dtype, str(input.device), torch.get_num_threads(), phase)


SHAPE = tuple(field.name for field in fields(CallShape))
