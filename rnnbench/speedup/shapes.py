"""The shape of a call, and the way in which one that was not measured runs: none that would be compiled in the call.

Code that is compiled for so many steps serves every length at its batch size: it runs as many blocks as fit, and what
is left runs without a compiler. Other batch sizes run in the fastest way without a compiler of the nearest shape.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

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
    def of(cls, input: Tensor, phase: str) -> Self:
        """Return the shape of a call; `input`: (seq, batch, ...)."""
        steps, batch, *features = input.shape
        dtype = str(input.dtype).removeprefix("torch.")
        kind = input.device.type
        if torch.is_autocast_enabled(kind):
            dtype += f", autocast to {torch.get_autocast_dtype(kind)}".replace("torch.", "")
        return cls(steps, batch, math.prod(features), dtype, str(input.device), torch.get_num_threads(), phase)

    def distance(self, other: "CallShape") -> float:
        """Return how far two shapes are apart, in factors of two; infinite if one tells nothing about the other."""
        sizes = ((self.batch_size, other.batch_size), (self.seq_len, other.seq_len), (self.threads, other.threads))
        is_alike = replace(self, batch_size=other.batch_size, seq_len=other.seq_len, threads=other.threads) == other
        if not is_alike or not all(mine and theirs for mine, theirs in sizes):
            return math.inf
        return sum(abs(math.log2(mine / theirs)) for mine, theirs in sizes)


class WayOfCall(NamedTuple):
    """How a call runs."""

    name: str  # of the way
    blocks: tuple[int, ...] = ()  # steps for which code is there, the most first; empty if there is code for the shape


@dataclass(frozen=True)
class MeasuredShapes:
    """The shapes that were measured, each with its way."""

    chosen: Mapping[CallShape, str]
    without_compiler: Mapping[CallShape, str]  # the fastest way of those that are not compiled
    compiled: Collection[str]  # the names of ways that are compiled
    pieces: Callable[[CallShape], Sequence[int]]  # the steps for which a compiled way has code at a shape
    as_given: str

    def way_of(self, shape: CallShape) -> WayOfCall:
        """Return how a call of any shape runs: as given if no measured shape tells anything about it."""
        if shape in self.chosen:
            return WayOfCall(self.chosen[shape])
        nearest = min(self.chosen, key=shape.distance, default=None)
        if nearest is None or math.isinf(shape.distance(nearest)):
            return WayOfCall(self.as_given)
        name = self.chosen[nearest]
        if name not in self.compiled:
            return WayOfCall(name)
        # With other lengths alone they have code in common.
        alike = [each for each in self.chosen if replace(each, seq_len=shape.seq_len) == shape]
        blocks = {steps for each in alike if self.chosen[each] == name for steps in self.pieces(each)}
        fitting = tuple(sorted((steps for steps in blocks if 0 < steps <= shape.seq_len), reverse=True))
        return WayOfCall(name, fitting) if fitting else WayOfCall(self.without_compiler[nearest])


def in_blocks(steps: int, blocks: Sequence[int]) -> list[int]:
    """Return the steps of each block, the largest first, that fit into a sequence; the rest of the steps is left out.

    `blocks`: in descending order.
    """
    sizes = []
    for size in blocks:
        sizes += [size] * (steps // size)
        steps %= size
    return sizes
