"""What was counted of one call: its instructions, function by function and part by part."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Literal, Self, get_args

CounterName = Literal["callgrind", "perf_event"]
Part = Literal["python", "dispatch", "kernels", "allocator"]
PARTS: tuple[Part, ...] = get_args(Part)

PYTHON = re.compile(r"(lib)?python\d.*|.*\.cpython-.*")  # the interpreter, and extension modules
C_LIBRARY = re.compile(r"libc[.-].*")
# Machine code that is made while a program runs, as oneDNN's is, belongs to no file.
KERNEL_FILES = re.compile(r"\?\?\?|libmkl.*|libdnnl.*|libm[.-].*|libopenblas.*|libarm_compute.*")
KERNELS = re.compile(
    r"mkl_|MKL|dnnl|Sleef|[Vv]ectorized|_kernel|kernel_|gemm|gemv|cblas|cpublas|at::vec|fbgemm|xnn_|"
    r"at::native::.*(loop|Loop|reduce|softmax)|^_{0,2}mem(cpy|move|set)"
)


@dataclass(frozen=True)
class FunctionName:
    """A function and the file of machine code that it is in; both may be unknown (`???`)."""

    object: str  # the file's name without its folder: libtorch_cpu.so
    function: str

    @property
    def part(self) -> Part:
        """The part of a call that it belongs to, by the names; what is nothing else is dispatch."""
        if PYTHON.fullmatch(self.object):
            return "python"
        if KERNEL_FILES.fullmatch(self.object) or KERNELS.search(self.function):
            return "kernels"
        return "allocator" if C_LIBRARY.fullmatch(self.object) else "dispatch"


@dataclass(frozen=True)
class InstructionCounts:
    """Instructions of one call, counted in several rounds.

    What the C library's allocator takes depends on the state of the heap: it is not part of `rounds`, since its number
    of calls is exact and says more.
    """

    counter: CounterName
    rounds: tuple[int, ...]  # without the allocator's; `perf_event` can't tell them apart
    functions: Mapping[FunctionName, int] = field(default_factory=dict)  # of the round with the fewest
    operators: Mapping[str, int] = field(default_factory=dict)  # calls of each torch operator, also by others
    allocator_calls: int = 0
    between: int = 0  # how much the fewest instructions of several processes differ

    @property
    def outside(self) -> int:
        """Instructions outside of the allocator, in the round with the fewest.

        Chance only adds instructions: a collision in a cache of the interpreter, for example.
        """
        return min(self.rounds)

    @property
    def allocator(self) -> int:
        """Instructions of the allocator, in the same round."""
        return self.parts["allocator"]

    @property
    def total(self) -> int:
        """All instructions of the call."""
        return self.outside + self.allocator

    @property
    def spread(self) -> int:
        """Instructions that the median round has more than the round with the fewest, or that processes differ by."""
        return max(round(median(self.rounds) - self.outside), self.between)

    def pooled(self, again: Self) -> Self:
        """Return these counts with those of another process of the same code, whose difference is owed to chance."""
        fewest = min(self, again, key=lambda each: each.outside)
        between = max(self.between, abs(self.outside - again.outside))
        return replace(fewest, rounds=(*self.rounds, *again.rounds), between=between)

    @property
    def parts(self) -> dict[Part, int]:
        """Instructions by part; all 0 if only their number was counted."""
        counts: Counter[Part] = Counter()
        for name, count in self.functions.items():
            counts[name.part] += count
        return {part: counts[part] for part in PARTS}
