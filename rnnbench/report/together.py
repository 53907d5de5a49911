"""The report of several runs side by side: what differs between them, in words, a figure and tables."""

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnbench.analysis.estimate import estimate_columns
from rnnbench.analysis.run_times import noted_of_runs
from rnnbench.analysis.stored import TOO_FEW, Together, TogetherRow
from rnnbench.analysis.verdict import CHANGED, Q, Verdict
from rnnbench.report.colors import level
from rnnbench.report.drawing.draw import ratio_axes, rows
from rnnbench.report.drawing.sheet import PAGE, picture, sheet
from rnnbench.report.table import LOST, Column, Section, Table, of, of_runs, table
from rnnbench.report.words.names import Names, identity, named, names, one_line, series_name
from rnnbench.report.words.units import (
    MISSING,
    change_with_interval,
    ratio_with_interval,
    round_percent,
)
from rnnbench.store.run_info import Processor
from rnnbench.text import listed, plural

TITLE = "How far from the reference in each run"
CAPTION = (
    "Medians over the cases that all runs have; the lines show the middle half of the cases. Each run's times "
    "are divided by those of the reference that was measured beside them, never by another run's."
)
SAID: dict[Verdict, str] = {
    "regressed": "slower",
    "improved": "faster",
    "unchanged": "same",
    "undecided": "undecided",
    "incomparable": "incomparable",
}


def section(found: Together) -> Section:
    """Return words, figure and tables of runs side by side."""
    case_names, runs = names(row.case for row in found.rows), named(found.runs)
    figure = draw(found, runs)
    pictures = () if figure is None else (picture("together", TITLE, CAPTION, figure),)
    tables = (cases(found, case_names, runs), environments(found, runs))
    words = tuple(_words(found, case_names, runs))
    warnings = {LOST: tuple(map(one_line, noted_of_runs(found.runs)))}
    return of_runs("together", "The runs side by side", words, warnings, pictures, tables)


def _words(found: Together, case_names: Names, runs: list[str]) -> Iterator[str]:
    apart: dict[tuple[str, ...], list[str]] = {}  # why runs can't be compared -> which
    for run, differences in zip(runs[1:], found.machines, strict=True):
        if differences:
            apart.setdefault(differences, []).append(run)
    for differences, others in apart.items():
        yield one_line(f"{listed(others)} can't be compared with {runs[0]}: {'; '.join(differences)}.")
    for index, run in enumerate(runs[1:]):
        if found.machines[index]:
            continue
        judged = [(row, change) for row in found.rows if (change := row.changes[index]) is not None]
        if not judged:
            yield f"{run} has no case in common with {runs[0]}."
            continue
        counts = {word: sum(change.verdict == verdict for _, change in judged) for verdict, word in SAID.items()}
        said = ", ".join(f"{count:,} {word}" for word, count in counts.items() if count)
        yield (
            f"{run} against {runs[0]}, by the ratios to the reference in each: of {plural(len(judged), 'case')} "
            f"{said} (margin {round_percent(found.margin)})."
        )
        if not any(math.isfinite(change.deciding.lower) for _, change in judged):
            yield f"No verdict: {TOO_FEW}."
    if found.alone:
        yield f"{plural(found.alone, 'case')} {'is' if found.alone == 1 else 'are'} in one run only, and left out."


def _value(value: Any) -> str:
    """A value of an environment on one line."""
    return identity(value) if isinstance(value, Processor) else one_line(MISSING if value is None else value)


def cases(found: Together, case_names: Names, runs: list[str]) -> Table:
    """Return one row for each case: its ratio in each run, and each run against the first, most different first."""
    rows = sorted(found.rows, key=_rank)
    shown = pd.DataFrame({"case": [case_names.name(row.case) for row in rows]})
    for index, name in enumerate(runs):
        ratios = (row.ratios[index] for row in rows)
        shown[name] = [ratio_with_interval(each.value, each.lower, each.upper) if each else MISSING for each in ratios]
    columns = [Column("case", of("case")), *(Column(name, of(name), numeric=True) for name in runs)]
    for index, name in enumerate(runs[1:]):
        changes, verdicts = f"change of {name}", f"verdict of {name}"
        shown[changes] = [change_with_interval(each) if (each := row.changes[index]) else MISSING for row in rows]
        shown[verdicts] = [SAID[word] if (word := _verdict(found, index, row)) else MISSING for row in rows]
        head = f"change, {name}" if len(runs) > 2 else "change"
        columns += [Column(head, of(changes), numeric=True), Column("verdict", of(verdicts))]
    later = runs[1] if len(runs) == 2 else "each later run"
    note = (
        "Each ratio is to the reference of the same run, with its 95% interval. Change: "
        f"{later} against {runs[0]}, in the mean of the calls where that decides. "
        f"Slower, faster: by more than {round_percent(found.margin)}, "
        f"at a false discovery rate of {round_percent(Q)} on average (Benjamini and Hochberg); same: the 95% intervals "
        "lie within that margin."
    )
    text = shown.rename(columns={"case": "name"})  # rows are not about cases of a run, by which a page could filter
    columns[0] = Column("case", of("name"))
    return table("together", "The same cases in the runs", note, columns, text, machine=_machine(found, rows))


def environments(found: Together, runs: list[str]) -> Table:
    """Return one row for each key that differs between the runs."""
    keys = [one_line(key.replace("_", " ")) for key in found.unlike]
    shown = pd.DataFrame({"what": keys})
    machine = pd.DataFrame({"what": list(found.unlike)})
    for index, (name, _) in enumerate(found.runs):
        values = [values[index] for values in found.unlike.values()]
        shown[str(index)], machine[name] = list(map(_value, values)), list(map(str, values))
    columns = [Column("what", of("what")), *(Column(name, of(str(index))) for index, name in enumerate(runs))]
    note = "" if found.unlike else "Nothing that is recorded of the environments differs."
    return table("together_environment", "What is not the same in the runs", note, columns, shown, machine=machine)


def _rank(row: TogetherRow) -> tuple[int, float]:
    known = [judged for judged in row.changes if judged is not None]
    decided = [abs(judged.deciding.value - 1) for judged in known if judged.verdict in CHANGED]
    return (0, -max(decided)) if decided else (1 if known else 2, 0.0)


def _machine(found: Together, rows: list[TogetherRow]) -> pd.DataFrame:
    """One row for each case and run, so that any number of runs fits the same columns."""
    lines = []
    for row in rows:
        for index, ((name, _), estimate) in enumerate(zip(found.runs, row.ratios, strict=True)):
            judged = row.changes[index - 1] if index else None
            line: dict[str, Any] = {"case": row.case.key, "run": name}
            line |= estimate_columns("ratio_to_reference", estimate)
            line |= estimate_columns("change_to_first_run", judged.deciding if judged else None)
            verdict = _verdict(found, index - 1, row) if index else None
            lines.append(line | {"verdict": verdict, "decided_by": judged.decided_by if judged else None})
    return pd.DataFrame(lines)


def _verdict(found: Together, index: int, row: TogetherRow) -> Verdict | None:
    """The verdict on a case in a later run; None if it has no ratio in that run or the first."""
    if judged := row.changes[index]:
        return judged.verdict
    has_both = row.ratios[0] is not None and row.ratios[index + 1] is not None
    return "incomparable" if has_both and found.machines[index] else None


def draw(found: Together, runs: list[str]) -> Figure | None:
    """Draw how far each cell is from its reference in several runs, over the cases that all have; None without such.

    A row for each series, in it a mark for each run: the median, with a line over the middle half of the cases.
    """
    ratios = [
        (series_name(row.case.cell, row.case.implementation), row.case.workload.phase, run, each.value)
        for row in found.rows
        if all(row.ratios)
        for run, each in enumerate(row.ratios)
        if each is not None
    ]
    frame = pd.DataFrame(ratios, columns=["series", "phase", "run", "ratio"])
    if frame.empty:
        return None
    grouped = frame.groupby(["series", "phase", "run"], sort=False)["ratio"]
    points = pd.DataFrame({"low": grouped.quantile(0.25), "value": grouped.median(), "high": grouped.quantile(0.75)})
    points = points.reset_index()
    names, phases, last = list(points["series"].unique()), list(points["phase"].unique()), max(len(runs) - 1, 1)
    points["y"] = points["series"].map(names.index) + 0.6 * (points["run"] / last - 0.5)
    shades: list[Any] = [level(run / last) for run in points["run"]]
    points["shade"] = shades
    high = 0.9 + len(names) * max(0.24, 0.13 * len(runs))
    with sheet(None, PAGE, high, (1, len(phases)), sharey=True) as drawn:
        for axes, phase in zip(drawn.grid[0], phases, strict=True):
            rows(drawn, axes, names, points[points["phase"] == phase], thick=2)
            drawn.title(axes, phase)
        ratio_axes(drawn, points[["low", "value", "high"]], "the reference of the same run")
        drawn.legend(
            [
                Line2D([], [], color=drawn.ink.of(level(run / last)), marker="o", linewidth=2, label=name)
                for run, name in enumerate(runs)
            ]
        )
    return drawn.figure
