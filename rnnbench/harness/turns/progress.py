"""How far a run is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a run is, for a display."""

    replicate: int  # counted from 1; 0 while cases are checked and observed, before anything is timed
    visits_done: int  # groups visited in this replicate, or cases observed
    visits: int  # total for `visits_done`
    seconds_left: float | None  # None before there is an estimate
    is_counting: bool = False  # instructions, case by case
    stage: str = ""  # what happens now, if it is something else than the rest of a run
