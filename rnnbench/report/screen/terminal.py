"""What `rnnbench run` prints: every case by workload, then the medians, then the answer in words."""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd
from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table as Grid
from rich.text import Text

from rnnbench.report.plain_text import plain_text
from rnnbench.report.tables import table_epochs, table_latency, table_medians
from rnnbench.report.tables.table import Table
from rnnbench.report.tables.table_ratios import case_interval
from rnnbench.report.words import headline
from rnnbench.report.words.axes import SETTINGS, SIZES, constants, one_line, say_all, several, word
from rnnbench.report.words.metrics import brief, known, with_metrics
from rnnbench.report.words.precision import missed, suspect, waits
from rnnbench.report.words.reference import words
from rnnbench.report.words.series import by_workload
from rnnbench.report.words.units import duration, quantity, ratio
from rnnbench.store.metrics import Metric
from rnnbench.store.records import REFERENCES
from rnnbench.store.run_info import RunInfo

GAP = 2  # spaces between columns; one of them is rich's own divider
HEADS = ("cell", "time", "ratio to\n{}", "95%\ninterval")
HEAD_WIDTH = 9  # of a metric's label before it goes to the next line
MAX_NAME_LENGTH = 28  # longer names are folded
NARROWEST = 8  # minimum width of columns of words, which are folded if not all columns fit
NOTE_WIDTH = 9  # "no parity"; the rest of a note goes to the next line
COLORS = {"failed": "red", "skipped": "yellow"}


@dataclass(frozen=True)
class CaseLine:
    """One case as text, and the workload it belongs to."""

    axes: tuple[Any, ...]
    group: int
    texts: tuple[str, ...]  # as in HEADS
    metrics: tuple[str, ...]  # least important: left out first if there is no room
    note: str
    style: str


@dataclass(frozen=True)
class TableLayout:
    """Which values of the cases have a column, and the widths of the columns."""

    axes: tuple[str, ...]  # in columns
    up: int  # number of axes before these, which are headings
    heads: tuple[str, ...]  # of all columns after the axes
    metrics: int  # number of metrics that have a column
    widths: tuple[int, ...]


@dataclass(frozen=True)
class RunScreen:
    """The whole output, laid out when the width of the console is known."""

    summary: pd.DataFrame
    info: RunInfo

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Rich's protocol."""
        yield from _parts(self.summary, self.info, options.max_width)


def render(summary: pd.DataFrame, info: RunInfo) -> RenderableType:
    """The output for a rich console of any width."""
    return RunScreen(summary, info)


def text(summary: pd.DataFrame, info: RunInfo, width: int = 100) -> str:
    """The output as plain text."""
    return plain_text(render(summary, info), width)


def _parts(summary: pd.DataFrame, info: RunInfo, width: int) -> Iterable[RenderableType]:
    yield Text(one_line(f"{info.suite}: {info.description}" if info.description else info.suite), style="bold")
    if len(summary):
        reference = words(summary)
        yield Text(f"Everywhere: {constants(summary)}. {reference.ratios}", style="dim")
        notes: dict[str, int] = {}
        axes = ["phase", *several(summary, (*SETTINGS, *SIZES))]
        frame = with_metrics(by_workload(summary))
        metrics = known(frame, brief(set(summary["phase"])))
        named = HEADS if reference.has_ratios else HEADS[:2]
        heads = [head.format(reference.name.removeprefix("the ")) for head in named]
        lines = [_line(row, axes, metrics, info, notes) for row in frame.to_dict("records")]
        lines = [replace(line, texts=line.texts[: len(heads)]) for line in lines]
        yield from _sections(axes, heads, metrics, lines, width)
        yield Text("".join(f"\n({number}) {reason}" for reason, number in notes.items()))
        yield Text("\n" if notes else "", end="")
        if reference.has_ratios:
            yield Text("Over all sizes", style="bold")
            yield _grid_of(table_medians.render(summary))
            yield Text()
        for table in filter(None, [table_latency.render(summary, with_intervals=False), table_epochs.render(summary)]):
            yield Text(table.title, style="bold")
            yield _grid_of(table)
            yield Text()
    yield Text(" ".join(filter(None, [headline.answer(summary, info), headline.limit(summary)])), style="bold")
    yield Text(headline.counts(summary))


def _line(
    row: dict[Any, Any], axes: Sequence[str], metrics: Sequence[Metric], info: RunInfo, notes: dict[str, int]
) -> CaseLine:
    """A case as text; its reason is a number in `notes`, since many cases share a reason."""
    missing = row["status"] != "measured"
    unchecked = not missing and row["parity"] not in ("agrees", "is the reference")
    reason = one_line(row["reason"] if missing else row["parity"]) if missing or unchecked else ""
    reasons = [reason, suspect(row), missed(row, info), waits(row)]
    number = " ".join(f"({notes.setdefault(note, len(notes) + 1)})" for note in reasons if note)
    own = row["implementation"] not in REFERENCES
    texts = (
        row["series"],
        row["status"] if missing else duration(row["seconds"]),
        "" if missing else ratio(row["ratio"]),
        case_interval(row["ratio_low"], row["ratio_high"]) if own and not missing else "",
    )
    return CaseLine(
        tuple(row[axis] for axis in axes),
        row["group"],
        texts,
        tuple("" if missing else quantity(row[metric.name], metric.unit) for metric in metrics),
        f"no parity check {number}".rstrip() if unchecked else number,
        COLORS.get(row["status"], "" if own else "bold"),
    )


def _sections(
    axes: Sequence[str], named: Sequence[str], metrics: Sequence[Metric], lines: Sequence[CaseLine], width: int
) -> Iterable[RenderableType]:
    """Tables whose columns fit the width; axes without a column are in a heading above each table."""
    layout = _layout(axes, named, metrics, lines, width)
    sections: dict[tuple[Any, ...], list[CaseLine]] = {}
    for line in lines:
        sections.setdefault(line.axes[: layout.up], []).append(line)
    for values, members in sections.items():
        yield Text()
        if layout.up:
            yield Text(say_all(axes[: layout.up], values), style="bold")
        yield _grid(layout, members)


def _layout(
    axes: Sequence[str], named: Sequence[str], metrics: Sequence[Metric], lines: Sequence[CaseLine], width: int
) -> TableLayout:
    """The layout that fits the most metrics: axes become headings to make room, the slowest-varying first.

    Two axes stay columns as long as a metric does. `named`: the heads of the columns that are always there.
    """
    heads = [textwrap.fill(one_line(metric.label), HEAD_WIDTH) for metric in metrics]
    first = [_widest([word(axis)], (one_line(line.axes[index]) for line in lines)) for index, axis in enumerate(axes)]
    middle = [_widest(head.split("\n"), (line.texts[index] for line in lines)) for index, head in enumerate(named)]
    middle[0] = min(middle[0], MAX_NAME_LENGTH)
    last = [_widest(head.split("\n"), (line.metrics[index] for line in lines)) for index, head in enumerate(heads)]
    longest_note = _widest(["note"], (line.note for line in lines))
    note = min(longest_note, NOTE_WIDTH)

    def used(shown: int, up: int) -> int:
        return sum(size + GAP for size in (*first[up:], *middle, *last[:shown])) + note

    choices = [
        *((shown, up) for shown in range(len(metrics), 0, -1) for up in range(max(len(axes) - 1, 1))),
        *((0, up) for up in range(len(axes))),
    ]
    shown, up = next((choice for choice in choices if used(*choice) <= width), (0, len(axes)))
    room = min(longest_note, note + max(width - used(shown, up), 0))
    widths = (*first[up:], *middle, *last[:shown], room)
    return TableLayout(tuple(axes[up:]), up, (*named, *heads[:shown], "note"), shown, widths)


def _widest(head: Iterable[str], texts: Iterable[str]) -> int:
    return max(map(len, (*head, *texts)))


def _grid(layout: TableLayout, lines: Sequence[CaseLine]) -> Grid:
    """The cases of one section: groups apart, values that repeat those of the row above left blank."""
    grid = _empty_grid()
    names = ("cell", "note")
    numeric = [*(axis in SIZES for axis in layout.axes), *(head not in names for head in layout.heads)]
    heads = [*map(word, layout.axes), *layout.heads]
    for head, width, is_number in zip(heads, layout.widths, numeric, strict=True):
        justify: Literal["right", "left"] = "right" if is_number else "left"
        grid.add_column(Text(head), justify=justify, overflow="fold", width=width)
    previous: tuple[Any, ...] = ()
    for index, line in enumerate(lines):
        values = line.axes[layout.up :]
        if index and line.group != lines[index - 1].group:
            grid.add_section()
            previous = lines[index - 1].axes[layout.up :]
        same = index > 0 and line.group == lines[index - 1].group
        kept = len(values) if same else _shared(previous, values)
        shown = ["" if column < kept else one_line(value) for column, value in enumerate(values)]
        texts = (*shown, *line.texts, *line.metrics[: layout.metrics], line.note)
        grid.add_row(*map(Text, texts), style=line.style)
    return grid


def _shared(previous: Sequence[Any], values: Sequence[Any]) -> int:
    """How many of the first values are the same as in the row above, and are not repeated."""
    pairs = enumerate(zip(previous, values, strict=False))
    return next((index for index, (old, new) in pairs if old != new), len(previous))


def _empty_grid() -> Grid:
    return Grid(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, GAP - 1, 0, 0), header_style="dim")


def _grid_of(table: Table) -> Grid:
    """A table of the report; if its columns do not fit, words are folded and numbers are not."""
    grid = _empty_grid()
    for index, (header, is_number) in enumerate(zip(table.headers, table.numeric, strict=True)):
        longest = max((len(row[index]) for row in table.rows), default=0)
        grid.add_column(
            textwrap.fill(header, max(longest, 8)),
            justify="right" if is_number else "left",
            overflow="fold",
            min_width=min(longest, MAX_NAME_LENGTH if is_number else NARROWEST),
            max_width=MAX_NAME_LENGTH,
        )
    for row in table.rows:
        grid.add_row(*map(Text, row))
    return grid
