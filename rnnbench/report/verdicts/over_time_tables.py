"""Tables: what checks over time decided, and a line for each check."""

import math
from collections.abc import Sequence

import pandas as pd

from rnnbench.analysis.comparison import RANKS
from rnnbench.analysis.verdict import CHANGED
from rnnbench.report.tables.table import Column, Table, of, table
from rnnbench.report.verdicts.over_time import DatedCheck
from rnnbench.report.words.axes import one_line
from rnnbench.report.words.changes import GLYPHS, change_cell, interval_cell
from rnnbench.report.words.run_names import commit, when


def changes(frame: pd.DataFrame, checks: Sequence[DatedCheck]) -> Table:
    """One row for each verdict that something changed, the largest change first."""
    found = frame[frame["verdict"].isin(CHANGED)]
    found = found.iloc[found["change"].map(math.log, na_action="ignore").abs().argsort()[::-1]]
    numbers = [int(number) for number in found["check"]]
    shown = pd.DataFrame(
        {
            "name": found["name"].tolist(),
            "verdict": [f"{GLYPHS[verdict]}\N{NO-BREAK SPACE}{verdict}" for verdict in found["verdict"]],
            "change": list(map(change_cell, found["change"])),
            "interval": list(map(interval_cell, found["change_low"], found["change_high"])),
            "commits": [commits(checks[number]) for number in numbers],
            "when": [when(checks[number].head) for number in numbers],
            "why": found["why"].tolist(),
        }
    )
    columns = [
        Column("case", of("name")),
        Column("verdict", of("verdict")),
        Column("change", of("change"), numeric=True),
        Column("95% interval", of("interval"), numeric=True),
        Column("commits", of("commits")),
        Column("checked", of("when")),
        Column("why", of("why")),
    ]
    machine = found.assign(check=[checks[number].name for number in numbers])
    return table("checks_changes", "What regressed or improved", "", columns, shown, machine=machine)


def every(frame: pd.DataFrame, checks: Sequence[DatedCheck]) -> Table:
    """One row for each check, the newest first."""
    counts = frame.groupby(["check", "verdict"], observed=True).size().unstack(fill_value=0)
    verdicts = [verdict for verdict in RANKS if verdict in counts.columns]
    rows = [
        {
            "check": check.name,
            "started": check.head.started,
            "when": when(check.head),
            "commits": commits(check),
            **{verdict: int(counts[verdict].get(index, 0)) for verdict in verdicts},
            "answer": check.verdicts.answer,
        }
        for index, check in reversed([*enumerate(checks)])
    ]
    columns = [
        Column("checked", of("when")),
        Column("commits", of("commits")),
        *(Column(str(verdict), of(str(verdict), str), numeric=True) for verdict in verdicts),
        Column("answer", of("answer", one_line)),
        Column("check", of("check", one_line)),
    ]
    shown = pd.DataFrame(rows, columns=["check", "started", "when", "commits", *verdicts, "answer"])
    return table("checks", "The checks, the newest first", "", columns, shown, machine=shown.drop(columns="when"))


def commits(check: DatedCheck) -> str:
    """`1a2b3c4 → 5e6f7a8`: the commits that were compared, or what they were called."""
    sides = ((check.base, check.verdicts.base), (check.head, check.verdicts.head))
    return " → ".join(commit(info) or called for info, called in sides)
