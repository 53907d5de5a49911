"""What changed for good over many runs of a suite."""

from rnnbench.analysis.history.lasting_changes import (
    MIN_CHANGE,
    CaseHistory,
    Era,
    History,
    LevelChange,
    Point,
    history,
)
from rnnbench.analysis.history.run_scatter import RunScatter

__all__ = ["MIN_CHANGE", "CaseHistory", "Era", "History", "LevelChange", "Point", "RunScatter", "history"]
