"""How far a run is, and how much more time would have been enough."""

from dataclasses import dataclass

from rnnbench.text import rounded_up


@dataclass(frozen=True)
class Progress:
    """How far a run is, for a display."""

    replicate: int  # counted from 1; 0 while cases are checked and observed, before anything is timed
    visits_done: int  # groups visited in this replicate, or cases observed
    visits: int  # total for `visits_done`
    seconds_left: float | None  # None before there is an estimate
    is_counting: bool = False  # instructions, case by case
    notice: str = ""  # a line for the user, which stays on the screen
    stage: str = ""  # what happens now, if it is something else than the rest of a run


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
