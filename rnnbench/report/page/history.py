"""The section on history: what changed for good over many runs, in words, a figure and tables."""

import math
from collections.abc import Iterator, Sequence

from rnnbench.analysis.environments.processors import UNIDENTIFIED
from rnnbench.analysis.history import CaseHistory, History, LevelChange
from rnnbench.analysis.history.change_points import MIN_LEVEL_POINTS
from rnnbench.analysis.runs.lost_windows import noted_of_runs
from rnnbench.analysis.verdict import Q
from rnnbench.report.figures.all_figures import picture
from rnnbench.report.figures.several_runs import figure_history
from rnnbench.report.figures.several_runs.panels import MAX_PANELS
from rnnbench.report.page.section import DIFFERENCES, LEFT_OUT, LOST, Section, of_runs
from rnnbench.report.tables import table_history
from rnnbench.report.words.axes import one_line
from rnnbench.report.words.case_names import Names, names
from rnnbench.report.words.changes import change_interval, slower
from rnnbench.report.words.run_names import commit, when
from rnnbench.report.words.units import percent, round_percent, span
from rnnbench.text import plural

CAPTION = (
    "Each point is a run's ratio to the reference that was measured beside it. The line is the level of the case "
    "since its last change, or its drift. The band is the 95% interval of that line, which includes the scatter from "
    "run to run. At "
    "most {panels} cases are drawn: first those that changed, the largest change first, then those that vary "
    "most. The table has all cases."
)


def section(history: History, left_out: Sequence[str] = ()) -> Section:
    """Words, figure and tables of a history; `left_out`: the files of others that can't be read."""
    case_names = names(dict.fromkeys(line.case for line in history.lines))
    caption = CAPTION.format(panels=MAX_PANELS)
    figure = figure_history.render(history, case_names)
    pictures = () if figure is None else (picture("history", "Ratios over the runs", caption, figure),)
    tables = (
        table_history.changes(history, case_names),
        table_history.lines(history, case_names),
        table_history.runs(history),
    )
    words = tuple(_words(history, case_names))
    lost = tuple(map(one_line, noted_of_runs(history.runs)))
    warnings = {LEFT_OUT: left_out, LOST: lost, DIFFERENCES: notes(history)}
    return of_runs("history", "How it changed over the runs", words, warnings, pictures, tables)


def _words(history: History, case_names: Names) -> Iterator[str]:
    cases = len({line.case for line in history.lines})
    if not cases:
        yield "No case was measured beside its reference in two runs of the same environment, so nothing can be said."
        return
    first, last = (history.runs[index][1] for index in (0, -1))
    changes = [(line, change) for line in history.lines for change in line.significant]
    by_direction = [[pair for pair in changes if (pair[1].ratio.value > 1) == is_slower] for is_slower in (True, False)]
    days = span(when(first)[:10], when(last)[:10])
    over = f"{plural(len(history.runs), 'run')} {'on' if days == when(last)[:10] else 'from'} {days}"
    counts = [
        f"{len({line.case for line, _ in pairs}):,} became {word}"
        for pairs, word in zip(by_direction, ("slower", "faster"), strict=True)
        if pairs
    ]
    if max(len(line.points) for line in history.lines) < 2 * MIN_LEVEL_POINTS:
        too_few = "too few for a lasting change, which takes two before and two after"
        yield f"{plural(cases, 'case')} over {over}: {too_few}."
        return
    summary = " and ".join(counts) if counts else "none changed for good"
    tested = f"Benjamini and Hochberg at q = {round_percent(Q)}; below the table stands what that keeps"
    yield f"Of {plural(cases, 'case')} over {over}, {summary} against their reference ({tested})."
    for pairs, word in zip(by_direction, ("slowdown", "gain"), strict=True):
        if pairs:
            line, change = max(pairs, key=lambda pair: abs(pair[1].ratio.value - 1))
            size = f"{slower(change.ratio.value)} {change_interval(change.ratio)}"
            yield f"The largest {word}: {case_names.name(line.case)}, {size}, {_where(history, line, change)}."
    if drifting := [line for line, change in changes if change.is_gradual]:
        yield (
            f"{plural(len(drifting), 'case')} drifted: a straight line over the runs fits at least as well as steps, "
            "so no run or commit is named."
        )
    spreads = [math.sqrt(era.scatter.of_neighbours) for era in history.eras if len(era.runs) > 1]
    scatter = f"{percent(max(spreads))} (standard deviation) more than their own intervals say"
    yield f"The ratios of an unchanged case in two runs in a row differ by {scatter}."


def _where(history: History, line: CaseHistory, change: LevelChange) -> str:
    """`since 2026-01-01 09:00 1a2b3c4`, or `gradually over 40 runs, at no single run`."""
    if change.is_gradual:
        return f"gradually over {plural(len(line.points), 'run')}, at no single run"
    info = history.runs[line.points[change.after].run][1]
    return " ".join(filter(None, ["since", when(info), commit(info)]))


def notes(history: History) -> tuple[str, ...]:
    """A note on the runs of unknown machines and on each environment after the first; empty if all runs share one."""
    texts = []
    if history.unidentified:
        was, is_now = ("was", "is") if history.unidentified == 1 else ("were", "are")
        texts.append(f"{plural(history.unidentified, 'run')} {was} {UNIDENTIFIED}, and {is_now} left out.")
    for number, era in enumerate(history.eras[1:], 2):
        info = history.runs[era.runs[0]][1]
        differ = one_line("; ".join(era.differences))
        texts.append(
            f"Environment {number}, {plural(len(era.runs), 'run')} since {when(info)}: {differ}. "
            "Its runs are not compared with those before."
        )
    return tuple(texts)
