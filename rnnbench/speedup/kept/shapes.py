"""Which code of a folder runs a call: that of its shape, of other lengths in blocks, or of another batch size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from rnnbench.speedup.batches import BatchCode, described_ranges, serving_code
from rnnbench.speedup.kept.code import EQUAL_LAYER, FUSED, LoadedShape
from rnnbench.speedup.kept.manifest import KeptShape, KeptWays
from rnnbench.speedup.shapes import in_blocks
from rnnbench.text import listed, plural, rounded_up

LONG = 256  # steps: the length for which it is said what it costs
ByThreads = dict[int, LoadedShape]


@dataclass(frozen=True)
class LoadedShapes:
    """The shapes of a folder; what was found for others is remembered."""

    manifest: KeptWays
    shapes: Sequence[LoadedShape]
    has_class: bool  # whether the module as given can run what is not kept
    by_sizes: dict[tuple[int, int], ByThreads] = field(default_factory=dict)

    def shape_of(self, seq_len: int, batch_size: int) -> LoadedShape | None:
        """Return what runs sequences of these sizes on torch's number of threads now; None if nothing does."""
        sizes = seq_len, batch_size
        if sizes not in self.by_sizes:
            self.by_sizes[sizes] = self._by_threads(*sizes)
        by_threads = self.by_sizes[sizes]
        if not by_threads:
            return None
        return by_threads.get(torch.get_num_threads()) or next(iter(by_threads.values()))

    def _by_threads(self, seq_len: int, batch_size: int) -> ByThreads:
        measured = [
            each for each in self.shapes if (each.shape.seq_len, each.shape.batch_size) == (seq_len, batch_size)
        ]
        return (
            {each.shape.threads: each for each in measured}
            or self._of_blocks(seq_len, batch_size)
            or self._of_batches(seq_len, batch_size)
            or self._without_code(seq_len, batch_size)
        )

    def _of_blocks(self, seq_len: int, batch_size: int) -> ByThreads:
        """Return how a length that is not kept runs by the code of others at its batch size; empty if it can't."""
        alike = [each for each in self.shapes if each.units and each.shape.batch_size == batch_size]
        by_threads: ByThreads = {}
        if self.manifest.kind == "sequence":
            return by_threads
        for threads in {each.shape.threads for each in alike}:
            first, *others = [each for each in alike if each.shape.threads == threads]
            units = []
            for index, unit in enumerate(first.units):
                packages = dict(unit.packages)
                for other in others:
                    packages |= other.units[index].packages
                units.append(replace(unit, packages=packages))
            sizes = in_blocks(seq_len, sorted(units[0].packages, reverse=True))
            if sum(sizes) == seq_len > 0:
                shape = replace(first.shape, seq_len=seq_len, pieces=tuple(sizes), seconds=None, ratio=None)
                by_threads[threads] = LoadedShape(shape, units)
        return by_threads

    def _of_batches(self, seq_len: int, batch_size: int) -> ByThreads:
        """Return how a batch size that is not kept runs by the code of another one; empty if it can't, or is slower.

        Without the module as given any code that is right is used, since the call would be refused.
        """
        if not self.manifest.rows_apart or not batch_size:
            return {}
        by_batch: dict[int, ByThreads] = {}
        for each in self.shapes:
            size = each.shape.batch_size
            if each.units and size not in by_batch:
                same = [other for other in self.shapes if other.units and other.shape.batch_size == size]
                measured = {other.shape.threads: other for other in same if other.shape.seq_len == seq_len}
                if runs := measured or self._of_blocks(seq_len, size):
                    by_batch[size] = runs
        with_code = [each.shape for each in self.shapes if each.units]
        codes = [_code(next(each for each in with_code if each.batch_size == size)) for size in by_batch]
        code = serving_code(batch_size, codes)
        if code is None and codes and not self.has_class:
            code = min(codes, key=lambda each: each.calls(batch_size) * each.batch_size)
        if code is None:
            return {}
        runs = by_batch[code.batch_size]
        return {threads: replace(each, is_of_other_batch=True) for threads, each in runs.items()}

    def _without_code(self, seq_len: int, batch_size: int) -> ByThreads:
        """Return how a cell whose class is not there runs as a layer of torch.nn, of any length and batch size."""
        if self.has_class or not self.manifest.equal_layer:
            return {}
        alike = [each for each in self.shapes if each.shape.way in (EQUAL_LAYER, FUSED) and not each.units]
        changes: dict[str, Any] = {"seq_len": seq_len, "batch_size": batch_size, "seconds": None, "ratio": None}
        return {each.shape.threads: LoadedShape(replace(each.shape, **changes), ()) for each in alike}


def _code(shape: KeptShape) -> BatchCode:
    """Return what was measured of a kept shape."""
    if shape.seconds is None or not shape.ratio:
        return BatchCode(shape.batch_size, math.nan, math.nan)
    seconds = shape.seconds / shape.seq_len
    return BatchCode(shape.batch_size, seconds, seconds / shape.ratio)


def other_sizes(manifest: KeptWays, *, has_class: bool) -> list[str]:
    """Say how lengths and batch sizes that a folder does not keep run, and what it would cost to keep a long one."""
    shapes = [shape for shape in manifest.shapes if shape.units]
    if not shapes:
        return []
    lines = [_other_lengths(manifest, shapes)]
    if not manifest.rows_apart:
        return [*lines, "  other batch sizes: not by this code, since each sequence has an effect on the others"]
    codes = {shape.batch_size: _code(shape) for shape in shapes}
    ranges = described_ranges(codes.values())
    if ranges:
        lines.append(f"  other batch sizes: {ranges}")
    if not has_class:
        lines.append(
            "  without the module as given, all other batch sizes run by this code, too, however long it takes"
        )
    return lines


def _other_lengths(manifest: KeptWays, shapes: Sequence[KeptShape]) -> str:
    most = max((each.compile_seconds / max(each.pieces) for each in shapes), default=0.0)
    if manifest.kind == "sequence":
        return f"  other lengths: not by this code; to keep {LONG} steps, about {rounded_up(most * LONG)} of compiling"
    blocks = sorted({int(steps) for each in shapes for steps in each.units[0].packages}, reverse=True)
    line = f"  other lengths: sums of {listed([str(steps) for steps in blocks])} steps, by the same code"
    sizes = in_blocks(LONG, blocks)
    if sum(sizes) == LONG:
        return f"{line}; {LONG} steps are {plural(len(sizes), 'call')} of it, and nothing more is compiled"
    return f"{line}; to keep {LONG} steps, about {rounded_up(most * min(LONG, 64))} of compiling"
