"""The shape of a call, and the way in which one that was not measured runs: none that would be compiled in the call.

Code that is compiled for so many steps serves every length at its batch size: it runs as many blocks as fit, and what
is left runs without a compiler. In inference it also serves other batch sizes where it is surely no slower than a way
without a compiler (see `batches`); the others run in the fastest of these at the nearest shape.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
from torch import Tensor

from rnnbench.speedup.batches import BatchCode, serving_code

if TYPE_CHECKING:
    import pandas as pd


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
    blocks: tuple[int, ...] = ()  # steps for which code is there, the most first; empty if there is code for the shape
    batch_size: int = 0  # for which code is there; 0 if it is that of the call
    without: str = ""  # the way without a compiler that is used if the rows of a batch are not computed apart
    reason: str = ""  # why it runs without compiled code although other shapes have it


@dataclass(frozen=True)
class MeasuredShapes:
    """The shapes that were measured, each with its way."""

    chosen: Mapping[CallShape, str]
    without_compiler: Mapping[CallShape, str]  # the fastest way of those that are not compiled
    compiled: Collection[str]  # the names of ways that are compiled
    codes: Mapping[CallShape, BatchCode]  # what is known of the compiled code of a shape
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
        if blocks := self._blocks(name, shape):
            return WayOfCall(name, blocks)
        code = serving_code(shape.batch_size, self._codes(name, shape)) if shape.phase == "inference" else None
        if code is None:
            about = f"batch {shape.batch_size}, length {shape.seq_len} has no compiled code"
            return WayOfCall(self.without_compiler[nearest], reason=about)
        at_batch = replace(shape, batch_size=code.batch_size)
        blocks = () if self.chosen.get(at_batch) == name else self._blocks(name, at_batch)
        return WayOfCall(name, blocks, code.batch_size, self.without_compiler[nearest])

    def _blocks(self, name: str, shape: CallShape) -> tuple[int, ...]:
        """Return the steps, in descending order, for which a way has code at a batch size, as far as they fit."""
        # With other lengths alone they have code in common.
        alike = [each for each in self.chosen if replace(each, seq_len=shape.seq_len) == shape]
        blocks = {steps for each in alike if self.chosen[each] == name for steps in self.pieces(each)}
        return tuple(sorted((steps for steps in blocks if 0 < steps <= shape.seq_len), reverse=True))

    def _codes(self, name: str, shape: CallShape) -> list[BatchCode]:
        """Return the code of a way that can run this length, for each batch size that of the nearest length."""
        by_batch: dict[int, BatchCode] = {}
        for each in sorted(self.codes, key=shape.distance, reverse=True):
            at_batch = replace(shape, batch_size=each.batch_size)
            is_alike = self.chosen[each] == name and replace(each, seq_len=shape.seq_len) == at_batch
            if is_alike and (each == at_batch or self._blocks(name, at_batch)):
                by_batch[each.batch_size] = self.codes[each]
        return [*by_batch.values()]


def codes_of(frame: "pd.DataFrame", compiled: Collection[str]) -> dict[CallShape, BatchCode]:
    """Return what the table of ways says of each shape whose way is compiled; `compiled`: the names of such ways."""
    codes = {}
    sizes: Any
    for sizes, rows in frame.groupby(list(SHAPE), sort=False):
        chosen: Any = next(rows[rows["is_chosen"].astype(bool)].itertuples(), None)
        if chosen is not None and chosen.way in compiled:
            shape = CallShape(*sizes)
            without = rows[~rows["way"].isin(compiled)]["seconds"].min()
            codes[shape] = BatchCode(shape.batch_size, chosen.seconds / shape.seq_len, without / shape.seq_len)
    return codes


def in_blocks(steps: int, blocks: Sequence[int]) -> list[int]:
    """Return the steps of each block, the largest first, that fit into a sequence; the rest of the steps is left out.

    `blocks`: in descending order.
    """
    sizes = []
    for size in blocks:
        sizes += [size] * (steps // size)
        steps %= size
    return sizes
