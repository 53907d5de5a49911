"""Instructions of a call on base and head: whether it takes more of them, and where.

What the C library's allocator takes depends on the state of the heap, so callgrind's counts leave it out: the number of
allocations is counted apart, and exact.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Literal, Self, get_args

CounterName = Literal["callgrind", "perf_event"]
Part = Literal["python", "dispatch", "kernels"]
PARTS: tuple[Part, ...] = get_args(Part)
MARGIN = 0.003  # of the base's instructions: a smaller change is not reported
MAX_SPREAD_SHARE = 0.5  # the largest spread, as a share of the change, with which the change is reported

PYTHON = re.compile(r"(lib)?python\d.*|.*\.cpython-.*")  # the interpreter, and extension modules
C_LIBRARY = re.compile(r"libc[.-].*")
# Machine code that is made while a program runs, as oneDNN's is, belongs to no file.
KERNEL_FILES = re.compile(r"\?\?\?|libmkl.*|libdnnl.*|libm[.-].*|libopenblas.*|libarm_compute.*")
KERNELS = re.compile(
    r"mkl_|MKL|dnnl|Sleef|[Vv]ectorized|_kernel|kernel_|gemm|gemv|cblas|cpublas|at::vec|fbgemm|xnn_|"
    r"at::native::.*(loop|Loop|reduce|softmax)|^_{0,2}mem(cpy|move|set)"
)


def part_of(file: str, function: str) -> Part | None:
    """Return the part of a call that a function of a file of machine code belongs to; None for the allocator."""
    if PYTHON.fullmatch(file):
        return "python"
    if KERNEL_FILES.fullmatch(file) or KERNELS.search(function):
        return "kernels"
    return None if C_LIBRARY.fullmatch(file) else "dispatch"


@dataclass(frozen=True)
class InstructionCounts:
    """Instructions of one call, counted in several rounds, and the parts of the one with the fewest, if known."""

    counter: CounterName
    rounds: tuple[int, ...]
    parts: Mapping[Part, int] = field(default_factory=dict)
    operators: Mapping[str, int] = field(default_factory=dict)  # calls of each torch operator, also by others
    between: int = 0  # how much the fewest instructions of several processes differ

    @property
    def total(self) -> int:
        """Instructions of the round with the fewest: chance only adds some, by collisions in a cache for example."""
        return min(self.rounds)

    @property
    def spread(self) -> int:
        """Instructions that the median round has more than the round with the fewest, or that processes differ by."""
        return max(round(median(self.rounds) - self.total), self.between)

    def pooled(self, again: Self) -> Self:
        """Return these counts with those of another process of the same code, whose difference is owed to chance."""
        fewest = min(self, again, key=lambda each: each.total)
        between = max(self.between, abs(self.total - again.total))
        return replace(fewest, rounds=(*self.rounds, *again.rounds), between=between)


@dataclass(frozen=True)
class InstructionChange:
    """The counts of one case on both sides."""

    base: InstructionCounts
    head: InstructionCounts

    @property
    def ratio(self) -> float:
        """Instructions of the head over those of the base."""
        return self.head.total / self.base.total

    @property
    def spread(self) -> float:
        """The larger spread of the two sides, as a share of the base's instructions."""
        return max(self.base.spread, self.head.spread) / self.base.total

    @property
    def is_beyond(self) -> bool:
        """Whether the change is larger than the margin and than twice the spread."""
        size = abs(self.ratio - 1)
        return size > MARGIN and MAX_SPREAD_SHARE * size > self.spread

    @property
    def is_more(self) -> bool:
        """Whether the head takes more instructions, beyond the margin."""
        return self.is_beyond and self.ratio > 1

    def parts(self) -> dict[Part, float]:
        """Return the change of each part, as a share of the base's instructions; empty if only totals are known."""
        base, head = self.base.parts, self.head.parts
        return {part: (head.get(part, 0) - base.get(part, 0)) / self.base.total for part in PARTS if base and head}

    def operators(self) -> list[tuple[str, int, int]]:
        """Return the torch operators whose calls differ, with those of base and head, the largest change first."""
        base, head = self.base.operators, self.head.operators
        both = ((name, base.get(name, 0), head.get(name, 0)) for name in {**head, **base})
        return sorted((each for each in both if each[1] != each[2]), key=lambda each: -abs(each[2] - each[1]))
