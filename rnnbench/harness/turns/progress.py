"""How far a run is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a run is, for whoever shows it."""

    replicate: int  # counted from 1; 0: cases are checked and observed, and nothing is timed
    visits_done: int  # groups visited in this replicate, or cases observed
    visits: int  # of how many
    seconds_left: float | None  # None before anything is known
