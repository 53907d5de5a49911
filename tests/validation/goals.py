"""The goals of simulated tables, and a test of each row against them: is it worse than chance explains?

A row misses its goal if so bad a share, or a worse one, comes about by chance with a probability below `CHANCE`,
divided by the number of shares that are tested, where the true share is the goal itself (binomial). Shares of the cases
of many suites are tested as if each suite were one trial, since its cases depend on each other.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd
from scipy import stats

CHANCE = 0.01  # that any goal is called missed where all shares are at their goals
HARD_ROUNDS = "`correlation of rounds` in ['0.8', '0.8, and noise of its own', 'two modes that last four rounds']"
ALWAYS_SHARED = "`the core is` == 'always shared'"


@dataclass(frozen=True)
class Goal:
    """What the shares in a column of a table should be."""

    table: str
    column: str
    side: Literal["at least", "at most"]
    share: float
    trials: str  # the column with their number
    rows: str = ""  # the rows with this goal, as an expression of `DataFrame.query`; all otherwise
    but: str = ""  # of these, the rows that are known to miss it, which docs/validation.md tells

    def chosen(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of the table that should be so, without those that have no share."""
        rows = table.query(self.rows) if self.rows else table
        if self.but:
            rows = rows.drop(rows.query(self.but).index)
        return rows[rows[self.column].notna() & (rows[self.trials] > 0)]


GOALS = (
    Goal("shared-simulated", "covered", "at least", 0.93, "cases", "`the core is` != 'always shared'"),
    Goal("shared-simulated", "undisturbed", "at most", 0.0, "cases", "`the core is` == 'always shared'"),
    Goal("stopping-simulated", "covered", "at least", 0.93, "cases", but="noise == 'two modes'"),
    Goal("live-shared", "covered", "at least", 0.93, "cases", "`the core is` != 'always shared'"),
    Goal("live-shared", "undisturbed", "at most", 0.0, "cases", "`the core is` == 'always shared'"),
    Goal("rounds-simulated", "covered", "at least", 0.93, "series", but=HARD_ROUNDS),
    Goal("stored-simulated", "pairs with a false verdict", "at most", 0.01, "pairs of runs", but="unlikeness > 0.5"),
    Goal("verdicts-simulated", "unchanged: suites with a false alarm", "at most", 0.01, "suites"),
    Goal("verdicts-simulated", "slower: regressed", "at least", 0.95, "suites", "truth == 'half 10%'"),
    Goal(
        *("verdicts-simulated", "slower: unchanged", "at most", 0.005, "suites"),
        but="noise == 'half slower by 10% in 30% of the processes'",
    ),
    Goal(*("checks-simulated", "checks with a false alarm", "at most", 0.01, "checks"), but=ALWAYS_SHARED),
    Goal(
        *("checks-simulated", "decided", "at least", 10 / 12, "checks"),
        rows="truth == 'nothing slower' and `the core is` == 'quiet 20-50% of a visit'",
    ),
    Goal(
        *("checks-simulated", "slower: found", "at least", 0.95, "checks"),
        rows="truth == 'a definition 5% slower'",
        but=ALWAYS_SHARED,
    ),
    Goal(*("checks-simulated", "slower: unchanged", "at most", 0.005, "checks"), but=ALWAYS_SHARED),
)


def compared(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return a row for each share of these tables that has a goal, and whether it misses the goal.

    Raises ValueError if a goal of one of the tables is for none of its rows.
    """
    rows = [row for goal in GOALS if goal.table in tables for row in _compared(goal, tables[goal.table])]
    table = pd.DataFrame(rows)
    return table.assign(missed=table["p-value"] < CHANCE / max(1, len(table))) if rows else table


def _compared(goal: Goal, table: pd.DataFrame) -> list[dict[str, object]]:
    as_kept = pd.read_csv(io.StringIO(table.to_csv(index=False)))  # the same types, whether it was made or read
    chosen = goal.chosen(as_kept)
    if chosen.empty:
        raise ValueError(f"{goal.table}: no row has a share in {goal.column!r} for the goal {goal.rows or 'of all'!r}")
    names = [column for column in as_kept.columns[: as_kept.columns.get_loc(goal.column)] if column != goal.trials]
    worse: Literal["less", "greater"] = "less" if goal.side == "at least" else "greater"
    rows: list[dict[str, object]] = []
    for _, row in chosen.iterrows():
        trials = int(row[goal.trials])
        hits = round(row[goal.column] * trials)
        rows.append(
            {
                "table": goal.table,
                "row": ", ".join(str(row[name]) for name in names[:4]),
                "share": goal.column,
                "is": float(row[goal.column]),
                "goal": f"{goal.side} {goal.share:.4g}",
                "trials": trials,
                "p-value": float(stats.binomtest(hits, trials, goal.share, alternative=worse).pvalue),
            }
        )
    return rows
