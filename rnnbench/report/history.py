"""The report of a suite's runs over time: what changed for good, in words, a figure and tables."""

import math
import textwrap
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rnnbench.analysis.environments import UNIDENTIFIED
from rnnbench.analysis.estimate import estimate_columns
from rnnbench.analysis.history import MIN_CHANGE, MIN_LEVEL_POINTS, CaseHistory, History
from rnnbench.analysis.run_times import noted_of_runs
from rnnbench.analysis.verdict import Q
from rnnbench.report.colors import FASTER, SLOWER
from rnnbench.report.drawing.draw import limits, log_ticks
from rnnbench.report.drawing.sheet import PAGE, Sheet, picture, sheet
from rnnbench.report.table import DIFFERENCES, LEFT_OUT, LOST, Column, Section, Table, of, of_runs, table
from rnnbench.report.words.names import Names, commit, names, one_line, when
from rnnbench.report.words.units import change as change_text
from rnnbench.report.words.units import (
    change_cell,
    count,
    digits,
    interval_cell,
    percent,
    ratio,
    ratio_tick,
    round_percent,
    slower,
    span,
)
from rnnbench.store.records import Case
from rnnbench.text import plural

MAX_PANELS = 12
PER_ROW = 3  # panels
FARTHEST = 1.5  # times the farthest mark: an axis goes no farther, however long an interval is
CAPTION = (
    "Each point is a run's ratio to the reference that was measured beside it. The line is the level of the case "
    "since its last change. The band is the 95% interval of that level, which includes the scatter from run to run. At "
    f"most {MAX_PANELS} cases are drawn: first those that changed, the largest change first, then those that vary "
    "most. The table has all cases."
)
NOTE = (
    "A change is significant where its p-value, times the places where it could have been found, passes Benjamini and "
    f"Hochberg's procedure over all cases at q = {round_percent(Q)}, and it is {round_percent(MIN_CHANGE)} or "
    "more. A slow drift shows as one or more changes. That q is no bound on what is false: the same points choose the "
    "places and are tested. In simulations (histories of 100 cases, a tenth of them with one step of 3% to 10%) at "
    "most 0.7% of the unchanged cases had a change; of the changes called significant none were false at 10 runs, "
    "1% to 9% at 40. In histories of one to three cases whose runs resemble the runs before them (a correlation of "
    "0.8), up to 5% of the unchanged cases had a change."
)


def section(history: History, left_out: Sequence[str] = ()) -> Section:
    """Return words, figure and tables of a history; `left_out`: the files of others that can't be read."""
    case_names = names(dict.fromkeys(line.case for line in history.lines))
    figure = draw(history, case_names)
    pictures = () if figure is None else (picture("history", "Ratios over the runs", CAPTION, figure),)
    tables = (changes(history, case_names), lines(history, case_names))
    lost = tuple(map(one_line, noted_of_runs(history.runs)))
    warnings = {LEFT_OUT: left_out, LOST: lost, DIFFERENCES: tuple(_notes(history))}
    words = tuple(_words(history, case_names))
    return of_runs("history", "How it changed over the runs", words, warnings, pictures, tables)


def _words(history: History, case_names: Names) -> Iterator[str]:
    if not history.lines:
        yield "No case was measured beside its reference in two runs of the same environment, so nothing can be said."
        return
    cases = plural(len({line.case for line in history.lines}), "case")
    first, last = (history.runs[index][1] for index in (0, -1))
    days = span(when(first)[:10], when(last)[:10])
    over = f"{plural(len(history.runs), 'run')} {'on' if days == when(last)[:10] else 'from'} {days}"
    if max(len(line.points) for line in history.lines) < 2 * MIN_LEVEL_POINTS:
        yield f"{cases} over {over}: too few for a lasting change, which takes two before and two after."
        return
    tested = f"Benjamini and Hochberg at q = {round_percent(Q)}; below the table stands what that keeps"
    became: dict[str, set[Case]] = {"slower": set(), "faster": set()}
    for line in history.lines:
        for change in line.significant:
            became["slower" if change.ratio.value > 1 else "faster"].add(line.case)
    told = " and ".join(f"{len(of):,} became {word}" for word, of in became.items() if of) or "none changed for good"
    yield f"Of {cases} over {over}, {told} against their reference ({tested})."
    spreads = [math.sqrt(era.scatter.of_neighbours) for era in history.eras if len(era.runs) > 1]
    scatter = f"{percent(max(spreads))} (standard deviation) more than their own intervals say"
    yield f"The ratios of an unchanged case in two runs in a row differ by {scatter}."


def _run(history: History, line: CaseHistory, index: int) -> str:
    """`2026-01-01 09:00 1a2b3c4`: when the run at a point of a line was started, and its commit."""
    info = history.runs[line.points[index].run][1]
    return " ".join(filter(None, [when(info), commit(info)]))


def _notes(history: History) -> Iterator[str]:
    """A note on the runs of unknown machines, and on each environment after the first."""
    if history.unidentified:
        was, is_now = ("was", "is") if history.unidentified == 1 else ("were", "are")
        yield f"{plural(history.unidentified, 'run')} {was} {UNIDENTIFIED}, and {is_now} left out."
    for number, era in enumerate(history.eras[1:], 2):
        of_runs, since = plural(len(era.runs), "run"), when(history.runs[era.runs[0]][1])
        differ = one_line("; ".join(era.differences))
        yield f"Environment {number}, {of_runs} since {since}: {differ}. Its runs are not compared with those before."


def changes(history: History, case_names: Names) -> Table:
    """Return one row for each change: the significant ones before the others, larger ones before smaller ones."""
    found = [(line, change) for line in history.lines for change in line.changes]
    found.sort(key=lambda pair: (not pair[1].is_significant, -abs(pair[1].ratio.value - 1)))
    rows = [
        {
            "case": line.case.key,
            "from_run": history.runs[line.points[change.after - 1].run][0],
            "to_run": history.runs[line.points[change.after].run][0],
            "ratio": change.ratio.value,
            "low": change.ratio.lower,
            "high": change.ratio.upper,
            "p_value": change.p_value,
            "is_significant": change.is_significant,
            "name": case_names.name(line.case),
            "between": f"{_run(history, line, change.after - 1)} → {_run(history, line, change.after)}",
        }
        for line, change in found
    ]
    columns = ["case", "from_run", "to_run", "ratio", "low", "high", "p_value", "is_significant", "name", "between"]
    frame = pd.DataFrame(rows, columns=columns)
    shown = [
        Column("case", of("name")),
        Column("change", of("ratio", change_cell), numeric=True),
        Column("95% interval", of(("low", "high"), interval_cell), numeric=True),
        Column("between", of("between")),
        Column("significant", of("is_significant", lambda is_significant: "yes" if is_significant else "no")),
        Column("p", of("p_value", digits), numeric=True),
    ]
    machine = frame.drop(columns=["name", "between"])
    text = frame.drop(columns="case")  # rows are not about cases of a run, by which a page could filter
    return table("history_changes", "Lasting changes over the runs", NOTE, shown, text, machine=machine)


def lines(history: History, case_names: Names) -> Table:
    """Return one row for each case and environment; the CSV has a row for each of its runs."""
    rows, points = [], []
    for line in history.lines:
        rows.append(
            {
                "name": case_names.name(line.case),
                "environment": line.era + 1,
                "runs": len(line.points),
                "first": line.points[0].ratio.value,
                "last": line.points[-1].ratio.value,
                "level": line.levels[-1].value,
                "changes": "; ".join(slower(change.ratio.value) for change in line.significant),
            }
        )
        for point, level in zip(line.points, line.levels, strict=True):
            run, info = history.runs[point.run]
            points.append(
                {"case": line.case.key, "environment": line.era + 1, "run": run, "started": info.started}
                | {"commit": (info.environment.get("git") or {}).get("commit")}
                | estimate_columns("ratio_to_reference", point.ratio)
                | estimate_columns("level", level)
            )
    shown = [
        Column("case", of("name")),
        *([Column("environment", of("environment", count), numeric=True)] if len(history.eras) > 1 else []),
        Column("runs", of("runs", count), numeric=True),
        Column("first", of("first", ratio), numeric=True),
        Column("last", of("last", ratio), numeric=True),
        Column("level now", of("level", ratio), numeric=True),
        Column("significant changes", of("changes")),
    ]
    columns = ["name", "environment", "runs", "first", "last", "level", "changes"]
    frame = pd.DataFrame(rows, columns=columns)
    return table("history", "Every case over the runs", "", shown, frame, machine=pd.DataFrame(points))


def draw(history: History, case_names: Names) -> Figure | None:
    """Draw the ratios of the most telling cases over all runs, with levels and changes; None if no case is in two."""
    by_case: dict[Case, list[CaseHistory]] = {}
    for line in history.lines:
        by_case.setdefault(line.case, []).append(line)

    def rank(case: Case) -> tuple[float, float]:
        sizes = [abs(math.log(each.ratio.value)) for line in by_case[case] for each in line.significant]
        spread = max(float(np.std([math.log(point.ratio.value) for point in line.points])) for line in by_case[case])
        return -max(sizes, default=0.0), -spread

    cases = sorted(by_case, key=rank)[:MAX_PANELS]
    if not cases:
        return None
    columns = min(PER_ROW, len(cases))
    shape = math.ceil(len(cases) / columns), columns
    times, last = [when(info) for _, info in history.runs], len(history.runs) - 1
    is_one_day = len({time[:10] for time in times}) == 1
    with sheet(None, PAGE, 0.4 + 1.8 * shape[0], shape) as drawn:
        for axes, case in zip(drawn.grid.flat, cases, strict=False):
            _panel(drawn, axes, by_case[case])
            for era in history.eras[1:]:
                axes.axvline(era.runs[0] - 0.5, color=drawn.ink.soft, linewidth=1, linestyle=":")
            name = textwrap.shorten(case_names.name(case), 88, placeholder="…")
            axes.set_title(name, loc="left", fontsize=drawn.small, wrap=True)
            axes.grid(axis="y")
            axes.set_xlim(-0.5, last + 0.5)
            ends = sorted({0, last})
            axes.set_xticks(ends, [times[end][11:] if is_one_day else times[end][:10] for end in ends])
        drawn.hide_others(len(cases))
        drawn.figure.supylabel("time over that of the reference", fontsize=drawn.small)
        drawn.legend(_keys(drawn, history))
    return drawn.figure


def _panel(drawn: Sheet, axes: Axes, lines_of_case: Sequence[CaseHistory]) -> None:
    """Draw the points of a case with their intervals, its levels, and what changed for good."""
    for line in lines_of_case:
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
                change_text(each.ratio.value), (place, 1), (2, -2), xycoords=("data", "axes fraction"),
                textcoords="offset points", weight="bold", fontsize=drawn.small, va="top",
            )  # fmt: skip
    ratios = [point.ratio for line in lines_of_case for point in line.points]
    marks = [ratio.value for ratio in ratios]
    every = np.array([(ratio.value, ratio.lower, ratio.upper) for ratio in ratios])
    log_ticks(drawn, axes.yaxis, *limits(every.clip(min(marks) / FARTHEST, max(marks) * FARTHEST)), ratio_tick)


def _keys(drawn: Sheet, history: History) -> list[Artist]:
    """Return the legend."""
    soft = drawn.ink.soft
    keys: list[Artist] = [
        Line2D([], [], color=soft, marker="o", markersize=3.5, linewidth=0.8, label="one run, 95% interval"),
        Patch(facecolor=drawn.ink.line, alpha=0.5, label="level and its 95% interval"),
    ]
    if any(line.significant for line in history.lines):
        label = f"significant change (q = {round_percent(Q)})"
        keys.append(Line2D([], [], color=drawn.ink.of(SLOWER), linestyle="--", label=label))
    if len(history.eras) > 1:
        keys.append(Line2D([], [], color=soft, linestyle=":", label="another machine or software"))
    return keys
