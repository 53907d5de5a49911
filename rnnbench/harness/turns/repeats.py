"""Replicates that are made again since a device was held back meanwhile: how many there may be, and what is told."""

from collections import Counter

MAX_REPEATS = 3  # in a run: a card that is always hot is measured as it is, and said to be


class Repeats:
    """What is left of `MAX_REPEATS`, and what became of every spoilt replicate."""

    def __init__(self, made: int = 0) -> None:
        """`made`: those of an earlier part of the run."""
        self._left = MAX_REPEATS - made
        self._repeated: Counter[str] = Counter()  # why -> how often
        self._kept: Counter[str] = Counter()

    def grant(self, why: str, *, in_time: bool) -> bool:
        """Whether a spoilt replicate is to be made again; `in_time`: whether there is time for it."""
        granted = in_time and self._left > 0
        self._left -= granted
        (self._repeated if granted else self._kept)[why] += 1
        return granted

    def notes(self) -> list[str]:
        """What a reader must know."""
        repeated = (f"{count} repeated, since clocks were held back ({why})" for why, count in self._repeated.items())
        limits = f"at most {MAX_REPEATS} are, and while there is time"
        kept = (f"{count} not repeated, though held back ({why}): {limits}" for why, count in self._kept.items())
        return [f"replicates: {note}" for note in (*repeated, *kept)]
