"""What `rnnbench.compare(...)` returns."""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import pandas as pd

from rnnbench.analysis.comparison import Comparison
from rnnbench.analysis.estimate import UNKNOWN
from rnnbench.report.notebook.frame_result import FrameResult, folded, paragraphs
from rnnbench.report.notebook.measured import written
from rnnbench.report.verdicts.answer import answer
from rnnbench.report.verdicts.rows import all_rows
from rnnbench.report.words.case_names import names

ENDS = ("", "_low", "_high")
OF_LIVE = (
    "Each ratio is that of two ratios to the reference, measured apart: what differs from session to session, such "
    "as the layout of memory, is not in the intervals. rnnbench check compares in turns."
)


@dataclass(frozen=True, repr=False, eq=False)
class Compared(FrameResult):
    """Two results against each other: what `rnnbench.compare` returns.

    `frame` has a row for each case of stored runs, the worst first: `case`, `verdict` (missing if it was not compared),
    `ratio` of the head's time to the base's with its 95% interval (`_low`, `_high`), `mean_ratio` for the mean of the
    calls, `margin`, `replicates` and `why`. For live results it has a row for each module (and combination of sizes)
    that both have: `ratio` is the head's ratio to its reference over the base's.
    """

    frame: pd.DataFrame
    note: str  # the answer in words

    def __repr__(self) -> str:
        return f"{written(self.frame).to_string(index=False)}\n\n{folded(self.note)}"

    def _repr_html_(self) -> str:
        return f"{paragraphs(self.note)}\n{written(self.frame).to_html(index=False)}"


def of_runs(comparison: Comparison) -> Compared:
    """Two stored runs."""
    rows = [
        {
            "case": row.finding.case.key,
            "verdict": row.finding.verdict,
            **_ends("ratio", row.finding.low),
            **_ends("mean_ratio", row.finding.mean),
            "margin": row.finding.margin,
            "replicates": row.finding.replicates,
            "why": row.why,
        }
        for row in all_rows(comparison)
    ]
    called = names(finding.case for finding in comparison.findings)
    return Compared(pd.DataFrame(rows), answer(comparison, called))


def of_live(base: pd.DataFrame, head: pd.DataFrame, keys: Sequence[str]) -> Compared:
    """Two live results; `keys` name a row: `module`, and the sizes of a sweep. Raises ValueError if none is common."""
    both = base.merge(head, on=list(keys), suffixes=("_base", "_head"))
    both = both[both["parity_base"].ne("is the reference")]
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


def _ends(name: str, estimate: object) -> dict[str, float]:
    values = astuple(UNKNOWN if estimate is None else estimate)  # type: ignore[call-overload]
    return {f"{name}{end}": value for end, value in zip(ENDS, values, strict=True)}
