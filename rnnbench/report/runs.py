"""Several runs: what changed for good over time, what differs between runs side by side; files of pytest-benchmark."""

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rnnbench.analysis.comparison import RANKS
from rnnbench.analysis.estimate import Estimate, as_ratio, estimate_columns, estimates_of
from rnnbench.analysis.history import LEVEL, MIN_CHANGE, MIN_LEVEL_POINTS, History
from rnnbench.analysis.run_times import noted_of_runs
from rnnbench.analysis.stored import CHANGE, RATIO, TOO_FEW, StoredRun, Together
from rnnbench.analysis.verdict import CHANGED, Q
from rnnbench.report import environment
from rnnbench.report.drawing.draw import (
    PAGE,
    PHONE,
    Sheet,
    limits,
    log_ticks,
    picture,
    ratio_axes,
    rows,
    sheet,
    small_panels,
)
from rnnbench.report.drawing.marks import FASTER, SLOWER, level
from rnnbench.report.table import LEFT_OUT, LOST, Column, Lines, Section, Table, of, table, where_new
from rnnbench.report.words.names import commit, named, names, one_line, series_name, when
from rnnbench.report.words.units import (
    MISSING,
    change,
    change_cell,
    change_interval,
    count,
    digits,
    duration,
    duration_interval,
    interval_cell,
    percent,
    ratio,
    ratio_tick,
    ratio_with_interval,
    round_percent,
    span,
)
from rnnbench.text import plural

LOADS = ("load", "load_at_the_end")  # keys of an environment
MAX_PANELS = 12
FARTHEST = 1.5  # times the farthest mark: an axis goes no farther, however long an interval is
OVER_TIME = (
    "Each point is a run's ratio to the reference that was measured beside it. The line is the level of the case "
    "since its last change. The band is the 95% interval of that level, which includes the scatter from run to run. At "
    f"most {MAX_PANELS} cases are drawn: first those that changed, the largest change first. The table has all cases."
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
SIDE_BY_SIDE = (
    "Medians over the cases that all runs have; the lines show the middle half of the cases. Each run's times "
    "are divided by those of the reference that was measured beside them, never by another run's."
)
NO_REFERENCE = (
    "Time only: no benchmark is a reference. rnnbench report FILE --reference NAME gives ratios to the benchmark of "
    "that name within each group."
)
OF_FILES = (
    "Time: the lower quartile of a file's rounds, seconds per call. Intervals are over files, each of one process: a "
    "single file has none, since its rounds do not show how processes differ, and a small difference may be chance."
)
POINTS = ("case", "environment", "run", "started", "commit", *RATIO, *LEVEL)  # columns of the table as a file
CHANGES = ("case", "from_run", "to_run", "ratio", "low", "high", "p_value", "is_significant")
COMPARED = ("case", "run", *RATIO, *CHANGE, "verdict", "decided_by")


# Over time


def over_time(history: History, left_out: Sequence[str] = ()) -> Section:
    """Return words, figure and tables of a history; `left_out`: the files of others that can't be read."""
    warnings = (
        Lines(LEFT_OUT, left_out),
        Lines(LOST, list(map(one_line, noted_of_runs(history.runs)))),
        Lines("Not the same in these runs:", list(_environments(history))),
    )
    title = "How it changed over the runs"
    if history.points.empty:
        words = "No case was measured beside its reference in two runs of the same environment, so nothing can be said."
        return Section("history", title, [*warnings, words])
    points, changes = named_lines(history)
    figure = draw_over_time(history, points, changes, is_phone=False)
    narrow = draw_over_time(history, points, changes, is_phone=True)
    drawn = picture("history", "Ratios over the runs", OVER_TIME, figure, narrow)
    columns = [
        Column("case", of("name")),
        Column("change", of("ratio", change_cell), numeric=True),
        Column("95% interval", of(("low", "high"), interval_cell), numeric=True),
        Column("between", of("between")),
        Column("significant", of("is_significant", lambda is_significant: "yes" if is_significant else "no")),
        Column("p", of("p_value", digits), numeric=True),
    ]
    lasting = "Lasting changes over the runs"
    machine = changes[list(CHANGES)]
    tables = (
        table("history_changes", lasting, SIGNIFICANT, columns, changes, machine=machine),
        _table_of_points(points),
    )
    return Section("history", title, [*warnings, *_told(history, points, changes), drawn, *tables])


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


def _told(history: History, points: pd.DataFrame, changes: pd.DataFrame) -> Iterator[str]:
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
    told = [f"{own['case'].nunique():,} became {word}" for word, own in became.items() if len(own)]
    tested = f"(Benjamini and Hochberg's test at q = {round_percent(Q)})"
    yield f"Of {cases} over {over}, {' and '.join(told) or 'none changed for good'} against their reference {tested}."
    scatter = f"{percent(history.environments['spread'].max())} (standard deviation) more than their own intervals say"
    yield f"The ratios of an unchanged case in two runs in a row differ by {scatter}."


def _environments(history: History) -> Iterator[str]:
    """Yield a note on each environment after the first."""
    for number, own in history.environments.iloc[1:].iterrows():
        of_own = plural(own["runs"], "run")
        since = when(history.runs[own["first"]][1])
        differ = one_line(own["differences"])
        yield f"Environment {number}, {of_own} since {since}: {differ}. Its runs are not compared with those before."


def _table_of_points(points: pd.DataFrame) -> Table:
    """Return the table with a row for each case and environment; its CSV has a row for each of their runs."""
    lines = points.groupby(["name", "environment"], sort=False).agg(
        runs=("at", "size"),
        first=("ratio_to_reference", "first"),
        last=("ratio_to_reference", "last"),
        level=("level", "last"),
    )
    shown = [
        Column("case", of("name")),
        *([Column("environment", of("environment", count), numeric=True)] if points["environment"].max() > 1 else []),
        Column("runs", of("runs", count), numeric=True),
        Column("first", of("first", ratio), numeric=True),
        Column("last", of("last", ratio), numeric=True),
        Column("level now", of("level", ratio), numeric=True),
    ]
    machine = points[list(POINTS)]
    return table("history", "Every case over the runs", "", shown, lines.reset_index(), machine=machine)


def draw_over_time(history: History, points: pd.DataFrame, changes: pd.DataFrame, *, is_phone: bool = False) -> Figure:
    """Draw the ratios of the cases that changed most, and of others, over all runs, with levels and changes.

    A panel for each case; `is_phone`: below each other.
    """
    significant = changes[changes["is_significant"]]
    cases = list(dict.fromkeys([*significant["name"], *points["name"]]))[:MAX_PANELS]
    times = [when(info) for _, info in history.runs]
    last = len(history.runs) - 1
    with small_panels(len(cases), is_phone=is_phone) as drawn:
        for axes, case in zip(drawn.grid.flat, cases, strict=False):
            _panel(drawn, axes, points[points["name"] == case], significant[significant["name"] == case])
            for first in history.environments["first"][1:]:
                axes.axvline(first - 0.5, color=drawn.ink("soft"), linewidth=1, linestyle=":")
            axes.set_title(textwrap.shorten(case, 88, placeholder="…"), loc="left", fontsize=drawn.small, wrap=True)
            axes.grid(axis="y")
            axes.set_xlim(-0.5, last + 0.5)
            ends = sorted({0, last})
            axes.set_xticks(ends, [times[end].replace(" ", "\n") for end in ends])
        drawn.label_panels("time over that of the reference")
        soft = drawn.ink("soft")
        keys: list[Artist] = [
            Line2D([], [], color=soft, marker="o", markersize=3.5, linewidth=0.8, label="one run, 95% interval"),
            Patch(facecolor=drawn.ink("line"), alpha=0.5, label="level and its 95% interval"),
        ]
        if len(significant):
            label = f"significant change (q = {round_percent(Q)})"
            keys.append(Line2D([], [], color=drawn.ink(SLOWER), linestyle="--", label=label))
        if len(history.environments) > 1:
            keys.append(Line2D([], [], color=soft, linestyle=":", label="another machine or software"))
        drawn.legend(keys)
    return drawn.figure


def _panel(drawn: Sheet, axes: Axes, points: pd.DataFrame, significant: pd.DataFrame) -> None:
    """Draw the points of a case with their intervals, its levels, and what changed for good."""
    value = points["ratio_to_reference"]
    ends = points[["ratio_to_reference_low", "ratio_to_reference_high"]]
    reach = ends.sub(value, axis=0).abs().fillna(0.0).T
    axes.errorbar(points["at"], value, yerr=reach, fmt="o", color=drawn.ink("soft"), markersize=3, elinewidth=0.8)
    for _, own in points.groupby("environment"):
        axes.step(own["at"], own["level"], where="mid", color=drawn.ink(), linewidth=1.3)
        band: dict[str, Any] = {"step": "mid", "color": drawn.ink("line"), "alpha": 0.5, "linewidth": 0}
        axes.fill_between(own["at"], own["level_low"], own["level_high"], **band)
    for each in significant.to_dict("records"):
        color = drawn.ink(SLOWER if each["ratio"] > 1 else FASTER)
        axes.axvline(each["at"], color=color, linewidth=1.2, linestyle="--")
        axes.annotate(
            change(each["ratio"]), (each["at"], 1), (2, -2), xycoords=("data", "axes fraction"),
            textcoords="offset points", weight="bold", fontsize=drawn.small, va="top",
        )  # fmt: skip
    within = [*value, *ends.clip(value.min() / FARTHEST, value.max() * FARTHEST).to_numpy().ravel()]
    log_ticks(drawn, axes.yaxis, *limits(within), ratio_tick)


# Side by side


def side_by_side(found: Together) -> Section:
    """Return words, figure and tables of runs side by side."""
    runs = named(found.runs)
    rows = rows_of(found)
    figure = draw_side_by_side(rows, runs)
    title = "How far from the reference in each run"
    narrow = draw_side_by_side(rows, runs, is_phone=True)
    pictures = [picture("together", title, SIDE_BY_SIDE, figure, narrow)] if figure else []
    lost = Lines(LOST, list(map(one_line, noted_of_runs(found.runs))))
    tables = (_table_of_cases(found, rows, runs), _table_of_environments(found, runs))
    return Section("together", "The runs side by side", [lost, *_compared(found, rows, runs), *pictures, *tables])


def rows_of(found: Together) -> pd.DataFrame:
    """Return a row for each case and run, the most different case first."""
    labels, _ = names([found.cases[key] for key in found.rows["case"].unique()])
    rows = found.rows.assign(place=pd.factorize(found.rows["case"])[0], is_judged=found.rows["verdict"].notna())
    rows["size"] = (rows["change_to_first_run"] - 1).abs().where(rows["verdict"].isin(CHANGED), 0.0)
    rows[["size", "is_judged"]] = rows.groupby("place")[["size", "is_judged"]].transform("max")
    rows = rows.sort_values(["size", "is_judged", "place", "at"], ascending=[False, False, True, True])
    cases = [found.cases[key] for key in rows["case"]]
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
        run=[found.runs[at][0] for at in rows["at"]],
    )


def _change(row: Mapping[Any, Any]) -> str:
    """Return the change of a case since the first run, with its interval."""
    known = Estimate(*(row[name] for name in CHANGE))
    by = "in the mean" if row["decided_by"] == "mean" else ""
    return " ".join(filter(None, [change(known.value), by, change_interval(known)])) or MISSING


def _compared(found: Together, rows: pd.DataFrame, runs: list[str]) -> Iterator[str]:
    for at, (run, apart) in enumerate(zip(runs[1:], found.machines, strict=True), 1):
        judged = rows[rows["at"].eq(at) & rows["verdict"].notna()]
        counts = judged["verdict"].value_counts().to_dict()
        said = ", ".join(f"{counts[word]:,} {word}" for word in RANKS if word in counts)
        if apart:
            yield one_line(f"{run} can't be compared with {runs[0]}: {'; '.join(apart)}.")
        elif judged.empty:
            yield f"{run} has no case in common with {runs[0]}."
        else:
            yield (
                f"{run} against {runs[0]}, by the ratios to the reference in each: of {plural(len(judged), 'case')} "
                f"{said} (margin {round_percent(found.margin)})."
            )
            if judged["change_to_first_run_low"].isna().all():
                yield f"No verdict: {TOO_FEW}."
    if found.alone:
        yield f"{plural(found.alone, 'case')} {'is' if found.alone == 1 else 'are'} in one run only, and left out."


def _table_of_cases(found: Together, rows: pd.DataFrame, runs: list[str]) -> Table:
    """Return the table with a row for each case: its ratio in each run, and each run against the first."""
    texts = {f"{what} {at}": list(own[what]) for at, own in rows.groupby("at") for what in ("ratio", "change", "said")}
    shown = pd.DataFrame({"name": rows["name"].unique(), **texts})
    columns = [Column("case", of("name"))]
    columns += [Column(name, of(f"ratio {at}"), numeric=True) for at, name in enumerate(runs)]
    for at, name in enumerate(runs[1:], 1):
        head = f"change, {name}" if len(runs) > 2 else "change"
        columns += [Column(head, of(f"change {at}"), numeric=True), Column("verdict", of(f"said {at}"))]
    later = runs[1] if len(runs) == 2 else "each later run"
    note = (
        "Each ratio is to the reference of the same run, with its 95% interval. Change: "
        f"{later} against {runs[0]}, in the mean of the calls where that decides. "
        f"Regressed, improved: by more than {round_percent(found.margin)}, "
        f"at a false discovery rate of {round_percent(Q)} on average (Benjamini and Hochberg); unchanged: the 95% "
        "intervals lie within that margin."
    )
    return table("together", "The same cases in the runs", note, columns, shown, machine=rows[list(COMPARED)])


def _table_of_environments(found: Together, runs: list[str]) -> Table:
    """Return the table with a row for each fact that differs between the runs, but for what else ran."""
    known = [{key: value for key, value in info.environment.items() if key not in LOADS} for _, info in found.runs]
    facts = pd.DataFrame([dict(environment.facts(each)) for each in known]).T.fillna(MISSING).map(one_line)
    differ = facts[facts.nunique(axis=1) > 1].rename(columns=str).rename_axis("what").reset_index()
    columns = [Column(head, of(str(place))) for head, place in zip(["what", *runs], differ, strict=True)]
    machine = differ.set_axis(["what", *(name for name, _ in found.runs)], axis=1)
    note = "Nothing that is recorded of the environments differs." if differ.empty else ""
    return table("together_environment", "What is not the same in the runs", note, columns, differ, machine=machine)


def draw_side_by_side(cases: pd.DataFrame, runs: list[str], *, is_phone: bool = False) -> Figure | None:
    """Draw how far each cell is from its reference in several runs, over the cases that all have; None without such.

    A row for each series, in it a mark for each run: the median, with a line over the middle half of the cases. A panel
    for each phase; `is_phone`: below each other.
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
    shape = (len(phases), 1) if is_phone else (1, len(phases))
    wide = PHONE if is_phone else PAGE
    with sheet(None, wide, high * shape[0], shape, is_phone=is_phone, sharey=True) as drawn:
        for axes, phase in zip(drawn.grid.flat, phases, strict=True):
            rows(drawn, axes, series, points[points["phase"] == phase], thick=2)
            drawn.title(axes, phase)
        ratio_axes(drawn, points[["low", "value", "high"]], "the reference of the same run")
        keys = zip(shades, runs, strict=True)
        drawn.legend(
            [Line2D([], [], color=drawn.ink(shade), marker="o", linewidth=2, label=run) for shade, run in keys]
        )
    return drawn.figure


# Files of pytest-benchmark


def of_files(saved: StoredRun) -> Section:
    """Return the section with the answer and a table of all benchmarks, each group with its reference first."""
    frame = summarize(saved)
    columns = [
        Column("benchmark", of("name", one_line)),
        *([Column("group", of("group", one_line))] if frame["group"].nunique() > 1 else []),
        Column("time", of("seconds", duration), numeric=True),
        Column("95% interval", of(("seconds_low", "seconds_high"), duration_interval), numeric=True),
        *([Column("ratio", _ratio_cell, numeric=True)] if frame["ratio"].notna().any() else []),
        Column("replicates", of("replicates", count), numeric=True),
    ]
    title = "How long does each take?"
    shown = table("benchmarks", title, OF_FILES, columns, frame, machine=frame, breaks=where_new(frame["group"])[1:])
    return Section("benchmarks", title, [_told_of_files(frame), shown])


def summarize(saved: StoredRun) -> pd.DataFrame:
    """Return a row for each benchmark: its time and its ratio to its reference, with 95% intervals over replicates."""
    files = [own for _, own in saved.ratios.groupby("case", sort=False)]
    times = estimates_of([own["log_seconds"].tolist() for own in files])
    ratios = estimates_of([own["log_ratio"].where(own["reference"].ne("")).dropna().tolist() for own in files])
    lines = [
        {
            **own[["case", "name", "group", "is_reference"]].iloc[0],
            **estimate_columns("seconds", as_ratio(time)),
            **estimate_columns("ratio", as_ratio(known)),
            "replicates": len(own),
        }
        for own, time, known in zip(files, times, ratios, strict=True)
    ]
    frame = pd.DataFrame(lines).sort_values(["group", "is_reference"], ascending=[True, False], kind="stable")
    return frame.reset_index(drop=True)


def _told_of_files(frame: pd.DataFrame) -> str:
    """Return how far the benchmarks are from their references, or that they have none."""
    compared = frame[frame["ratio"].notna() & ~frame["is_reference"]].sort_values("ratio", kind="stable")
    if compared.empty:
        return NO_REFERENCE
    ends = [f"{digits(row['ratio'])} ({one_line(row['name'])})" for _, row in compared.iloc[[0, -1]].iterrows()]
    many = f"{plural(len(compared), 'benchmark')} {'takes' if len(compared) == 1 else 'take'}"
    return f"{many} {span(*ends)} times as long as the reference of the group."


def _ratio_cell(row: dict[str, Any]) -> str:
    if row["is_reference"]:
        return "reference"
    return "" if math.isnan(row["ratio"]) else ratio_with_interval(row["ratio"], row["ratio_low"], row["ratio_high"])
