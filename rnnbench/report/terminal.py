"""What `rnnbench run` prints: every case by workload, then the medians, then the answer in words."""

import io
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table as Grid
from rich.text import Text

from rnnbench.report import headline, table_medians
from rnnbench.report.axes import SETTINGS, SIZES, constants, one_line, say_all, several, word
from rnnbench.report.precision import missed
from rnnbench.report.table import Table
from rnnbench.report.table_ratios import by_workload
from rnnbench.report.units import duration, ratio, ratio_interval
from rnnbench.store.folder import RunInfo

GAP = 2  # between columns; one of it is rich's own divider
HEADS = ("cell", "time", "ratio to\ntorch.nn", "95%\ninterval", "note")
LONGEST_NAME = 28  # longer names are folded
NOTE_WIDTH = 9  # "no parity"; the rest of a note goes to the next line
COLORS = {"failed": "red", "skipped": "yellow"}


@dataclass(frozen=True)
class Line:
    """One case as text, and the workload it belongs to."""

    axes: tuple[Any, ...]
    group: int
    texts: tuple[str, ...]  # as in HEADS
    style: str


@dataclass(frozen=True)
class Screen:
    """The whole output; laid out when the width of the console is known."""

    summary: pd.DataFrame
    info: RunInfo

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Rich's protocol."""
        yield from _parts(self.summary, self.info, options.max_width)


def render(summary: pd.DataFrame, info: RunInfo) -> RenderableType:
    """What to hand to a rich console of any width."""
    return Screen(summary, info)


def text(summary: pd.DataFrame, info: RunInfo, width: int = 100) -> str:
    """The same as plain text."""
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, legacy_windows=False).print(render(summary, info))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _parts(summary: pd.DataFrame, info: RunInfo, width: int) -> Iterable[RenderableType]:
    yield Text(one_line(f"{info.suite}: {info.description}" if info.description else info.suite), style="bold")
    if len(summary):
        yield Text(f"Everywhere: {constants(summary)}. Ratios are time over that of torch.nn.", style="dim")
        notes: dict[str, int] = {}
        axes = ["phase", *several(summary, (*SETTINGS, *SIZES))]
        lines = [_line(row, axes, info, notes) for row in by_workload(summary).to_dict("records")]
        yield from _sections(axes, lines, width)
        yield Text("".join(f"\n({number}) {reason}" for reason, number in notes.items()))
        yield Text("\n" if notes else "", end="")
        yield Text("Over all sizes", style="bold")
        yield _grid_of(table_medians.render(summary))
        yield Text()
    yield Text(headline.answer(summary, info), style="bold")
    yield Text(headline.counts(summary))


def _line(row: dict[Any, Any], axes: Sequence[str], info: RunInfo, notes: dict[str, int]) -> Line:
    """A case as text; its reason is numbered in `notes`, since many cases share one."""
    missing = row["status"] != "measured"
    unchecked = not missing and row["parity"] not in ("agrees", "is the reference")
    reason = one_line(row["reason"] if missing else row["parity"]) if missing or unchecked else ""
    reasons = [reason, missed(row, info)]
    number = " ".join(f"({notes.setdefault(note, len(notes) + 1)})" for note in reasons if note)
    own = row["implementation"] != "torch.nn"
    texts = (
        row["series"],
        row["status"] if missing else duration(row["seconds"]),
        "" if missing else ratio(row["ratio"]),
        ratio_interval(row["ratio_low"], row["ratio_high"]) if own and not missing else "",
        f"no parity check {number}".rstrip() if unchecked else number,
    )
    return Line(
        tuple(row[axis] for axis in axes), row["group"], texts, COLORS.get(row["status"], "" if own else "bold")
    )


def _sections(axes: Sequence[str], lines: Sequence[Line], width: int) -> Iterable[RenderableType]:
    """Tables whose columns fit: axes that have no room as columns, the slowest first, become headings."""
    widths = [max(len(part) for part in _column(axes, lines, place)) for place in range(len(axes) + len(HEADS))]
    widths[len(axes)] = min(widths[len(axes)], LONGEST_NAME)
    longest_note, widths[-1] = widths[-1], min(widths[-1], NOTE_WIDTH)
    fitting = (up for up in range(len(axes)) if sum(widths[up:]) + GAP * (len(widths[up:]) - 1) <= width)
    up = next(fitting, len(axes))
    room = width - sum(widths[up:-1]) - GAP * (len(widths[up:]) - 1)
    widths[-1] = max(widths[-1], min(longest_note, room))
    sections: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines:
        sections.setdefault(line.axes[:up], []).append(line)
    for values, members in sections.items():
        yield Text()
        if up:
            yield Text(say_all(axes[:up], values), style="bold")
        yield _grid(axes[up:], members, widths[up:], up)


def _column(axes: Sequence[str], lines: Sequence[Line], place: int) -> Iterable[str]:
    """Everything that stands in one column of the full table, its heading included."""
    if place < len(axes):
        return [word(axes[place]), *(one_line(line.axes[place]) for line in lines)]
    place -= len(axes)
    return [*HEADS[place].split("\n"), *(line.texts[place] for line in lines)]


def _grid(axes: Sequence[str], lines: Sequence[Line], widths: Sequence[int], up: int) -> Grid:
    """The cases of one section: groups apart, values that repeat those of the row above left blank."""
    grid = _empty_grid()
    numeric = [*(axis in SIZES for axis in axes), False, True, True, True, False]
    for head, width, is_number in zip([*map(word, axes), *HEADS], widths, numeric, strict=True):
        justify: Literal["right", "left"] = "right" if is_number else "left"
        grid.add_column(head, justify=justify, overflow="fold", width=width)
    before: tuple[Any, ...] = ()
    for place, line in enumerate(lines):
        here = line.axes[up:]
        if place and line.group != lines[place - 1].group:
            grid.add_section()
            before = lines[place - 1].axes[up:]
        same = place > 0 and line.group == lines[place - 1].group
        kept = len(here) if same else _shared(before, here)
        shown = ["" if index < kept else one_line(value) for index, value in enumerate(here)]
        grid.add_row(*(Text(part) for part in (*shown, *line.texts)), style=line.style)
    return grid


def _shared(before: Sequence[Any], here: Sequence[Any]) -> int:
    """How many of the first values are those of the row above, and need no repeating."""
    return next((place for place, (old, new) in enumerate(zip(before, here, strict=False)) if old != new), len(before))


def _empty_grid() -> Grid:
    return Grid(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, GAP - 1, 0, 0), header_style="dim")


def _grid_of(table: Table) -> Grid:
    """A table of the report, every column of which fits."""
    grid = _empty_grid()
    for place, (header, is_number) in enumerate(zip(table.headers, table.numeric, strict=True)):
        longest = max((len(row[place]) for row in table.rows), default=0)
        grid.add_column(
            textwrap.fill(header, max(longest, 8)),
            justify="right" if is_number else "left",
            overflow="fold",
            min_width=min(longest, LONGEST_NAME),
            max_width=LONGEST_NAME,
        )
    for row in table.rows:
        grid.add_row(*map(Text, row))
    return grid
