"""The inputs of a timed call: a few that take turns, and get new values before each window.

A cell that keeps results instead of computing them anew returns stale ones, or has nothing to look up.
"""

import random
from collections.abc import Sequence

import torch
from torch import Tensor

COUNT = 4
ALIGNMENT = 64  # bytes, as torch aligns its own tensors
SCALES = (0.9, 1.1)  # new values are the old ones, moved and multiplied by a number from this range


class Inputs:
    """Inputs of one shape, type and device, which calls take in turn."""

    def __init__(self, tensors: Sequence[Tensor], buffer: Tensor, values: Tensor) -> None:
        """`buffer` is the memory of all `tensors`; `values` are those from which new ones are made. Both are flat."""
        self.tensors = tensors
        self._buffer = buffer
        self._values = values

    def renew(self, seed: str) -> None:
        """Give all inputs new values in place; equal seeds give equal values."""
        draw = random.Random(seed)
        start, scale = draw.randrange(len(self._values)), draw.uniform(*SCALES)
        filled = 0
        with torch.no_grad():
            while filled < len(self._buffer):
                part = self._values[start : start + len(self._buffer) - filled]
                if part.is_floating_point():
                    torch.mul(part, scale, out=self._buffer[filled : filled + len(part)])
                else:  # tokens are only moved
                    self._buffer[filled : filled + len(part)] = part
                filled, start = filled + len(part), 0


def in_turn(values: Tensor) -> Inputs:
    """Inputs that overlap in memory, a cache line apart, so that all of them take little more of it than one."""
    shift = ALIGNMENT // values.element_size()
    buffer = values.new_empty(values.numel() + shift * (COUNT - 1))
    tensors = [
        # Not views, which torch may treat unlike other tensors.
        values.new_empty(0).set_(buffer.untyped_storage(), shift * index, values.shape)  # type: ignore[call-overload]
        for index in range(COUNT)
    ]
    inputs = Inputs(tensors, buffer, values.flatten())
    inputs.renew("first")
    return inputs


def fixed(input: Tensor) -> Inputs:
    """A single input, which stays where it is in memory: that of a recorded graph, which runs no Python code."""
    return Inputs([input], input.view(-1), input.flatten().clone())
