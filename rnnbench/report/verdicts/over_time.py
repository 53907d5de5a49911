"""The checks of a suite over time: what each of them said about each case, in words and tables."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from rnnbench.analysis.comparison import RANKS
from rnnbench.analysis.verdict import CHANGED
from rnnbench.report.changes import described
from rnnbench.report.page.section import LEFT_OUT, Section, of_runs
from rnnbench.report.table import Column, Table, of, table
from rnnbench.report.verdicts.verdicts import COLUMNS, Verdicts, read
from rnnbench.report.words.names import commit, names, one_line, when
from rnnbench.report.words.units import change_cell, interval_cell, slower, span, verdict_cell
from rnnbench.store.folder import read_info
from rnnbench.store.run_info import RunInfo
from rnnbench.text import plural


@dataclass(frozen=True)
class DatedCheck:
    """A check, and the runs of its two sides."""

    name: str  # of its folder
    base: RunInfo
    head: RunInfo
    verdicts: Verdicts

    @property
    def commits(self) -> str:
        """`1a2b3c4 → 5e6f7a8`: the commits that were compared, or what they were called."""
        sides = ((self.base, self.verdicts.base), (self.head, self.verdicts.head))
        return " → ".join(commit(info) or called for info, called in sides)


def read_check(folder: Path) -> DatedCheck | None:
    """Read a check; None if it ended without verdicts. Raises UserError if it can't be read."""
    if (verdicts := read(folder)) is None:
        return None
    base, head = (read_info(folder / side) for side in ("base", "head"))
    return DatedCheck(folder.resolve().name, base, head, verdicts)


def in_order(checks: Iterable[DatedCheck]) -> list[DatedCheck]:
    """Return checks in the order in which they began."""
    return sorted(checks, key=lambda check: (check.head.started, check.name))


def frame(checks: Sequence[DatedCheck]) -> pd.DataFrame:
    """Return a row for each case of each check: that of `Verdicts.frame`, and `check`, its place in the sequence.

    A `name` tells its case apart from those of all checks. `change`, `change_low` and `change_high` are those of the
    ratio that describes the time.
    """
    called = names(row.subject for check in checks for row in check.verdicts.rows)
    parts = [
        described(check.verdicts.frame).assign(
            check=index, name=[called.name(row.subject) for row in check.verdicts.rows]
        )
        for index, check in enumerate(checks)
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*COLUMNS, "check"])


def section(checks: Sequence[DatedCheck], left_out: Sequence[str] = ()) -> Section:
    """Return words and tables of checks, the oldest first; `left_out`: files of others that can't be read."""
    found = frame(checks)
    tables = (changes(found, checks), every(found, checks))
    words = tuple(_words(found, checks))
    return of_runs("checks", "What the checks found", words, {LEFT_OUT: left_out}, (), tables)


def _words(found: pd.DataFrame, checks: Sequence[DatedCheck]) -> Iterator[str]:
    days = span(when(checks[0].head)[:10], when(checks[-1].head)[:10])
    judged = found[found["verdict"].notna()]
    cases = plural(judged["case"].nunique(), "case")
    over = f"{cases} in {plural(len(checks), 'check')} {'from' if ' ' in days else 'on'} {days}"
    counts = {verdict: judged.loc[judged["verdict"] == verdict, "case"].nunique() for verdict in CHANGED}
    told = [f"{count:,} {verdict}" for verdict, count in counts.items() if count]
    yield f"Of {over}, {' and '.join(told) if told else 'none regressed and none improved'}."
    for verdict, word in zip(CHANGED, ("slowdown", "gain"), strict=True):
        rows = judged[(judged["verdict"] == verdict) & judged["change"].notna()]
        if len(rows):
            largest = rows.sort_values("change", ascending=verdict == "improved").iloc[0]
            check = checks[int(largest["check"])]
            where = " ".join(filter(None, [when(check.head), commit(check.head)]))
            yield f"The largest {word}: {largest['name']}, {slower(float(largest['change']))}, in the check of {where}."


def changes(found: pd.DataFrame, checks: Sequence[DatedCheck]) -> Table:
    """Return one row for each verdict that something changed, the largest change first."""
    changed = found[found["verdict"].isin(CHANGED)]
    changed = changed.iloc[changed["change"].map(math.log, na_action="ignore").abs().argsort()[::-1]]
    of_row = [checks[int(number)] for number in changed["check"]]
    shown = pd.DataFrame(
        {
            "case": changed["name"].tolist(),
            "verdict": list(map(verdict_cell, changed["verdict"])),
            "change": list(map(change_cell, changed["change"])),
            "95% interval": list(map(interval_cell, changed["change_low"], changed["change_high"])),
            "commits": [check.commits for check in of_row],
            "checked": [when(check.head) for check in of_row],
            "why": changed["why"].tolist(),
        }
    )
    columns = [Column(name, of(name), numeric=name in ("change", "95% interval")) for name in map(str, shown)]
    machine = changed.assign(check=[check.name for check in of_row])
    return table("checks_changes", "What regressed or improved", "", columns, shown, machine=machine)


def every(found: pd.DataFrame, checks: Sequence[DatedCheck]) -> Table:
    """Return one row for each check, the newest first."""
    counts = found.groupby(["check", "verdict"], observed=True).size().unstack(fill_value=0)
    verdicts = [verdict for verdict in RANKS if verdict in counts.columns]
    rows = [
        {
            "check": check.name,
            "started": check.head.started,
            "checked": when(check.head),
            "commits": check.commits,
            **{verdict: int(counts[verdict].get(index, 0)) for verdict in verdicts},
            "answer": check.verdicts.answer,
        }
        for index, check in reversed([*enumerate(checks)])
    ]
    shown = pd.DataFrame(rows, columns=["check", "started", "checked", "commits", *verdicts, "answer"])
    columns = [
        *(Column(name, of(name)) for name in ("checked", "commits")),
        *(Column(str(verdict), of(str(verdict), str), numeric=True) for verdict in verdicts),
        *(Column(name, of(name, one_line)) for name in ("answer", "check")),
    ]
    return table("checks", "The checks, the newest first", "", columns, shown, machine=shown.drop(columns="checked"))
