"""The record to beat: the smallest change that a check finds, its false alarms, and the seconds that it takes.

A check of cases of about a millisecond, half of which are slower by a known share and half as fast as before. Their
code differs in both, so all are timed: four cases, or two if each gets half a minute. Once alone, and once beside a
busy process of our own.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from tests.validation.noise import hogs
from tests.validation.real import ALONE, BESIDE
from tests.validation.verdicts import one_check

ONLY = "cell=planted.py:VanillaSame,planted.py:VanillaSlow phase=inference"
LONG = 20.0  # seconds for a case, from which on a check has two cases and not four
FOUND = 0.9  # of the slower cases, for a change that counts as found


@dataclass(frozen=True)
class Question:
    """What a check is asked: how much slower is too slow, in how many seconds, and how much slower it is."""

    margin: float
    seconds: float  # of a case
    change: float

    @property
    def cases(self) -> int:
        """The cases of a check."""
        return 2 if self.seconds > LONG else 4

    @property
    def only(self) -> list[str]:
        """The expressions that select the cases."""
        return [ONLY, "batch_size=1"] if self.cases == 2 else [ONLY]


QUESTIONS = (
    *(Question(0.025, 5.0, change) for change in (0.0, 0.03, 0.04, 0.05)),
    *(Question(0.005, 30.0, change) for change in (0.0, 0.01, 0.02)),
)
CHECKS = {0.025: 10, 0.005: 5}  # of each question with this margin


def tries(share: float = 1.0, questions: Sequence[Question] = QUESTIONS) -> pd.DataFrame:
    """A row for each case of each check, of a `share` of the full number of checks."""
    rows = []
    for beside in (ALONE, BESIDE):
        for question in questions:
            for number in range(max(1, round(share * CHECKS[question.margin]))):
                rows += _check(question, beside, number)
    return pd.DataFrame(rows)


def _check(question: Question, beside: str, number: int) -> list[dict[str, object]]:
    started = time.monotonic()
    plan = {"VanillaSlow": question.change, "VanillaSame": 0.0}
    with hogs(int(beside == BESIDE)):
        comparison = one_check(plan, question.seconds * question.cases, only=question.only, margin=question.margin)
    seconds = time.monotonic() - started
    timed = [finding for finding in comparison.findings if finding.rule != "same code"]
    rows: list[dict[str, object]] = []
    for finding in timed:
        cell = str(finding.case.axes()["cell"]).rpartition(":")[2]
        rows.append(
            {
                "beside": beside,
                "margin": question.margin,
                "seconds per case": question.seconds,
                "change": question.change,
                "check": number,
                "is slower": cell == "VanillaSlow" and question.change > 0,
                "case": f"{cell} batch {finding.case.workload.batch_size}",
                "verdict": finding.time_verdict,
                "state": finding.state or "quiet",
                "pairs": finding.replicates,
                "seconds": round(seconds / len(timed), 2),
            }
        )
    return rows


def record(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each margin, alone and beside a busy process: the smallest change found, false alarms, seconds."""
    table = []
    for (beside, margin, budget), part in rows.groupby(["beside", "margin", "seconds per case"], sort=False):
        slower, equal = part[part["is slower"]], part[~part["is slower"]]
        shares = slower["verdict"].eq("regressed").groupby(slower["change"]).mean()
        shares_by_change = dict(zip(shares.index.to_list(), shares.to_list(), strict=True))
        clear = [change for change, share in shares_by_change.items() if share >= FOUND]
        checks = part.groupby(["change", "check"])
        alarms = equal["verdict"].isin(["regressed", "improved"]).groupby([equal["change"], equal["check"]]).any()
        table.append(
            {
                "beside": beside,
                "margin": f"{margin:.1%}",
                "budget per case (s)": budget,
                "checks": checks.ngroups,
                "smallest change found in 90%": f"{min(clear):.0%}" if clear else "none",
                "found": ", ".join(f"{change:.0%}: {share:.0%}" for change, share in shares_by_change.items()),
                "equal: decided": float(equal["verdict"].ne("undecided").mean()),
                "checks with a false alarm": f"{int(alarms.sum())} of {checks.ngroups}",
                "undisturbed": float(part["state"].eq("undisturbed").mean()),
                "seconds per case": float(part["seconds"].median()),
            }
        )
    return pd.DataFrame(table)
