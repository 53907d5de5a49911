"""What `rnnbench.compare(...)` returns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from rnnbench.analysis.comparison import Comparison
from rnnbench.report.figures import figure_changes
from rnnbench.report.figures.drawing.sheet import returned
from rnnbench.report.notebook.frame_result import FrameResult, folded, paragraphs
from rnnbench.report.notebook.measured import written
from rnnbench.report.verdicts import verdicts

OF_LIVE = (
    "Each ratio is that of two ratios to the reference, measured apart: what differs from session to session, such "
    "as the layout of memory, is not in the intervals. rnnbench check compares in turns."
)


@dataclass(frozen=True, repr=False, eq=False)
class Compared(FrameResult):
    """Two results against each other: what `rnnbench.compare` returns.

    `frame` has a row for each case of stored runs, the worst first: `case` and its short `name`; `verdict` (missing if
    it was not compared) and `margin`; `ratio` of the head's time to the base's with its 95% interval (`_low`, `_high`),
    and `mean_ratio` for the mean of the calls; `decided_by`, what gave the verdict, and `described_by`, which of the
    two ratios says how much; `replicates` and `why`. For live results it has a row for each module (and combination of
    sizes) that both have: `ratio` is the head's ratio to its reference over the base's.
    """

    frame: pd.DataFrame
    note: str  # the answer in words

    def plot(self, ax: Axes | None = None) -> Any:
        """The change of every case of two stored runs with its interval, margin and verdict.

        Draws on `ax`, if given, in the style in force, and returns it. Raises ValueError if no time was compared, or
        for live results, which have no verdicts.
        """
        figure = figure_changes.render(self.frame, ax=ax) if "verdict" in self.frame else None
        if figure is None:
            raise ValueError("nothing to show: no time of two stored runs was compared")
        return returned(figure, ax)

    def __repr__(self) -> str:
        return f"{written(self.frame).to_string(index=False)}\n\n{folded(self.note)}"

    def _repr_html_(self) -> str:
        return f"{paragraphs(self.note)}\n{written(self.frame).to_html(index=False)}"


def of_runs(comparison: Comparison) -> Compared:
    """Two stored runs."""
    found = verdicts.of(comparison)
    return Compared(found.frame, " ".join(filter(None, [found.answer, found.details])))


def of_live(base: pd.DataFrame, head: pd.DataFrame, keys: Sequence[str]) -> Compared:
    """Two live results; `keys` name a row: `module`, and the sizes of a sweep. Raises ValueError if none is common."""
    both = base.merge(head, on=list(keys), suffixes=("_base", "_head"))
    both = both.loc[[not str(parity).startswith("is the reference") for parity in both["parity_base"]]]
    if both.empty:
        raise ValueError("the two results have no module in common, beside references")
    value, error = _log_ratio(both)
    frame = both[list(keys)].copy()
    frame["ratio"], frame["ratio_low"], frame["ratio_high"] = (
        (value + end * error).map(math.exp) for end in (0.0, -1.0, 1.0)
    )
    frame["base_ratio"], frame["head_ratio"] = both["ratio_base"], both["ratio_head"]
    return Compared(frame.reset_index(drop=True), OF_LIVE)


def _log_ratio(both: pd.DataFrame) -> "tuple[pd.Series[float], pd.Series[float]]":
    """The logarithm of head over base, and half the width of its 95% interval, for errors that are independent."""
    halves = [(both[f"ratio_high_{side}"] / both[f"ratio_low_{side}"]).map(math.log) / 2 for side in ("base", "head")]
    value = (both["ratio_head"] / both["ratio_base"]).map(math.log)
    return value, (halves[0] ** 2 + halves[1] ** 2) ** 0.5
