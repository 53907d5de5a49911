"""The shape of a call, and the way in which one that was not measured runs: none that would be compiled in the call.

Code that is compiled for so many steps serves every length at its batch size, and at all others of 2 and more if it was
compiled for any batch size: it runs as many blocks as fit, and what is left runs without a compiler. Calls for which
there is no code run in the fastest way without a compiler at the nearest shape.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple, Self

import torch
from torch import Tensor

from rnnbench.speedup.one_form import SMALLEST_BATCH


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


SHAPE = tuple(field.name for field in fields(CallShape))


class WayOfCall(NamedTuple):
    """How a call runs."""

    name: str  # of the way
    # Steps for which there is code, the most first: then nothing is compiled, and other steps run without a compiler.
    # Empty for a shape that was measured, whose code is compiled if it is not there.
    blocks: tuple[int, ...] = ()
    any_batch: bool = False  # whether its code is that for any batch size
    reason: str = ""  # why it runs without compiled code although other shapes have it


@dataclass(frozen=True)
class MeasuredShapes:
    """The shapes that were measured, each with its way."""

    chosen: Mapping[CallShape, str]
    without_compiler: Mapping[CallShape, str]  # the fastest way of those that are not compiled
    compiled: Collection[str]  # the names of ways that are compiled
    any_batch: Collection[CallShape]  # those whose compiled code runs every batch size of 2 and more
    pieces: Callable[[CallShape], Sequence[int]]  # the steps for which a compiled way has code at a shape
    as_given: str
    is_whole: bool  # a call is one piece, of any length: code of other lengths is of no use

    def way_of(self, shape: CallShape) -> WayOfCall:
        """Return how a call of any shape runs: as given if no measured shape tells anything about it."""
        if shape in self.chosen:
            return WayOfCall(self.chosen[shape], any_batch=shape in self.any_batch)
        alike = [each for each in sorted(self.chosen, key=shape.distance) if math.isfinite(shape.distance(each))]
        if not alike:
            return WayOfCall(self.as_given)
        nearest = alike[0]
        if self.chosen[nearest] not in self.compiled:
            return WayOfCall(self.chosen[nearest])
        for each in alike:
            plan = WayOfCall(self.chosen[each], self._blocks(each, shape), each in self.any_batch)
            if plan.name in self.compiled and plan.blocks:
                return plan
        can_have_any_batch = shape.batch_size >= SMALLEST_BATCH and shape.phase == "inference"
        reason = (
            f"batch {shape.batch_size}, length {shape.seq_len} has no compiled code; give rnnbench.fastest such shapes"
            f"{', or any_batch=True' if can_have_any_batch else ''}"
        )
        return WayOfCall(self.without_compiler[nearest], reason=reason)

    def _blocks(self, measured: CallShape, shape: CallShape) -> tuple[int, ...]:
        """Return the steps, in descending order, of the code that a call can use like that of a measured shape."""
        # Shapes with the same code but for the length, and for the batch size if that may be any.
        way = self.chosen[measured], measured in self.any_batch
        alike = [each for each in self.chosen if (self.chosen[each], each in self.any_batch) == way]
        fitting = [each for each in alike if self._runs(each, shape)]
        blocks = {steps for each in fitting for steps in self.pieces(each)}
        return tuple(sorted((steps for steps in blocks if 0 < steps <= shape.seq_len), reverse=True))

    def _runs(self, measured: CallShape, shape: CallShape) -> bool:
        """Return whether the code of a measured shape runs blocks of a call."""
        if self.is_whole and measured.seq_len != shape.seq_len:
            return False
        alike = replace(measured, seq_len=shape.seq_len)
        if measured in self.any_batch and shape.batch_size >= SMALLEST_BATCH:
            alike = replace(alike, batch_size=shape.batch_size)
        return alike == shape


def in_blocks(steps: int, blocks: Sequence[int]) -> list[int]:
    """Return the steps of each block, the largest first, that fit into a sequence; the rest of the steps is left out.

    `blocks`: in descending order.
    """
    sizes = []
    for size in blocks:
        sizes += [size] * (steps // size)
        steps %= size
    return sizes
