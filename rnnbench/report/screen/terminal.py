"""What `rnnbench run` prints: where, the answer, and a table of medians or of all cases."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import pandas as pd
from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table as Grid
from rich.text import Text

from rnnbench.analysis.estimate import ALWAYS_QUIET
from rnnbench.report import case_tables, environment, latency
from rnnbench.report.environment import machine
from rnnbench.report.facts import Headline, headline
from rnnbench.report.screen.medians import COLUMN_GAP, latency_table, median_table, medians
from rnnbench.report.sentences import of_run, warning
from rnnbench.report.table import Table
from rnnbench.report.words.names import MAIN_SIZES, constants, one_line, say_all, with_short_cells
from rnnbench.report.words.units import half_width, percent, wall_time
from rnnbench.store.metrics import METRICS
from rnnbench.store.run_info import RunInfo
from rnnbench.text import plural

MAX_COLUMN_WIDTH = 28  # of a column that is not the last; longer texts are folded
MAX_SCREEN_REASONS = 6  # why cases have no time
NARROWEST_NAME = 12  # width of the first column, if it holds all that tells rows apart
NARROWEST_LAST = 12  # width of the last column, which is folded
GUESS = "Trust the counts of 'slower'; read 'about' as a guess."


@dataclass(frozen=True)
class RunScreen:
    """What is printed of a run: where and how well it was measured, the answer, a table, and what has no time.

    It is laid out when the width of the console is known.
    """

    summary: pd.DataFrame
    info: RunInfo
    is_full: bool = False  # every case, in place of medians

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines, as rich asks for them."""
        summary = self.summary
        info = self.info
        facts = headline(self.summary)
        yield Text(head_line(summary, info, facts), style="dim")
        if facts.is_noisy:
            yield Text(f"{warning(facts)}{'' if self.is_full else f' {GUESS}'}", style="yellow")
        yield Text()
        yield from (Text(sentence, style="bold") for sentence in of_run(facts))
        if (summary["status"] == "measured").any():
            yield from self._tables(facts, options.max_width)
        yield from self._reasons()

    def _reasons(self) -> Iterator[RenderableType]:
        """Yield why cases have no time; why they were skipped is cut at the end of a line."""
        missing = environment.not_measured(self.summary)
        for reason in missing[:MAX_SCREEN_REASONS]:
            is_whole = self.is_full or reason.status != "skipped"
            yield Text(str(reason), style="yellow", no_wrap=not is_whole, overflow="fold" if is_whole else "ellipsis")
        if len(missing) > MAX_SCREEN_REASONS:
            yield Text(f"{plural(len(missing) - MAX_SCREEN_REASONS, 'more reason')}: the page has all.", style="yellow")

    def _tables(self, facts: Headline, width: int) -> Iterator[RenderableType]:
        """Yield the medians, or every case, and the latency of streams."""
        measured = self.summary[self.summary["status"] == "measured"]
        if self.is_full:
            yield Text(f"\n{_everywhere(measured)}", style="dim")
            measured = with_short_cells(measured)
            yield from _grid(case_tables.table_of_cases(measured), measured, width)
            if streams := latency.table_of_latency(measured):
                yield Text(f"\n{streams.title}", style="bold")
                yield from _grid(streams, measured, width)
            return
        numbers = medians(measured)
        if len(numbers.frame) > 1 or (len(numbers.frame) and not facts.only):  # else the answer has said it
            yield Text()
            yield from median_table(numbers, width, is_noisy=facts.is_noisy)
        yield from latency_table(measured, width)
        if note := case_tables.sizes_of_phases(measured):
            yield Text(note, style="dim")
        same = [axis for axis in MAIN_SIZES if measured[axis].nunique() == 1]
        if same and numbers.are_single and not facts.only:
            yield Text(f"Everywhere: {say_all(same, (measured[axis].iloc[0] for axis in same))}.", style="dim")


def _everywhere(cases: pd.DataFrame) -> str:
    """Say what all rows of the table of cases share: sizes, settings, the phase, and the file of the cells."""
    shared = [constants(cases)]
    if cases["phase"].nunique() == 1:
        shared.insert(0, one_line(cases["phase"].iloc[0]))
    files = {cell.rpartition(":")[0] for cell in cases["cell"]} - {""}
    if len(files) == 1:
        shared.append(f"cells of {one_line(files.pop())}")
    return f"Everywhere: {', '.join(filter(None, shared))}."


def _grid(table: Table, summary: pd.DataFrame, width: int) -> Iterator[RenderableType]:
    """Yield the columns that fit the width, and a line that names the others.

    What tells the rows apart goes last: if that alone has no room, its values stand together in the first column.
    """
    cells = {place: [row[place] for row in table.rows] for place in _wanted(table, summary)}
    headers = dict(enumerate(table.headers))
    apart = [place for place in cells if table.columns[place].tells_apart]
    last = len(table.columns) - 1
    widths = {place: _column_width(headers[place], texts, is_last=place == last) for place, texts in cells.items()}
    first, *axes = apart
    beside = [place for place in cells if place not in apart]
    needed = sum(widths[place] + COLUMN_GAP for place in [*apart, *beside[:1]])
    if needed > width and axes:
        cells[first] = [_joined(table, row, apart) for row in table.rows]
        room = width - sum(widths[place] + COLUMN_GAP for place in beside[:1]) - COLUMN_GAP
        widths[first] = max(room, NARROWEST_NAME)
        apart = [first]
    chosen = [*apart, *beside]
    ends = accumulate(widths[place] + COLUMN_GAP for place in chosen)
    places = sorted(place for place, end in zip(chosen, ends, strict=True) if end <= width or place in apart)
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    for place in places:
        grid.add_column(
            Text(headers[place]),
            justify="right" if table.columns[place].numeric else "left",
            overflow="fold",
            width=widths[place] if place < last else None,
        )
    for number in range(len(table.rows)):
        grid.add_row(*(Text(cells[place][number]) for place in places), end_section=number + 1 in table.breaks)
    yield grid
    left_out = [headers[place] for place in chosen if place not in places]
    if left_out:
        yield Text(f"No room in {width} columns for: {', '.join(left_out)}.", style="dim")


def _wanted(table: Table, summary: pd.DataFrame) -> list[int]:
    """Return the places of the columns to show, the most important first."""
    phases = set(summary["phase"])
    brief = {metric.label for metric in METRICS if metric.is_brief or metric.brief_in in phases}
    places = []
    for place, column in enumerate(table.columns):
        is_shared = place > 0 and column.tells_apart and len({row[place] for row in table.rows}) == 1
        if not is_shared and (not column.is_optional or column.header in brief):
            places.append(place)
    # The last column says whether a number can be trusted, so it goes before costs.
    return sorted(places, key=lambda place: table.columns[place].is_optional)


def _column_width(header: str, texts: Sequence[str], *, is_last: bool) -> int:
    """Return the width of a column, whose header may have several lines; longer texts are folded."""
    widest = max(map(len, [*header.split(), *texts]))
    return min(widest, NARROWEST_LAST if is_last else MAX_COLUMN_WIDTH)


def _joined(table: Table, row: Sequence[str], places: Sequence[int]) -> str:
    """Return what tells a row apart in one text: `lstm loop, inference, batch 1`."""
    first, *others = places
    parts = [row[first]]
    for place in others:
        header = table.headers[place]
        parts.append(row[place] if header == "phase" else f"{header} {row[place]}")
    return ", ".join(parts)


def head_line(summary: pd.DataFrame, info: RunInfo, facts: Headline) -> str:
    """Return `quick: AMD EPYC, 1 thread, float32; 166 cases in 75 s; quiet (±0.8%)`."""
    numbers = summary["status"].value_counts()
    measured = int(numbers.get("measured", 0))
    tried = measured + int(numbers.get("failed", 0) + numbers.get("pending", 0))
    cases = plural(tried, "case") if measured == tried else f"{measured:,} of {plural(tried, 'case')}"
    took = "" if info.seconds is None else f" in {wall_time(info.seconds)}"
    where = ": ".join(filter(None, [one_line(info.suite), machine(summary, info)]))
    parts = [where, f"{cases}{took}", quietness(summary, facts)]
    return "; ".join(filter(None, parts))


def quietness(summary: pd.DataFrame, facts: Headline) -> str:
    """Return `quiet (±0.8%)`, `74% quiet (±1.9%)` or `intervals ±1.9%`; empty if nothing is known.

    The core is quiet while no other hyperthread uses it. The percentage in brackets is that of the typical interval.
    """
    share = summary.loc[summary["status"] == "measured", "quiet_share"].mean()
    state = ""
    if not math.isnan(share):
        state = "quiet" if share >= ALWAYS_QUIET else f"{percent(share)} quiet"
    if math.isnan(facts.half_width) or facts.is_noisy:  # the warning says how wide intervals are
        return "" if state == "quiet" else state
    width = half_width(facts.half_width)
    return f"{state} ({width})" if state else f"intervals {width}"
