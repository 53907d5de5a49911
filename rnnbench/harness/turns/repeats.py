"""Replicates repeated because the device was throttled: how many are allowed, and notes about them."""

from collections import Counter

MAX_REPEATS = 3  # in a run: a card that is always hot is measured anyway, and a note says so


class Repeats:
    """The remaining number of repeats, and what happened to every spoilt replicate."""

    def __init__(self, made: int = 0) -> None:
        """`made`: repeats in an earlier part of the run."""
        self._left = MAX_REPEATS - made
        self._repeated: Counter[str] = Counter()  # reason -> count
        self._kept: Counter[str] = Counter()

    def grant(self, why: str, *, in_time: bool) -> bool:
        """Whether to repeat a spoilt replicate; `in_time`: whether there is time for it."""
        granted = in_time and self._left > 0
        self._left -= granted
        (self._repeated if granted else self._kept)[why] += 1
        return granted

    def notes(self) -> list[str]:
        """Notes for the reader of the run."""
        repeated = (f"{count} repeated, since clocks were held back ({why})" for why, count in self._repeated.items())
        limits = f"at most {MAX_REPEATS} are, and while there is time"
        kept = (f"{count} not repeated, though held back ({why}): {limits}" for why, count in self._kept.items())
        return [f"replicates: {note}" for note in (*repeated, *kept)]
