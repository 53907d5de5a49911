"""What `rnnbench run` prints: a table of medians or of all cases, and the answer below it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

import pandas as pd
from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table as Grid
from rich.text import Text

from rnnbench.report import cases, environment, latency
from rnnbench.report.table import Table
from rnnbench.report.words.names import one_line
from rnnbench.store.metrics import METRICS
from rnnbench.store.run_info import RunInfo
from rnnbench.text import plural

MAX_CASES = 36  # of more, the medians are printed, unless all are asked for
MAX_WIDTH = 28  # of a column that is not the last; longer texts are folded
MAX_REASONS = 6  # why cases have no time
GAP = 2  # spaces between columns; one of them is rich's own divider
NARROWEST = 12  # width of the last column, which is folded


@dataclass(frozen=True)
class RunScreen:
    """The whole output, laid out when the width of the console is known."""

    summary: pd.DataFrame
    info: RunInfo
    is_full: bool = False  # every case, however many there are

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Rich's protocol."""
        summary, info, width = self.summary, self.info, options.max_width
        first, *more = cases.sentences(summary, info)
        counts, missing = cases.counts(summary), environment.not_measured(summary)
        if not (summary["status"] == "measured").any():
            yield Text("; ".join([first.removesuffix("."), counts, *missing[:1]]))
            return
        title = f"{info.suite}: {info.description}" if info.description else info.suite
        yield Text(one_line(title), style="dim")
        yield Text(cases.about(summary), style="dim")
        if len(summary) > MAX_CASES and not self.is_full:
            medians = cases.table_of_medians(summary)
            compared = medians.frame["compared"].gt(0) & medians.frame["parity"].ne("is the reference")
            rows = tuple(row for row, is_shown in zip(medians.rows, compared, strict=False) if is_shown)
            yield from _grid(replace(medians, rows=rows), summary, width)
            yield Text(f"{medians.note} --full prints all {len(summary):,} cases.", style="dim")
        else:
            yield from _grid(cases.table_of_cases(summary), summary, width)
        if streams := latency.table_of_latency(summary):
            yield Text(f"\n{streams.title}", style="bold")
            yield from _grid(streams, summary, width)
        yield Text("\n".join(["", *missing[:MAX_REASONS]]), style="yellow")
        if len(missing) > MAX_REASONS:
            yield Text(f"and {plural(len(missing) - MAX_REASONS, 'more reason')}: the report has all.", style="yellow")
        yield Text(f"{' '.join([first, *more])}\n{counts}", style="bold")


def _grid(table: Table, summary: pd.DataFrame, width: int) -> Iterator[RenderableType]:
    """Yield the columns that fit the width, the more important ones first, and a line that names the others."""
    phases = set(summary["phase"])
    brief = {metric.label for metric in METRICS if metric.is_brief or metric.brief_in in phases}
    last = len(table.columns) - 1
    chosen = [place for place, column in enumerate(table.columns) if not column.is_optional or column.header in brief]
    # The last column says whether a number can be trusted, so it goes before costs.
    chosen.sort(key=lambda place: table.columns[place].is_optional)
    texts = {place: [*table.headers[place].split(), *(row[place] for row in table.rows)] for place in chosen}
    widest = {place: max(map(len, texts[place])) for place in chosen}
    widths = {place: min(size, MAX_WIDTH if place < last else NARROWEST) for place, size in widest.items()}
    ends = accumulate(widths[place] + GAP for place in chosen)
    shown = sorted(place for place, end in zip(chosen, ends, strict=True) if end <= max(width, widths[0] + GAP))
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    for place in shown:
        grid.add_column(
            Text(table.headers[place]),
            justify="right" if table.columns[place].numeric else "left",
            overflow="fold",
            width=widths[place] if place < last else None,
        )
    for number, row in enumerate(table.rows):
        grid.add_row(*(Text(row[place]) for place in shown), end_section=number + 1 in table.breaks)
    yield grid
    if len(shown) < len(chosen):
        left_out = ", ".join(table.headers[place] for place in chosen if place not in shown)
        yield Text(f"No room in {width} columns for: {left_out}.", style="dim")
