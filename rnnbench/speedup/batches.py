"""Batch sizes for which no code was compiled: which code serves them, what that costs, and whether it is right.

Code for 32 sequences runs 20 of them with 12 rows added, and 70 in three calls. That is right only if each sequence is
computed by itself, which a trial of the call's own input shows before the code is used. This module needs torch alone.
"""

import copy
import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rnnbench.speedup.kept.code import BatchResults, RunParts, StateParts

CHEAP = 1.05  # times the time of code of its own: such a batch size counts as served by the code that is there
MOST_ROWS = 10_000  # of the batch sizes that are described
MOST_RANGES = 6  # of these that are named
CHANGE = 3.0  # of each value of the rows that a trial adds
ROUNDED = 1e-3  # of the largest value: the most that rounding may change in a trial


@dataclass(frozen=True)
class BatchCode:
    """Compiled code for a batch size, with what was measured there; NaN if nothing was."""

    batch_size: int
    seconds: float  # for a step
    seconds_without: float  # for a step, in the fastest way without a compiler

    def calls(self, rows: int) -> int:
        """Return how many calls of the code so many sequences need."""
        return math.ceil(rows / self.batch_size)

    def adds_little(self, rows: int) -> bool:
        """Return whether the rows that one call adds take 5% of its time at most, however it grows with the batch."""
        return rows <= self.batch_size <= CHEAP * rows


@dataclass(frozen=True)
class BatchRange:
    """Batch sizes that one piece of code serves."""

    first: int
    last: int
    batch_size: int  # of the code
    most: float  # times the time of code of their own

    def __str__(self) -> str:
        """Say which code runs these batch sizes, and how long that takes at most."""
        sizes = str(self.first) if self.first == self.last else f"{self.first} to {self.last}"
        if self.is_larger:
            return f"{sizes} in calls of {self.batch_size}, no slower than without a compiler"
        return f"{sizes} as {self.batch_size}, {self.most:.3g} times the time of code of its own at most"

    @property
    def is_larger(self) -> bool:
        """Whether the code is called several times."""
        return self.first > self.batch_size

    @property
    def is_cheap(self) -> bool:
        """Whether code of their own would save 5% at most."""
        return self.most <= CHEAP


def serving_code(rows: int, codes: Collection[BatchCode]) -> BatchCode | None:
    """Return the code that runs so many sequences; None if a way without a compiler may be faster.

    That way takes at least as long as for fewer sequences, and for one of them at least as long as in a larger batch.
    """
    without = _least((code.batch_size, code.seconds_without) for code in codes)(rows)
    serving = [code for code in codes if code.adds_little(rows) or code.calls(rows) * code.seconds <= without]

    def cost(code: BatchCode) -> tuple[float, int]:
        seconds = code.calls(rows) * code.seconds
        return (seconds if math.isfinite(seconds) else math.inf, code.batch_size)

    return min(serving, key=cost, default=None)


def described_ranges(codes: Collection[BatchCode]) -> str:
    """Say which other batch sizes are served by which code; empty if none is."""
    ranges = [str(each) for each in served_ranges(codes)]
    more = [f"{len(ranges) - MOST_RANGES} more ranges"] if len(ranges) > MOST_RANGES else []
    return "; ".join([*ranges[:MOST_RANGES], *more])


def most_times(rows: int, code: BatchCode, codes: Collection[BatchCode]) -> float:
    """Return how many times the time of code of their own some sequences take at most by this code."""
    if code.adds_little(rows):
        return code.batch_size / rows
    return code.calls(rows) * code.seconds / _least((each.batch_size, each.seconds) for each in codes)(rows)


def _least(times: Iterable[tuple[int, float]]) -> Callable[[int], float]:
    """Return a function that gives the least time of some sequences, from the times of batch sizes."""
    measured = [(batch_size, seconds) for batch_size, seconds in times if math.isfinite(seconds)]

    def least(rows: int) -> float:
        return max((seconds * min(1.0, rows / batch_size) for batch_size, seconds in measured), default=math.nan)

    return least


def served_ranges(codes: Collection[BatchCode]) -> list[BatchRange]:
    """Return the other batch sizes that are served, in order, as ranges of one code that are all cheap or all not."""
    measured = {code.batch_size for code in codes}
    ranges: list[BatchRange] = []
    for rows in range(1, MOST_ROWS):
        code = serving_code(rows, codes)
        if code is None and rows > max(measured, default=0):
            break
        if code is None or rows in measured:
            continue
        times = most_times(rows, code, codes)
        last = ranges[-1] if ranges else None
        one = BatchRange(rows, rows, code.batch_size, times)
        is_next = last is not None and (last.last, last.batch_size) == (rows - 1, code.batch_size)
        if last and is_next and last.is_cheap == one.is_cheap and last.is_larger == one.is_larger:
            ranges[-1] = BatchRange(last.first, rows, code.batch_size, max(last.most, times))
        else:
            ranges.append(one)
    return ranges


def run_in_batches(run: RunParts, input: Tensor, state: StateParts, batch_size: int, dim: int = 1) -> BatchResults:
    """Run sequences in calls of this batch size, the last one with copies of the last row.

    `dim`: of the batch in the input and the outputs; in a state it is 1. Copies give no numbers that rows do not give.
    """
    rows = input.shape[dim]
    calls = math.ceil(rows / batch_size)
    more = calls * batch_size - rows
    inputs = torch.split(_filled(input, more, dim), batch_size, dim)
    states = [torch.split(_filled(part, more, 1), batch_size, 1) for part in state]
    outputs = []
    finals = []
    for number, piece in enumerate(inputs):
        begun = tuple(_in_order(parts[number]) for parts in states)
        of_piece, final = run(_in_order(piece), begun)
        outputs.append(of_piece)
        finals.append(final)
    joined = tuple(torch.cat(parts, 1).narrow(1, 0, rows) for parts in zip(*finals, strict=True))
    return torch.cat(outputs, dim).narrow(dim, 0, rows), joined


def _filled(tensor: Tensor, more: int, dim: int) -> Tensor:
    if not more:
        return tensor
    sizes = list(tensor.shape)
    sizes[dim] = more
    return torch.cat((tensor, tensor.narrow(dim, -1, 1).expand(sizes)), dim)


def _in_order(tensor: Tensor) -> Tensor:
    """Return a tensor whose strides are those of a new one; `contiguous` leaves those of dimensions of size 1."""
    return tensor.clone(memory_format=torch.contiguous_format)


def rows_are_apart(
    module: nn.Module, run: Callable[[nn.Module], RunParts], input: Tensor, state: StateParts, dim: int = 1
) -> bool:
    """Return whether rows that are added to a batch change nothing for the others, by a trial in the module's mode.

    `run`: runs the copy of the module that it is given as it is. Returns False if a call draws random numbers or
    changes a buffer, if the module fails with more rows, and if it can't be copied.
    """
    try:
        trial = copy.deepcopy(module)
        before = [tensor.clone() for tensor in _tensors(trial)]
        expected = run(trial)(input.clone(), tuple(part.clone() for part in state))
        others = _changed(input)
        more = tuple(torch.cat((part, _changed(part)), 1) for part in state)
        outputs, final = run(trial)(torch.cat((input, others), dim), more)
        rows = input.shape[dim]
        cut = outputs.narrow(dim, 0, rows), tuple(part.narrow(1, 0, rows) for part in final)
        is_unchanged = all(map(torch.equal, before, _tensors(trial)))
    except Exception:  # whatever a stranger's code raises: then its rows are not known to be apart
        return False
    return is_unchanged and are_close(cut, expected)


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _changed(tensor: Tensor) -> Tensor:
    """Return other values of the same kind: a half of a whole number, which may be a token, is one, too."""
    return tensor + CHANGE if tensor.is_floating_point() else tensor // 2


def are_close(one: BatchResults, other: BatchResults, tolerance: float = ROUNDED) -> bool:
    """Return whether outputs and final states are equal but for rounding; see `relative_error`."""
    pairs = zip((one[0], *one[1]), (other[0], *other[1]), strict=True)
    return all(relative_error(mine, expected) <= tolerance for mine, expected in pairs)


def relative_error(values: Tensor, expected: Tensor) -> float:
    """Return the largest difference in shares of the largest value; infinite for other shapes, NaN if it is NaN."""
    if values.shape != expected.shape or values.dtype != expected.dtype:
        return math.inf
    if not expected.numel():
        return 0.0
    largest = float(expected.abs().max())
    return float((values - expected).abs().max()) / max(largest, 1e-30)
