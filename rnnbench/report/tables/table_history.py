"""Tables: the lasting changes over many runs, and a line for every case."""

from typing import Any

import pandas as pd

from rnnbench.analysis.history import MIN_CHANGE, CaseHistory, History, LevelChange
from rnnbench.analysis.verdict import Q
from rnnbench.report.tables.table import Column, Table, of, table
from rnnbench.report.words.axes import one_line
from rnnbench.report.words.case_names import Names
from rnnbench.report.words.changes import change, change_interval, slower
from rnnbench.report.words.run_names import commit, when
from rnnbench.report.words.units import MISSING, count, digits, ratio, round_percent

NOTE = (
    "A change is significant where its p-value, times the places where it could have been found, passes Benjamini and "
    f"Hochberg's procedure over all cases at q = {round_percent(Q)}, and it is {round_percent(MIN_CHANGE)} or "
    "more. A change is gradual if a straight line over the runs fits at least as well as steps. That q is no bound on "
    "what is false: the same points choose the places and are tested. In simulations (histories of 100 cases, a tenth "
    "of them with one step of 3% to 10%) at most 0.6% of the unchanged cases had a change; of the changes called "
    "significant up to 2% were false at 10 runs, 2% to 6% at 40. In histories of one to three cases whose runs "
    "resemble the runs before them (a correlation of 0.8), up to 8% of the unchanged cases had a change. Each ratio is "
    "to the reference of the same run."
)


def changes(history: History, names: Names) -> Table:
    """One row for each change: the significant ones before the others, larger ones before smaller ones."""
    rows = [(line, level_change) for line in history.lines for level_change in line.changes]
    rows.sort(key=lambda pair: (not pair[1].is_significant, -abs(pair[1].ratio.value - 1)))
    columns = ["case", "key", "from_run", "to_run", "between", "ratio", "low", "high", "p"]
    columns += ["is_significant", "is_gradual", "change"]
    frame = pd.DataFrame([_change(history, names, line, level_change) for line, level_change in rows], columns=columns)
    shown = [
        Column("case", of("case")),
        Column("change", lambda row: f"{change(row['ratio'])} {row['change']}".strip(), numeric=True),
        Column("95% interval", of("change_interval"), numeric=True),
        Column("between", of("between")),
        Column("significant", lambda row: "yes" if row["is_significant"] else "no"),
        Column("p", of("p", digits), numeric=True),
    ]
    text = frame.assign(change="", change_interval=[change_interval(level_change.ratio) for _, level_change in rows])
    machine = frame.drop(columns=["case", "change"]).rename(columns={"key": "case", "p": "p_value"})
    return table("history_changes", "Lasting changes over the runs", NOTE, shown, text, machine=machine)


def _change(history: History, names: Names, line: CaseHistory, level_change: LevelChange) -> dict[str, Any]:
    places = 0 if level_change.is_gradual else level_change.after - 1, level_change.after
    before, after = (history.runs[line.points[index].run] for index in places)
    between = " → ".join(" ".join(filter(None, [when(info), commit(info)])) for _, info in (before, after))
    return {
        "case": names.name(line.case),
        "key": line.case.key,
        "from_run": before[0],
        "to_run": after[0],
        "between": f"{between}, gradually" if level_change.is_gradual else between,
        "ratio": level_change.ratio.value,
        "low": level_change.ratio.lower,
        "high": level_change.ratio.upper,
        "p": level_change.p_value,
        "is_significant": level_change.is_significant,
        "is_gradual": level_change.is_gradual,
        "change": "",
    }


def lines(history: History, names: Names) -> Table:
    """One row for each case and environment; the CSV has a row for each of its runs."""
    rows = [
        {
            "case": names.name(line.case),
            "era": line.era,
            "runs": len(line.points),
            "first": line.points[0].ratio.value,
            "last": line.points[-1].ratio.value,
            "level": line.levels[-1].value,
            "changes": "; ".join(_size(level_change) for level_change in line.significant),
        }
        for line in history.lines
    ]
    columns = ["case", "era", "runs", "first", "last", "level", "changes"]
    shown = [
        Column("case", of("case")),
        *([Column("environment", lambda row: str(row["era"] + 1), numeric=True)] if len(history.eras) > 1 else []),
        Column("runs", of("runs", str), numeric=True),
        Column("first", of("first", ratio), numeric=True),
        Column("last", of("last", ratio), numeric=True),
        Column("level now", of("level", ratio), numeric=True),
        Column("significant changes", of("changes")),
    ]
    frame = pd.DataFrame(rows, columns=columns)
    return table("history", "Every case over the runs", "", shown, frame, machine=_points(history))


def _size(level_change: LevelChange) -> str:
    return slower(level_change.ratio.value) + (" gradually" if level_change.is_gradual else "")


def runs(history: History) -> Table:
    """One row for each run, in order: its folder, time, commit and environment."""
    era_of = {run: number for number, era in enumerate(history.eras, 1) for run in era.runs}
    rows = [
        {
            "run": name,
            "started": when(info),
            "commit": commit(info),
            "environment": era_of.get(index),
            "cases": sum(point.run == index for line in history.lines for point in line.points),
        }
        for index, (name, info) in enumerate(history.runs)
    ]
    shown = [
        Column("run", of("run", one_line)),
        Column("started", of("started")),
        Column("commit", of("commit", lambda text: text or MISSING)),
        *([Column("environment", of("environment", count), numeric=True)] if len(history.eras) > 1 else []),
        Column("cases", of("cases", count), numeric=True),
    ]
    frame = pd.DataFrame(rows, columns=["run", "started", "commit", "environment", "cases"])
    return table("history_runs", "The runs, the oldest first", "", shown, frame, machine=frame)


def _points(history: History) -> pd.DataFrame:
    rows = [
        {
            "case": line.case.key,
            "environment": line.era + 1,
            "run": history.runs[point.run][0],
            "started": history.runs[point.run][1].started,
            "commit": (history.runs[point.run][1].environment.get("git") or {}).get("commit"),
            "ratio_to_reference": point.ratio.value,
            "ratio_to_reference_low": point.ratio.lower,
            "ratio_to_reference_high": point.ratio.upper,
            "level": level.value,
            "level_low": level.lower,
            "level_high": level.upper,
        }
        for line in history.lines
        for point, level in zip(line.points, line.levels, strict=True)
    ]
    columns = ["case", "environment", "run", "started", "commit", "ratio_to_reference", "ratio_to_reference_low"]
    columns += ["ratio_to_reference_high", "level", "level_low", "level_high"]
    return pd.DataFrame(rows, columns=columns)
