"""How much more time would have been enough, where the budget was too small."""

from collections.abc import Sequence
from dataclasses import dataclass

from rnnbench.text import rounded_up


@dataclass(frozen=True)
class TimeNeeded:
    """Seconds, judged by what a run has seen."""

    seconds: float
    is_least: bool  # something that takes time has not been seen yet: it takes at least this long

    def more(self, purpose: str = "") -> str:
        """`about 4 min more would be enough for these`, or `at least 4 min more is needed for these`."""
        if self.is_least:
            return f"at least {rounded_up(self.seconds)} more is needed {purpose}".rstrip()
        return f"about {rounded_up(self.seconds)} more would be enough {purpose}".rstrip()


def longest(needed: Sequence[TimeNeeded]) -> TimeNeeded | None:
    """The time for several things that are done side by side; None if there are none."""
    if not needed:
        return None
    return TimeNeeded(max(each.seconds for each in needed), any(each.is_least for each in needed))
