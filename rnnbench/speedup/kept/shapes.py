"""Which code of a folder runs a call: that of its shape, that for any batch size, or of other lengths in blocks."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from rnnbench.speedup.kept.code import EQUAL_LAYER, FUSED, LoadedShape
from rnnbench.speedup.kept.manifest import KeptShape, KeptWays
from rnnbench.speedup.one_form import SMALLEST_BATCH
from rnnbench.speedup.shapes import in_blocks
from rnnbench.text import listed, plural, printable, rounded_up

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
            or self._by_code(seq_len, batch_size)
            or self._without_code(seq_len, batch_size)
        )

    def _by_code(self, seq_len: int, batch_size: int) -> ByThreads:
        """Return how sizes that are not kept run by the code that runs this batch size; empty if it can't.

        Code of this length comes before that of others, and code for this batch size alone before code for any.
        """
        alike = [each for each in self.shapes if each.shape.runs_batch(batch_size)]
        of_length = [each for each in alike if each.shape.seq_len == seq_len]
        if of_length or self.manifest.kind == "sequence":
            alike = of_length
        alike.sort(key=lambda each: not each.shape.any_batch)
        by_threads: ByThreads = {}
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
                changes: dict[str, Any] = {"seq_len": seq_len, "batch_size": batch_size, "pieces": tuple(sizes)}
                shape = replace(first.shape, **changes, seconds=None, ratio=None)
                by_threads[threads] = LoadedShape(shape, units)
        return by_threads

    def _without_code(self, seq_len: int, batch_size: int) -> ByThreads:
        """Return how a cell whose class is not there runs as a layer of torch.nn, of any length and batch size."""
        if self.has_class or not self.manifest.equal_layer:
            return {}
        alike = [each for each in self.shapes if each.shape.way in (EQUAL_LAYER, FUSED) and not each.units]
        changes: dict[str, Any] = {"seq_len": seq_len, "batch_size": batch_size, "seconds": None, "ratio": None}
        return {each.shape.threads: LoadedShape(replace(each.shape, **changes), ()) for each in alike}


def other_sizes(manifest: KeptWays) -> list[str]:
    """Say how lengths and batch sizes that a folder does not keep run, and what it would cost to keep a long one."""
    shapes = [shape for shape in manifest.shapes if shape.units]
    return [_other_lengths(manifest, shapes), _other_batch_sizes(shapes)] if shapes else []


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


def _other_batch_sizes(shapes: Sequence[KeptShape]) -> str:
    if any(shape.any_batch for shape in shapes):
        return f"  other batch sizes: {SMALLEST_BATCH} and more, by the same code"
    sizes = listed([*dict.fromkeys(str(shape.batch_size) for shape in shapes)])
    remedy = f"rnnbench.fastest(..., any_batch=True) compiles code for every batch size of {SMALLEST_BATCH} and more"
    return f"  other batch sizes: not by this code, only batch {sizes}; {printable(_reason(shapes)) or remedy}"


def _reason(shapes: Sequence[KeptShape]) -> str:
    """Return why code that was wanted for any batch size is not; empty if none was wanted."""
    return next((shape.reason for shape in shapes if shape.reason), "")
