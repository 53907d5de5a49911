"""The report of a suite's runs over time: what changed for good, in words, a figure and tables."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from rnnbench.analysis.environments import UNIDENTIFIED
from rnnbench.analysis.history import MIN_CHANGE, MIN_LEVEL_POINTS, CaseHistory, History, LevelChange
from rnnbench.analysis.runs.lost_windows import noted_of_runs
from rnnbench.analysis.verdict import Q
from rnnbench.report.drawing.sheet import picture
from rnnbench.report.figures import comparisons
from rnnbench.report.figures.comparisons import MAX_PANELS
from rnnbench.report.page.section import DIFFERENCES, LEFT_OUT, LOST, Section, of_runs
from rnnbench.report.table import Column, Table, of, table
from rnnbench.report.words.names import Names, commit, names, one_line, when
from rnnbench.report.words.units import (
    MISSING,
    change_cell,
    change_interval,
    count,
    digits,
    interval_cell,
    percent,
    ratio,
    round_percent,
    slower,
    span,
)
from rnnbench.text import plural

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
    figure = comparisons.history(history, case_names)
    pictures = () if figure is None else (picture("history", "Ratios over the runs", CAPTION, figure),)
    tables = (changes(history, case_names), lines(history, case_names), runs(history))
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
    found = [(line, change) for line in history.lines for change in line.significant]
    pairs = {
        word: [pair for pair in found if (pair[1].ratio.value > 1) == (word == "slower")]
        for word in ("slower", "faster")
    }
    counts = [f"{len({line.case for line, _ in of}):,} became {word}" for word, of in pairs.items() if of]
    summary = " and ".join(counts) if counts else "none changed for good"
    tested = f"Benjamini and Hochberg at q = {round_percent(Q)}; below the table stands what that keeps"
    yield f"Of {cases} over {over}, {summary} against their reference ({tested})."
    for word, of_word in pairs.items():
        if of_word:
            line, change = max(of_word, key=lambda pair: abs(pair[1].ratio.value - 1))
            size = f"{slower(change.ratio.value)} {change_interval(change.ratio)}"
            since = _run(history, line, change.after)
            largest = {"slower": "slowdown", "faster": "gain"}[word]
            yield f"The largest {largest}: {case_names.name(line.case)}, {size}, since {since}."
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
    columns = ["case", "from_run", "to_run", "ratio", "low", "high", "p_value", "is_significant", "name", "between"]
    frame = pd.DataFrame([_change(history, case_names, *pair) for pair in found], columns=columns)
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


def _change(history: History, case_names: Names, line: CaseHistory, change: LevelChange) -> dict[str, Any]:
    places = (change.after - 1, change.after)
    from_run, to_run = (history.runs[line.points[index].run][0] for index in places)
    return {
        "case": line.case.key,
        "from_run": from_run,
        "to_run": to_run,
        "ratio": change.ratio.value,
        "low": change.ratio.lower,
        "high": change.ratio.upper,
        "p_value": change.p_value,
        "is_significant": change.is_significant,
        "name": case_names.name(line.case),
        "between": " → ".join(_run(history, line, index) for index in places),
    }


def lines(history: History, case_names: Names) -> Table:
    """Return one row for each case and environment; the CSV has a row for each of its runs."""
    rows = [
        {
            "case": case_names.name(line.case),
            "environment": line.era + 1,
            "runs": len(line.points),
            "first": line.points[0].ratio.value,
            "last": line.points[-1].ratio.value,
            "level now": line.levels[-1].value,
            "significant changes": "; ".join(slower(change.ratio.value) for change in line.significant),
        }
        for line in history.lines
    ]
    columns = ["case", "environment", "runs", "first", "last", "level now", "significant changes"]
    shows = {"environment": count, "runs": count, "first": ratio, "last": ratio, "level now": ratio}
    shown = [
        Column(name, of(name, shows.get(name, str)), numeric=name in shows)
        for name in columns
        if name != "environment" or len(history.eras) > 1
    ]
    frame = pd.DataFrame(rows, columns=columns)
    return table("history", "Every case over the runs", "", shown, frame, machine=_points(history))


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


def runs(history: History) -> Table:
    """Return one row for each run, in order: its folder, time, commit and environment."""
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
