"""Runs of a suite over time: which cases changed for good, and since when."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rnnbench.analysis.history import LEVEL, MIN_CHANGE, MIN_LEVEL_POINTS, History
from rnnbench.analysis.run_times import noted_of_runs
from rnnbench.analysis.stored import RATIO
from rnnbench.analysis.verdict import Q
from rnnbench.report.drawing.draw import limits, log_ticks
from rnnbench.report.drawing.marks import FASTER, SLOWER
from rnnbench.report.drawing.pictures import picture
from rnnbench.report.drawing.sheet import Sheet, small_panels
from rnnbench.report.table import LEFT_OUT_FILES, LOST_WINDOWS, Column, Lines, Section, Table, of, table
from rnnbench.report.words.names import commit, names, one_line, when
from rnnbench.report.words.units import (
    change,
    change_cell,
    count,
    digits,
    interval_cell,
    percent,
    ratio,
    ratio_tick,
    round_percent,
    span,
)
from rnnbench.text import plural

MAX_CASE_PANELS = 12
REACH_OVER_TIME = 1.5  # times the farthest mark: an axis goes no farther, however long an interval is
OVER_TIME = (
    "Each point is a run's ratio to the reference that was measured beside it. The line is the level of the case "
    "since its last change. The band is the 95% interval of that level, which includes the scatter from run to run. At "
    f"most {MAX_CASE_PANELS} cases are drawn: first those that changed, the largest change first. The table has all "
    "cases."
)
SIGNIFICANT = (
    "A change is significant where its p-value, times the places where it could have been found, passes Benjamini and "
    f"Hochberg's procedure over all cases at q = {round_percent(Q)}, and it is {round_percent(MIN_CHANGE)} or "
    "more. A slow drift shows as one or more changes. That q is no bound on what is false: the same points choose the "
    "places and are tested. In simulations (histories of 100 cases, a tenth of them with one step of 3% to 10%) at "
    "most 0.7% of the unchanged cases had a change; of the changes called significant none were false at 10 runs, "
    "1% to 9% at 40. In histories of one to three cases whose runs resemble the runs before them (a correlation of "
    "0.8), up to 5% of the unchanged cases had a change."
)
POINTS = ("case", "environment", "run", "started", "commit", *RATIO, *LEVEL)  # columns of the table as a file
LASTING_COLUMNS = ("case", "from_run", "to_run", "ratio", "low", "high", "p_value", "is_significant")


def over_time(history: History, left_out: Sequence[str] = ()) -> Section:
    """Return words, figure and tables of a history; `left_out`: the files of others that can't be read."""
    warnings = (
        Lines(LEFT_OUT_FILES, left_out),
        Lines(LOST_WINDOWS, list(map(one_line, noted_of_runs(history.runs)))),
        Lines("Not the same in these runs:", list(_environments(history))),
    )
    title = "How it changed over the runs"
    if history.points.empty:
        words = "No case was measured beside its reference in two runs of the same environment, so nothing can be said."
        return Section("history", title, [*warnings, words])
    points, changes = named_lines(history)
    image = picture("history", "Ratios over the runs", OVER_TIME, draw_over_time(history, points, changes))
    columns = [
        Column("case", of("name")),
        Column("change", of("ratio", change_cell), numeric=True),
        Column("95% interval", of(("low", "high"), interval_cell), numeric=True),
        Column("between", of("between")),
        Column("significant", of("is_significant", lambda is_significant: "yes" if is_significant else "no")),
        Column("p", of("p_value", digits), numeric=True),
    ]
    lasting = "Lasting changes over the runs"
    machine = changes[list(LASTING_COLUMNS)]
    tables = (
        table("history_changes", lasting, SIGNIFICANT, columns, changes, machine=machine),
        _table_of_points(points),
    )
    return Section("history", title, [*warnings, *_sentences(history, points, changes), image, *tables])


def named_lines(history: History) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the points and the changes of a history with the names of their cases and runs.

    Significant changes come before the others, larger ones before smaller ones.
    """
    labels, _ = names([history.cases[key] for key in history.points["case"].unique()])
    runs = pd.DataFrame(
        {
            "run": name,
            "started": info.started,
            "commit": (info.environment.get("git") or {}).get("commit"),
            "told": " ".join(filter(None, [when(info), commit(info)])),
        }
        for name, info in history.runs
    )
    points = history.points.assign(name=history.points["case"].map(labels))
    changes = history.changes.assign(name=history.changes["case"].map(labels))
    changes = changes.join(runs.add_prefix("from_"), on="before").join(runs.add_prefix("to_"), on="after")
    changes = changes.assign(
        between=changes["from_told"] + " → " + changes["to_told"],
        at=changes[["before", "after"]].mean(axis=1),
        size=(changes["ratio"] - 1).abs(),
    )
    return points.join(runs, on="at"), changes.sort_values(["is_significant", "size"], ascending=False, kind="stable")


def _sentences(history: History, points: pd.DataFrame, changes: pd.DataFrame) -> Iterator[str]:
    cases = plural(points["case"].nunique(), "case")
    first = when(history.runs[0][1])[:10]
    last = when(history.runs[-1][1])[:10]
    over = f"{plural(len(history.runs), 'run')} {'on' if first == last else 'from'} {span(first, last)}"
    if points.groupby(["case", "environment"]).size().max() < 2 * MIN_LEVEL_POINTS:
        yield f"{cases} over {over}: too few for a lasting change, which takes two before and two after."
        return
    significant = changes[changes["is_significant"]]
    is_slower = significant["ratio"] > 1
    became = {"slower": significant[is_slower], "faster": significant[~is_slower]}
    clauses = [f"{group['case'].nunique():,} became {word}" for word, group in became.items() if len(group)]
    tested = f"(Benjamini and Hochberg's test at q = {round_percent(Q)})"
    became_what = " and ".join(clauses) or "none changed for good"
    yield f"Of {cases} over {over}, {became_what} against their reference {tested}."
    scatter = f"{percent(history.environments['spread'].max())} (standard deviation) more than their own intervals say"
    yield f"The ratios of an unchanged case in two runs in a row differ by {scatter}."


def _environments(history: History) -> Iterator[str]:
    """Yield a note on each environment after the first."""
    for number, row in history.environments.iloc[1:].iterrows():
        of_own = plural(row["runs"], "run")
        since = when(history.runs[row["first"]][1])
        differ = one_line(row["differences"])
        yield f"Environment {number}, {of_own} since {since}: {differ}. Its runs are not compared with those before."


def _table_of_points(points: pd.DataFrame) -> Table:
    """Return the table with a row for each case and environment; its CSV has a row for each of their runs."""
    lines = points.groupby(["name", "environment"], sort=False).agg(
        runs=("at", "size"),
        first=("ratio_to_reference", "first"),
        last=("ratio_to_reference", "last"),
        level=("level", "last"),
    )
    columns = [
        Column("case", of("name")),
        *([Column("environment", of("environment", count), numeric=True)] if points["environment"].max() > 1 else []),
        Column("runs", of("runs", count), numeric=True),
        Column("first", of("first", ratio), numeric=True),
        Column("last", of("last", ratio), numeric=True),
        Column("level now", of("level", ratio), numeric=True),
    ]
    machine = points[list(POINTS)]
    return table("history", "Every case over the runs", "", columns, lines.reset_index(), machine=machine)


def draw_over_time(history: History, points: pd.DataFrame, changes: pd.DataFrame) -> Figure:
    """Draw the ratios of the cases that changed most, and of others, over all runs, with levels and changes."""
    significant = changes[changes["is_significant"]]
    cases = list(dict.fromkeys([*significant["name"], *points["name"]]))[:MAX_CASE_PANELS]
    times = [when(info) for _, info in history.runs]
    last = len(history.runs) - 1
    with small_panels(len(cases)) as canvas:
        for axes, case in zip(canvas.grid.flat, cases, strict=False):
            _panel(canvas, axes, points[points["name"] == case], significant[significant["name"] == case])
            for first in history.environments["first"][1:]:
                axes.axvline(first - 0.5, color=canvas.ink("soft"), linewidth=1, linestyle=":")
            axes.set_title(textwrap.shorten(case, 88, placeholder="…"), loc="left", fontsize=canvas.small, wrap=True)
            axes.set_ylabel("time over that of the reference", fontsize=canvas.small)
            axes.grid(axis="y")
            axes.set_xlim(-0.5, last + 0.5)
            ends = sorted({0, last})
            axes.set_xticks(ends, [times[end].replace(" ", "\n") for end in ends])
        soft = canvas.ink("soft")
        keys: list[Artist] = [
            Line2D([], [], color=soft, marker="o", markersize=3.5, linewidth=0.8, label="one run, 95% interval"),
            Patch(facecolor=canvas.ink("line"), alpha=0.5, label="level and its 95% interval"),
        ]
        if len(significant):
            label = f"significant change (q = {round_percent(Q)})"
            keys.append(Line2D([], [], color=canvas.ink(SLOWER), linestyle="--", label=label))
        if len(history.environments) > 1:
            keys.append(Line2D([], [], color=soft, linestyle=":", label="another machine or software"))
        canvas.legend(keys)
    return canvas.figure


def _panel(canvas: Sheet, axes: Axes, points: pd.DataFrame, significant: pd.DataFrame) -> None:
    """Draw the points of a case with their intervals, its levels, and what changed for good."""
    value = points["ratio_to_reference"]
    ends = points[["ratio_to_reference_low", "ratio_to_reference_high"]]
    reach = ends.sub(value, axis=0).abs().fillna(0.0).T
    axes.errorbar(points["at"], value, yerr=reach, fmt="o", color=canvas.ink("soft"), markersize=3, elinewidth=0.8)
    for _, line in points.groupby("environment"):
        axes.step(line["at"], line["level"], where="mid", color=canvas.ink(), linewidth=1.3)
        band: dict[str, Any] = {"step": "mid", "color": canvas.ink("line"), "alpha": 0.5, "linewidth": 0}
        axes.fill_between(line["at"], line["level_low"], line["level_high"], **band)
    for each in significant.to_dict("records"):
        color = canvas.ink(SLOWER if each["ratio"] > 1 else FASTER)
        axes.axvline(each["at"], color=color, linewidth=1.2, linestyle="--")
        axes.annotate(
            change(each["ratio"]), (each["at"], 1), (2, -2), xycoords=("data", "axes fraction"),
            textcoords="offset points", weight="bold", fontsize=canvas.small, va="top",
        )  # fmt: skip
    within = [*value, *ends.clip(value.min() / REACH_OVER_TIME, value.max() * REACH_OVER_TIME).to_numpy().ravel()]
    log_ticks(canvas, axes.yaxis, *limits(within), ratio_tick)
