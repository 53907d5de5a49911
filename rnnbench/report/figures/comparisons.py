"""The figures of changes and of several runs: a check, checks and runs over time, runs side by side, benchmarks."""

import math
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rnnbench.analysis.comparison import RANKS
from rnnbench.analysis.estimate import ENDS, Estimate
from rnnbench.analysis.history import CaseHistory, History
from rnnbench.analysis.stored import Together
from rnnbench.analysis.verdict import CHANGED, Q
from rnnbench.report.colors import FASTER, SLOWER, VERDICTS, level
from rnnbench.report.drawing.draw import REFERENCE, limits, log_ticks, most_rows, rows, rows_high
from rnnbench.report.drawing.marks import OF_TORCH
from rnnbench.report.drawing.sheet import PAGE, Sheet, sheet
from rnnbench.report.words.benchmark_names import by_group
from rnnbench.report.words.names import Names, one_line, series_name, when
from rnnbench.report.words.units import (
    GLYPHS,
    change,
    change_interval,
    duration,
    duration_tick,
    ratio,
    ratio_tick,
    round_percent,
    span,
)
from rnnbench.store.pytest_benchmark import BenchmarkFiles
from rnnbench.store.records import Case

MARKER_OF = {"regressed": "^", "incomparable": "X", "undecided": "D", "improved": "v", "unchanged": "o"}
MAX_ROWS = 40  # of a figure; the last row counts the others
REACH = 1.5  # times the farthest mark: an axis goes no farther, however long an interval is
MIN_REACH = 2.0  # margins from no change to the ends of the axis, at least
MAX_PANELS = 12  # of a history
PER_ROW = 3  # panels


def changes(
    frame: pd.DataFrame, *, ax: Axes | None = None, width: float | None = None, height: float | None = None
) -> Figure | None:
    """Draw the change of each case with its interval, the margin as a band, and the verdict; the worst on top.

    `frame`: a row for each case with `name`, `verdict`, `margin`, `ratio` and `mean_ratio` with their intervals,
    `described_by`, the one of the two that is drawn, and `decided_by`. None if no case has a change of its time.
    """
    compared = frame[frame["verdict"].notna()]
    if compared.empty or not np.isfinite(compared["ratio"].astype(float)).any():
        return None
    wide = width or PAGE
    ordered, room = worst_first(compared), min(MAX_ROWS, most_rows(ax, wide, height))
    shown, others = (ordered, ordered.head(0)) if len(ordered) <= room else (ordered[: room - 1], ordered[room - 1 :])
    names = [str(name) for name in shown["name"]]
    if len(others):
        counts = Counter(others["verdict"])
        names.append(", ".join(f"{counts[verdict]:,} {verdict}" for verdict in RANKS if counts[verdict]) + " not drawn")
    by_mean = shown["described_by"].eq("mean_ratio")
    estimates = [
        Estimate(*(float(row[f"{'mean_ratio' if is_mean else 'ratio'}{end}"]) for end in ENDS))
        for row, is_mean in zip(shown.to_dict("records"), by_mean, strict=True)
    ]
    with sheet(ax, wide, rows_high(len(names), wide), height=height) as drawn:
        axes, verdicts = drawn.axes, list(shown["verdict"])
        colors = [drawn.ink.of(VERDICTS[verdict]) for verdict in verdicts]
        points = pd.DataFrame(
            {
                "y": range(len(shown)),
                "value": [estimate.value for estimate in estimates],
                "low": [estimate.lower for estimate in estimates],
                "high": [estimate.upper for estimate in estimates],
                "color": colors,
                "marker": [MARKER_OF[verdict] for verdict in verdicts],
                "face": [
                    drawn.ink.paper if verdict == "undecided" else color
                    for verdict, color in zip(verdicts, colors, strict=True)
                ],
            }
        )
        texts = [
            _verdict(row, estimate, drawn) for row, estimate in zip(shown.to_dict("records"), estimates, strict=True)
        ]
        rows(
            drawn,
            axes,
            names,
            points[points["value"].gt(0)],
            texts=[*texts, *[""] * (len(names) - len(texts))],
            thick=2,
        )
        margins = shown["margin"].to_numpy(dtype=float)
        for row, margin in enumerate(margins):
            axes.fill_betweenx([row - 0.5, row + 0.5], 1 / (1 + margin), 1 + margin, color=drawn.ink.faint, zorder=0)
        axes.axvline(1, color=drawn.ink.text, **REFERENCE)
        _change_ticks(axes.xaxis, points, float(margins.max()))
        axes.set_xlabel("change of the time from base to head" + ("" if drawn.is_narrow else ": slower to the right"))
        label = f"margin {span(round_percent(margins.min()), round_percent(margins.max()))}"
        drawn.legend(
            [*_verdict_keys(drawn, verdicts), Patch(facecolor=drawn.ink.faint, edgecolor=drawn.ink.line, label=label)]
        )
    return drawn.figure


def worst_first(frame: pd.DataFrame) -> pd.DataFrame:
    """Sort cases by verdict and by how much slower they are; those without a time come first in their verdict."""
    slower = frame["mean_ratio"].where(frame["described_by"].eq("mean_ratio"), frame["ratio"]).astype(float)
    keys = pd.DataFrame({"rank": frame["verdict"].map(RANKS), "slower": -slower.fillna(math.inf)})
    return frame.loc[keys.sort_values(["rank", "slower"], kind="stable").index]


def _verdict(row: dict[Any, Any], estimate: Estimate, drawn: Sheet) -> str:
    """Write a verdict: its glyph, its word, what decided, and the change."""
    told = change(estimate.value) or "without a time"
    if drawn.is_narrow:
        return f"{GLYPHS[row['verdict']]} {told}"
    which = "in the mean" if row["described_by"] == "mean_ratio" else ""
    how = f"by {row['decided_by']}" if row["decided_by"] in ("counts", "instructions") else which
    interval = change_interval(estimate)
    return "  ".join(filter(None, [GLYPHS[row["verdict"]], row["verdict"], how, told, interval]))


def _verdict_keys(drawn: Sheet, verdicts: Sequence[str]) -> list[Artist]:
    looks = {
        verdict: (drawn.ink.of(VERDICTS[verdict]), MARKER_OF[verdict]) for verdict in RANKS if verdict in set(verdicts)
    }
    return [
        Line2D([], [], color=color, marker=marker, markersize=5, linewidth=1.5, label=verdict)
        for verdict, (color, marker) in looks.items()
    ]


def _change_ticks(axis: Any, points: pd.DataFrame, margin: float) -> None:
    """Make an axis of changes, equally far to both sides, with room for marks and not too long intervals."""
    logs = np.abs(np.log(points[["value", "low", "high"]].where(lambda values: values > 0).to_numpy(dtype=float)))
    farthest = max(
        MIN_REACH * math.log1p(margin), min(float(np.nanmax(logs)) * 1.05, REACH * float(np.nanmax(logs[:, 0])))
    )
    log_ticks(axis, math.exp(-farthest), math.exp(farthest), change)


def _small_multiples(
    titles: Sequence[str],
    times: Sequence[str],
    about: str,
    draw: Callable[[Sheet, Axes, int], None],
    keys: Callable[[Sheet], Sequence[Artist]],
) -> Figure:
    """Draw a panel for each title, with the days of the runs below. The runs stand at 0, 1, ... along x."""
    columns = min(PER_ROW, len(titles))
    shape = math.ceil(len(titles) / columns), columns
    last, is_one_day = len(times) - 1, len({time[:10] for time in times}) == 1
    ticks = sorted({0, last})
    with sheet(None, PAGE, 0.4 + 1.8 * shape[0], shape, sharex=True) as drawn:
        for number, axes in enumerate(drawn.grid.flat):
            if number >= len(titles):
                axes.axis("off")
                continue
            draw(drawn, axes, number)
            axes.set_title(
                textwrap.shorten(titles[number], 88, placeholder="…"), loc="left", fontsize=drawn.small, wrap=True
            )
            axes.grid(axis="y")
            axes.set_xlim(-0.5, last + 0.5)
            axes.set_xticks(ticks, [times[tick][11:] if is_one_day else times[tick][:10] for tick in ticks])
            axes.tick_params(labelbottom=number + columns >= len(titles))
        drawn.figure.supylabel(about, fontsize=drawn.small)
        drawn.legend(keys(drawn))
    return drawn.figure


def checks(frame: pd.DataFrame, times: Sequence[str]) -> Figure | None:
    """Draw the changes of the most telling cases in each check, a panel for each; None if no case is in two checks.

    `frame`: that of `rnnbench.report.verdicts.over_time.frame`; `times`: when each check began.
    """
    known = frame[np.isfinite(frame["change"]) & frame["verdict"].notna()]
    by_case = (
        known.assign(size=np.log(known["change"]).abs(), is_decided=known["verdict"].isin(CHANGED))
        .groupby("case")
        .agg(is_decided=("is_decided", "max"), size=("size", "max"), checks=("size", "size"))
    )
    telling = by_case[by_case["is_decided"] | (by_case["checks"] > 1)].sort_values(
        ["is_decided", "size"], ascending=False
    )
    cases = [known[known["case"] == case] for case in telling.index[:MAX_PANELS]]
    if not cases or telling["checks"].max() < 2:
        return None

    def panel(drawn: Sheet, axes: Axes, number: int) -> None:
        own = cases[number]
        margin = float(own["margin"].max())
        axes.axhspan(1 / (1 + margin), 1 + margin, color=drawn.ink.faint, zorder=0)
        axes.axhline(1, color=drawn.ink.text, **REFERENCE)
        for verdict, rows_of in own.groupby("verdict"):
            color = drawn.ink.of(VERDICTS[verdict])
            axes.vlines(rows_of["check"], rows_of["change_low"], rows_of["change_high"], color=color, linewidth=1.2)
            axes.plot(rows_of["check"], rows_of["change"], MARKER_OF[str(verdict)], color=color, markersize=5)
        points = own.rename(columns={"change": "value", "change_low": "low", "change_high": "high"})
        _change_ticks(axes.yaxis, points, margin)

    def keys(drawn: Sheet) -> list[Artist]:
        return [*_verdict_keys(drawn, known["verdict"].tolist()), Patch(facecolor=drawn.ink.faint, label="margin")]

    names = [one_line(own["name"].iloc[-1]) for own in cases]
    return _small_multiples(names, times, "change from base to head: slower above", panel, keys)


def history(found: History, names: Names) -> Figure | None:
    """Draw the ratios of the most telling cases over all runs, with levels and changes; None if no case is in two."""
    by_case: dict[Case, list[CaseHistory]] = {}
    for line in found.lines:
        by_case.setdefault(line.case, []).append(line)

    def rank(case: Case) -> tuple[float, float]:
        sizes = [abs(math.log(each.ratio.value)) for line in by_case[case] for each in line.significant]
        spread = max(float(np.std([math.log(point.ratio.value) for point in line.points])) for line in by_case[case])
        return -max(sizes, default=0.0), -spread

    cases = sorted(by_case, key=rank)[:MAX_PANELS]
    if not cases:
        return None
    era_of = {run: number for number, era in enumerate(found.eras) for run in era.runs}

    def panel(drawn: Sheet, axes: Axes, number: int) -> None:
        own = by_case[cases[number]]
        for line in own:
            runs = [point.run for point in line.points]
            values, low, high = np.array([(p.ratio.value, p.ratio.lower, p.ratio.upper) for p in line.points]).T
            reach = np.nan_to_num([values - low, high - values])
            axes.errorbar(runs, values, yerr=reach, fmt="o", color=drawn.ink.soft, markersize=3, elinewidth=0.8)
            middle, lower, upper = np.array([(each.value, each.lower, each.upper) for each in line.levels]).T
            axes.step(runs, middle, where="mid", color=drawn.ink.text, linewidth=1.3)
            axes.fill_between(runs, lower, upper, step="mid", color=drawn.ink.line, alpha=0.5, linewidth=0)
            for each in line.significant:
                place = (runs[each.after - 1] + runs[each.after]) / 2
                color = drawn.ink.of(SLOWER if each.ratio.value > 1 else FASTER)
                axes.axvline(place, color=color, linewidth=1.2, linestyle="--")
                axes.annotate(
                    change(each.ratio.value), (place, 1), (2, -2), xycoords=("data", "axes fraction"),
                    textcoords="offset points", weight="bold", fontsize=drawn.small, va="top",
                )  # fmt: skip
        for run in range(1, len(found.runs)):
            if era_of[run] != era_of[run - 1]:
                axes.axvline(run - 0.5, color=drawn.ink.soft, linewidth=1, linestyle=":")
        ratios = [point.ratio for line in own for point in line.points]
        marks = [ratio.value for ratio in ratios]
        every = np.clip([[r.value, r.lower, r.upper] for r in ratios], min(marks) / REACH, max(marks) * REACH)
        log_ticks(axes.yaxis, *limits(every), ratio_tick)

    def keys(drawn: Sheet) -> list[Artist]:
        soft = drawn.ink.soft
        handles: list[Artist] = [
            Line2D([], [], color=soft, marker="o", markersize=3.5, linewidth=0.8, label="one run, 95% interval"),
            Patch(facecolor=drawn.ink.line, alpha=0.5, label="level and its 95% interval"),
        ]
        if any(line.significant for line in found.lines):
            label = f"significant change (q = {round_percent(Q)})"
            handles.append(Line2D([], [], color=drawn.ink.of(SLOWER), linestyle="--", label=label))
        if len(found.eras) > 1:
            handles.append(Line2D([], [], color=soft, linestyle=":", label="another machine or software"))
        return handles

    times = [when(info) for _, info in found.runs]
    about = "time over that of the reference"
    return _small_multiples([names.name(case) for case in cases], times, about, panel, keys)


def together(found: Together, runs: Sequence[str]) -> Figure | None:
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
    place = points["series"].map({name: row for row, name in enumerate(names)})
    points["y"] = place + 0.6 * (points["run"] / last - 0.5)
    with sheet(
        None, PAGE, 0.9 + len(names) * max(0.24, 0.13 * len(runs)), (1, len(phases)), sharex=True, sharey=True
    ) as drawn:
        colors = [drawn.ink.of(level(run / last)) for run in range(len(runs))]
        points["color"] = [colors[run] for run in points["run"]]
        for axes, phase in zip(drawn.grid[0], phases, strict=True):
            rows(drawn, axes, names, points[points["phase"] == phase], thick=2)
            axes.axvline(1, color=drawn.ink.text, **REFERENCE)
            log_ticks(axes.xaxis, *limits(points[["low", "value", "high"]], around=1), ratio_tick)
            axes.set_xlabel("time over that of the reference of the same run")
            drawn.title(axes, phase)
        drawn.legend(
            [
                Line2D([], [], color=color, marker="o", linewidth=2, label=run)
                for color, run in zip(colors, runs, strict=True)
            ]
        )
    return drawn.figure


def benchmarks(summary: pd.DataFrame, saved: BenchmarkFiles) -> Figure | None:
    """Draw the time of each benchmark by group, with the ratio beside it; None if there are too many for a figure."""
    if len(summary) > MAX_ROWS:
        return None
    ordered, names, headings = by_group(summary), list[str](), list[int]()
    places, texts = [], []
    for group, own in ordered.groupby("group", sort=False):
        if ordered["group"].nunique() > 1:
            headings.append(len(names))
            names.append(str(group) or "in no group")
            texts.append("")
        for row in own.to_dict("records"):
            places.append(len(names))
            names.append(str(row["name"]))
            about = "reference" if row["is_reference"] else "" if math.isnan(row["ratio"]) else ratio(row["ratio"])
            texts.append("   ".join(filter(None, [duration(row["seconds"]), about])))
    with sheet(None, PAGE, rows_high(len(names), PAGE)) as drawn:
        axes = drawn.axes
        points = pd.DataFrame(
            {
                "y": places,
                "value": ordered["seconds"],
                "low": ordered["seconds_low"],
                "high": ordered["seconds_high"],
                "color": [drawn.ink.text if is_one else drawn.ink.soft for is_one in ordered["is_reference"]],
                "marker": [OF_TORCH if is_one else "o" for is_one in ordered["is_reference"]],
            }
        )
        spread = ordered["rounds_low_seconds"], ordered["rounds_high_seconds"]
        axes.hlines(places, *spread, color=drawn.ink.line, linewidth=5, zorder=2)
        rows(drawn, axes, names, points, headings=headings, texts=texts, thick=1.4)
        ends = limits(np.concatenate([*spread, *(points[each] for each in ("value", "low", "high"))]))
        log_ticks(axes.xaxis, *ends, duration_tick)
        axes.set_xlabel("time per call (log scale)")
        handles: list[Artist] = []
        if spread[1].notna().any():
            of_whom = "its rounds (one process)" if len(saved.sessions) == 1 else "a process's rounds"
            handles.append(Line2D([], [], color=drawn.ink.line, linewidth=5, label=f"quartiles of {of_whom}"))
        if ordered["seconds_low"].notna().any():
            units = "replicates" if saved.is_exported else "processes"
            label = f"95% interval over {len(saved.sessions):,} {units}"
            handles.append(Line2D([], [], color=drawn.ink.soft, linewidth=1.4, label=label))
        drawn.legend(handles)
    return drawn.figure
