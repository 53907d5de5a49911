"""Instructions of base and head: whether a call takes more of them, and where."""

from collections.abc import Mapping
from dataclasses import dataclass

from rnnbench.store.instructions import PARTS, FunctionName, InstructionCounts, Part

MARGIN = 0.003  # of the base's instructions: a smaller change is not reported
MAX_SPREAD_SHARE = 0.5  # the largest spread, as a share of the change, with which the change is reported


@dataclass(frozen=True)
class CountDifference:
    """A function whose instructions, or an operator whose calls, differ between base and head."""

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
        """Instructions of the head over those of the base.

        Each call of the allocator counts with the average of its calls on both sides.
        """
        each = self._each_allocation
        base, head = (counts.outside + each * counts.allocator_calls for counts in (self.base, self.head))
        return head / base

    @property
    def spread(self) -> float:
        """The larger spread of the two sides, as a share of the base's instructions."""
        return max(self.base.spread, self.head.spread) / self.base.total

    @property
    def is_beyond(self) -> bool:
        """Whether the change is larger than the margin and than twice the spread."""
        size = abs(self.ratio - 1)
        return size > self.margin and MAX_SPREAD_SHARE * size > self.spread

    @property
    def is_more(self) -> bool:
        """Whether the head takes more instructions, beyond the margin."""
        return self.is_beyond and self.ratio > 1

    def parts(self) -> dict[Part, float]:
        """The change of each part, as a share of the base's instructions; empty if only the total was counted."""
        if not (self.base.functions and self.head.functions):
            return {}
        base, head = self.base.parts, self.head.parts
        changes = {part: (head[part] - base[part]) / self.base.total for part in PARTS}
        allocations = self.head.allocator_calls - self.base.allocator_calls
        return changes | {"allocator": self._each_allocation * allocations / self.base.total}

    def operators(self) -> list[CountDifference]:
        """The torch operators whose number of calls changed, the largest change first."""
        return _differences(self.base.operators, self.head.operators)

    def functions(self, part: Part | None = None) -> list[CountDifference]:
        """The functions of a part, or of all but the allocator, whose instructions changed, the largest change first.

        Of functions with equal names in several files, all instructions are added.
        """
        return _differences(_by_function(self.base.functions, part), _by_function(self.head.functions, part))

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


def _differences(base: Mapping[str, int], head: Mapping[str, int]) -> list[CountDifference]:
    names = dict.fromkeys([*head, *base])
    both = (CountDifference(name, base.get(name, 0), head.get(name, 0)) for name in names)
    changed = [each for each in both if each.difference]
    return sorted(changed, key=lambda each: -abs(each.difference))
