"""Runs side by side: how far each case is from its reference in each of them, and what else differs."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnbench.analysis.comparison import RANKS
from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.run_times import noted_of_runs
from rnnbench.analysis.stored import CHANGE_TO_FIRST, RATIO, TOO_FEW, Together
from rnnbench.analysis.verdict import CHANGED, Q
from rnnbench.report import environment
from rnnbench.report.drawing.draw import ratio_axes, rows
from rnnbench.report.drawing.marks import level
from rnnbench.report.drawing.pictures import picture
from rnnbench.report.drawing.sheet import PANEL, sheet
from rnnbench.report.table import LOST_WINDOWS, Column, Lines, Section, Table, table, text_of
from rnnbench.report.words.names import names, one_line, run_labels, series_name
from rnnbench.report.words.units import (
    MISSING,
    change,
    change_interval,
    ratio_with_interval,
    round_percent,
)
from rnnbench.text import plural

LOAD_KEYS = ("load", "load_at_the_end")  # keys of an environment
SIDE_BY_SIDE = (
    "Medians over the cases that all runs have; the lines show the middle half of the cases. Each run's times "
    "are divided by those of the reference that was measured beside them, never by another run's."
)
COMPARED_COLUMNS = ("case", "run", *RATIO, *CHANGE_TO_FIRST, "verdict", "decided_by")


def side_by_side(together: Together) -> Section:
    """Return words, figure and tables of runs side by side."""
    runs = run_labels(together.runs)
    rows = rows_of(together)
    figure = draw_side_by_side(rows, runs)
    title = "How far from the reference in each run"
    pictures = [picture("together", title, SIDE_BY_SIDE, figure)] if figure else []
    lost = Lines(LOST_WINDOWS, list(map(one_line, noted_of_runs(together.runs))))
    tables = (_table_of_cases(together, rows, runs), _table_of_environments(together, runs))
    return Section("together", "The runs side by side", [lost, *_compared(together, rows, runs), *pictures, *tables])


def rows_of(together: Together) -> pd.DataFrame:
    """Return a row for each case and run, the most different case first."""
    labels, _ = names([together.cases[key] for key in together.rows["case"].unique()])
    rows = together.rows.assign(
        place=pd.factorize(together.rows["case"])[0], is_judged=together.rows["verdict"].notna()
    )
    rows["size"] = (rows["change_to_first_run"] - 1).abs().where(rows["verdict"].isin(CHANGED), 0.0)
    rows[["size", "is_judged"]] = rows.groupby("place")[["size", "is_judged"]].transform("max")
    rows = rows.sort_values(["size", "is_judged", "place", "at"], ascending=[False, False, True, True])
    cases = [together.cases[key] for key in rows["case"]]
    return rows.assign(
        name=rows["case"].map(labels),
        series=[series_name(case.cell, case.implementation) for case in cases],
        phase=[case.workload.phase for case in cases],
        ratio=[
            MISSING if math.isnan(value) else ratio_with_interval(value, low, high)
            for value, low, high in rows[list(RATIO)].itertuples(index=False)
        ],
        change=[_change(row) for row in rows.to_dict("records")],
        said=rows["verdict"].fillna(MISSING),
        run=[together.runs[at][0] for at in rows["at"]],
    )


def _change(row: Mapping[Any, Any]) -> str:
    """Return the change of a case since the first run, with its interval."""
    estimate = Estimate(*(row[name] for name in CHANGE_TO_FIRST))
    by = "in the mean" if row["decided_by"] == "mean" else ""
    return " ".join(filter(None, [change(estimate.value), by, change_interval(estimate)])) or MISSING


def _compared(together: Together, rows: pd.DataFrame, runs: list[str]) -> Iterator[str]:
    for at, (run, apart) in enumerate(zip(runs[1:], together.machines, strict=True), 1):
        judged = rows[rows["at"].eq(at) & rows["verdict"].notna()]
        counts = judged["verdict"].value_counts().to_dict()
        words = ", ".join(f"{counts[word]:,} {word}" for word in RANKS if word in counts)
        if apart:
            yield one_line(f"{run} can't be compared with {runs[0]}: {'; '.join(apart)}.")
        elif judged.empty:
            yield f"{run} has no case in common with {runs[0]}."
        else:
            yield (
                f"{run} against {runs[0]}, by the ratios to the reference in each: of {plural(len(judged), 'case')} "
                f"{words} (margin {round_percent(together.margin)})."
            )
            if judged["change_to_first_run_low"].isna().all():
                yield f"No verdict: {TOO_FEW}."
    if together.alone:
        verb = "is" if together.alone == 1 else "are"
        yield f"{plural(together.alone, 'case')} {verb} in one run only, and left out."


def _table_of_cases(together: Together, rows: pd.DataFrame, runs: list[str]) -> Table:
    """Return the table with a row for each case: its ratio in each run, and each run against the first."""
    texts: dict[str, list[str]] = {}
    for at, rows_of_run in rows.groupby("at"):
        texts |= {f"{what} {at}": list(rows_of_run[what]) for what in ("ratio", "change", "said")}
    frame = pd.DataFrame({"name": rows["name"].unique(), **texts})
    columns = [Column("case", text_of("name"))]
    columns += [Column(name, text_of(f"ratio {at}"), numeric=True) for at, name in enumerate(runs)]
    for at, name in enumerate(runs[1:], 1):
        head = f"change, {name}" if len(runs) > 2 else "change"
        columns += [Column(head, text_of(f"change {at}"), numeric=True), Column("verdict", text_of(f"said {at}"))]
    later = runs[1] if len(runs) == 2 else "each later run"
    note = (
        "Each ratio is to the reference of the same run, with its 95% interval. Change: "
        f"{later} against {runs[0]}, in the mean of the calls where that decides. "
        f"Regressed, improved: by more than {round_percent(together.margin)}, "
        f"at a false discovery rate of {round_percent(Q)} on average (Benjamini and Hochberg); unchanged: the 95% "
        "intervals lie within that margin."
    )
    return table("together", "The same cases in the runs", note, columns, frame, machine=rows[list(COMPARED_COLUMNS)])


def _table_of_environments(together: Together, runs: list[str]) -> Table:
    """Return the table with a row for each fact that differs between the runs, but for what else ran."""
    environments = [
        {key: value for key, value in info.environment.items() if key not in LOAD_KEYS} for _, info in together.runs
    ]
    facts = pd.DataFrame([dict(environment.facts(each)) for each in environments]).T.fillna(MISSING).map(one_line)
    differ = facts[facts.nunique(axis=1) > 1].rename(columns=str).rename_axis("what").reset_index()
    columns = [Column(head, text_of(str(place))) for head, place in zip(["what", *runs], differ, strict=True)]
    machine = differ.set_axis(["what", *(name for name, _ in together.runs)], axis=1)
    note = "The recorded environments are equal." if differ.empty else ""
    return table("together_environment", "Differences between the environments", note, columns, differ, machine=machine)


def draw_side_by_side(cases: pd.DataFrame, runs: list[str]) -> Figure | None:
    """Draw how far each cell is from its reference in several runs, over the cases that all have; None without such.

    A row for each series, in it a mark for each run: the median, with a line over the middle half of the cases. A panel
    for each phase.
    """
    in_all = cases[cases.groupby("case")["ratio_to_reference"].transform("count") == len(runs)].sort_values(
        "place", kind="stable"
    )
    if in_all.empty:
        return None
    by_run = in_all.groupby(["series", "phase", "at"], sort=False)["ratio_to_reference"]
    quartiles = by_run.quantile(np.array([0.25, 0.5, 0.75]))
    points = quartiles.unstack().set_axis(["low", "value", "high"], axis=1).reset_index()
    series = list(in_all["series"].unique())
    phases = list(in_all["phase"].unique())
    last = max(len(runs) - 1, 1)
    points["y"] = points["series"].map(series.index) + 0.6 * (points["at"] / last - 0.5)
    shades = [level(at / last) for at in range(len(runs))]
    points["shade"] = points["at"].map(dict(enumerate(shades)))
    high = 0.9 + len(series) * max(0.24, 0.13 * len(runs))
    with sheet(None, PANEL, high * len(phases), (len(phases), 1), is_apart=True) as canvas:
        for axes, phase in zip(canvas.grid.flat, phases, strict=True):
            rows(canvas, axes, series, points[points["phase"] == phase], thick=2)
            canvas.title(axes, phase)
        ratio_axes(canvas, points[["low", "value", "high"]], "the reference of the same run")
        keys = zip(shades, runs, strict=True)
        canvas.legend(
            [Line2D([], [], color=canvas.ink(shade), marker="o", linewidth=2, label=run) for shade, run in keys]
        )
    return canvas.figure
