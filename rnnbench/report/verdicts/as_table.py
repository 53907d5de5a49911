"""The verdicts of a stored check as a table of a page."""

import pandas as pd

from rnnbench.analysis.estimate import ENDS
from rnnbench.report.tables.table import Column, Of, Table, of, table
from rnnbench.report.words.changes import GLYPHS, change_cell, interval_cell
from rnnbench.report.words.units import round_percent

NOTE = (
    "Change: head over base for the typical call, or in the mean of the calls where that decides. Replicates: pairs "
    "of fresh processes, one of each side."
)


def render(findings: pd.DataFrame) -> Table:
    """One row for each case, in the order of the check: the worst first. `findings`: those of a `StoredCheck`."""
    has_margins = findings.loc[findings["verdict"].notna(), "margin"].nunique() > 1
    columns = [
        Column("case", of("name")),
        Column(
            "verdict", of("verdict", lambda verdict: f"{GLYPHS[verdict]}\N{NO-BREAK SPACE}{verdict or 'not compared'}")
        ),
        Column("change", of("described", change_cell), numeric=True),
        Column("95% interval", Of(("described_low", "described_high"), interval_cell), numeric=True),
        Column("mean", of("mean_ratio", change_cell), numeric=True),
        *([Column("margin", of("margin", round_percent), numeric=True)] if has_margins else []),
        Column("replicates", of("replicates"), numeric=True),
        Column("why", of("why")),
    ]
    frame = findings.assign(verdict=findings["verdict"].astype(object).where(findings["verdict"].notna(), None))
    for end in ENDS:
        by_mean = frame["described_by"] == "mean_ratio"
        frame[f"described{end}"] = frame[f"mean_ratio{end}"].where(by_mean, frame[f"ratio{end}"])
    breaks = [int(row) for row in range(1, len(frame)) if frame["verdict"].iloc[row] != frame["verdict"].iloc[row - 1]]
    shown = frame.drop(columns="case")  # rows are not about cases of a run, by which a page could filter
    return table("verdicts", "The verdict on each case", NOTE, columns, shown, machine=findings, breaks=breaks)
