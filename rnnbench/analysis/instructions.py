"""Instructions of base and head: whether a call takes more of them, and where."""

from collections.abc import Mapping
from dataclasses import dataclass

from rnnbench.store.instructions import PARTS, FunctionName, InstructionCounts, Part

MARGIN = 0.003  # of the base's instructions: a smaller change is not told
COLLISION_SHARE = 0.5  # of the change that the spread may be; a change of less than twice the spread may be chance


@dataclass(frozen=True)
class Grown:
    """A function or an operator that takes more on one side: instructions, or calls."""

    name: str
    base: int
    head: int

    @property
    def difference(self) -> int:
        """How many more the head has; negative if fewer."""
        return self.head - self.base


@dataclass(frozen=True)
class InstructionChange:
    """The counts of one case on both sides."""

    base: InstructionCounts
    head: InstructionCounts
    margin: float = MARGIN

    @property
    def ratio(self) -> float:
        """Head over base. A call of the allocator counts alike on both sides: with the average of all its calls."""
        each = self._each_allocation
        base, head = (counts.outside + each * counts.allocator_calls for counts in (self.base, self.head))
        return head / base

    @property
    def spread(self) -> float:
        """The spread over the rounds of the side that has more of it, as a share of the base's instructions."""
        return max(self.base.spread, self.head.spread) / self.base.total

    @property
    def is_beyond(self) -> bool:
        """Whether the change goes beyond the margin, and beyond what chance does."""
        size = abs(self.ratio - 1)
        return size > self.margin and COLLISION_SHARE * size > self.spread

    @property
    def is_more(self) -> bool:
        """Whether the head takes more instructions, beyond the margin."""
        return self.is_beyond and self.ratio > 1

    def parts(self) -> dict[Part, float]:
        """By which share of all instructions each part changed; empty if only their number was counted."""
        if not (self.base.functions and self.head.functions):
            return {}
        base, head = self.base.parts, self.head.parts
        changes = {part: (head[part] - base[part]) / self.base.total for part in PARTS}
        allocations = self.head.allocator_calls - self.base.allocator_calls
        return changes | {"allocator": self._each_allocation * allocations / self.base.total}

    def operators(self) -> list[Grown]:
        """The torch operators that are called another number of times, those that changed most first."""
        return _grown(self.base.operators, self.head.operators)

    def functions(self, part: Part | None = None) -> list[Grown]:
        """The functions of a part, or of all but the allocator, that take another number, those that grew most first.

        Of functions with equal names in several files, all instructions are added.
        """
        return _grown(_by_function(self.base.functions, part), _by_function(self.head.functions, part))

    @property
    def _each_allocation(self) -> float:
        """Instructions of a call of the allocator, on average of both sides."""
        calls = self.base.allocator_calls + self.head.allocator_calls
        return (self.base.allocator + self.head.allocator) / calls if calls else 0.0


def _by_function(functions: Mapping[FunctionName, int], part: Part | None) -> dict[str, int]:
    totals: dict[str, int] = {}
    for name, count in functions.items():
        if name.part == part or (part is None and name.part != "allocator"):
            totals[name.function] = totals.get(name.function, 0) + count
    return totals


def _grown(base: Mapping[str, int], head: Mapping[str, int]) -> list[Grown]:
    names = dict.fromkeys([*head, *base])
    both = (Grown(name, base.get(name, 0), head.get(name, 0)) for name in names)
    changed = [each for each in both if each.difference]
    return sorted(changed, key=lambda each: -abs(each.difference))
