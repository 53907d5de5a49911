"""A change of instructions in words."""

import re

from rnnbench.analysis.instructions import CountDifference, InstructionChange
from rnnbench.report.words.units import count, percent
from rnnbench.store.instructions import Part
from rnnbench.text import plural

NAMED = 2  # operators or functions in one sentence
MIN_SHARE = 0.1  # of the change, for a function to be named
FUNCTIONS_TOLD: tuple[Part, ...] = ("dispatch", "kernels")  # the interpreter's say nothing about a Python program
MAX_NAME_LENGTH = 60
PARTS: dict[Part, str] = {
    "python": "Python",
    "dispatch": "torch's dispatch",
    "kernels": "kernels",
    "allocator": "the allocator",
}


def instruction_change(change: InstructionChange) -> str:
    """`0.7% more instructions, in aten::add (16 calls instead of 15)`."""
    size = abs(change.ratio - 1)
    comparative = "more" if change.ratio > 1 else "fewer"
    where = _operators(change) or _functions(change)
    spread = f" (spread {percent(change.spread)})" if change.spread else ""
    return f"{percent(size)} {comparative} instructions{spread}{f', {where}' if where else ''}"


def instruction_counts(change: InstructionChange) -> str:
    """`instructions: 24.1 M -> 24.3 M (+0.7%), of which Python +0.1%, ...`, for a place where all is listed."""
    sign = "+" if change.ratio >= 1 else "-"
    parts = [
        f"{PARTS[part]} {'+' if share > 0 else '-'}{percent(abs(share))}"
        for part, share in change.parts().items()
        if abs(share) >= 0.0005
    ]
    of_which = f", of which {', '.join(parts)}" if parts else ""
    base, head = count(change.base.total), count(change.head.total)
    return f"instructions: {base} -> {head} ({sign}{percent(abs(change.ratio - 1))}){of_which}"


def _operators(change: InstructionChange) -> str:
    """The operators that are called more often, if the instructions grew, or less often if they did not."""
    sign = 1 if change.ratio > 1 else -1
    along = [changed for changed in change.operators() if changed.difference * sign > 0]
    texts = [
        f"{changed.name} ({plural(changed.head, 'call')} instead of {changed.base:,})" for changed in along[:NAMED]
    ]
    return f"in {' and '.join(texts)}" if texts else ""


def _functions(change: InstructionChange) -> str:
    """The part that grew most, and in torch's own code the functions, where no operator is called more often."""
    sign = 1 if change.ratio > 1 else -1
    parts = {part: share for part, share in change.parts().items() if share * sign > 0}
    if not parts:
        return ""
    most = max(parts, key=lambda part: abs(parts[part]))
    size = abs(parts[most]) * change.base.total
    along = [changed for changed in change.functions(most) if changed.difference * sign > MIN_SHARE * size]
    names = [f"`{short(changed)}`" for changed in along[:NAMED]] if most in FUNCTIONS_TOLD else []
    return f"most in {PARTS[most]}" + (f" ({', '.join(names)})" if names else "")


def short(changed: CountDifference) -> str:
    """A function's name without its arguments and the arguments of its templates."""
    name = re.sub(r"\[clone [^\]]*\]", "", changed.name).replace("(anonymous namespace)::", "")
    while (shorter := re.sub(r"<[^<>]*>", "", name)) != name:
        name = shorter
    name = name.partition("(")[0].strip()
    name = name.rsplit(" ", 1)[-1] or changed.name
    return name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 1]}…"
