"""The tables that `rnnbench run` prints: medians and ranges, the phases side by side, and the latency of streams."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table as Grid
from rich.text import Text

from rnnbench.analysis.summary import LATE_SHARE, LATENCIES, measured_streams, quantile_name
from rnnbench.report.facts import ABOUT_STAR, NO_REFERENCE, agreed, counted, is_shared, reference_name, star, tally
from rnnbench.report.words.names import (
    CONTEXT,
    SETTINGS,
    SIZES,
    is_reference,
    one_line,
    say_all,
    several,
    swept,
    with_series,
    with_short_cells,
)
from rnnbench.report.words.units import duration, duration_interval, ratio, ratio_interval, round_percent

MAX_SINGLE = 8  # rows of single cases; of more cases, each series has one row
MAX_SCREEN_ROWS = 40
COLUMN_GAP = 2  # spaces between columns
MIN_NAME = 16  # columns of a name, which is folded where there is no room


@dataclass(frozen=True)
class Medians:
    """The numbers of the table, which has a row for each name and columns for each phase."""

    frame: pd.DataFrame  # a row for each name and phase; see `medians`
    reference: str  # to what the ratios are: see `reference_name`
    are_ratios: bool  # otherwise times in seconds, since there is no reference
    are_single: bool  # each row is one case; its ends are those of its interval


@dataclass(frozen=True)
class ScreenColumn:
    """A column of text below two lines of headings; the first line is the phase, above the last of its columns."""

    phase: str  # or another heading of neighbours; empty: none
    header: str
    texts: tuple[str, ...]
    rank: int = 0  # where there is no room, the highest go first
    is_left: bool = False


def medians(summary: pd.DataFrame) -> Medians:
    """Find the median, the lowest and the highest ratio of each series and phase.

    Each case of a few has a row of its own, with its interval in place of a range. Columns of `frame`: `name`, `phase`,
    `median`, `low`, `high`, `mark` (a star: on a shared core, and others are not), `cases`, `slower`, `faster`,
    `unclear` and `outputs`, which says whether outputs agree.
    """
    frame = with_series(with_short_cells(summary))
    selection = frame[~is_reference(frame) & (frame["status"] == "measured")]
    value = "ratio" if selection["ratio"].notna().any() else "seconds"
    selection = selection.dropna(subset=[value])
    context = several(selection, CONTEXT)
    sizes = [axis for axis in swept(selection, (*SETTINGS, *SIZES)) if axis not in CONTEXT]
    has_both_states = is_shared(selection).nunique() > 1
    are_single = selection.groupby(["series", *context, *sizes], sort=False).ngroups <= MAX_SINGLE
    axes = [*context, *(sizes if are_single else [])]
    place = pd.Series(pd.factorize(selection["series"])[0], selection.index)
    selection = selection.loc[place.sort_values(kind="stable").index]
    is_told = selection["series"].nunique() > 1  # else the answer names the only series
    name_parts = [*zip(selection["series"], selection[axes].to_numpy(object), strict=True)]
    selection = selection.assign(
        name=[_name(series, say_all(axes, values), is_told=is_told) for series, values in name_parts]
    )
    rows = []
    for (name, phase), cases in selection.groupby(["name", "phase"], sort=False):
        main = counted(cases)
        numbers = main[value]
        counts = tally(cases)
        lows = main[f"{value}_low"] if are_single else numbers
        highs = main[f"{value}_high"] if are_single else numbers
        rows.append(
            {"name": name, "phase": phase, "median": numbers.median(), "low": lows.min(), "high": highs.max()}
            | {"mark": star(main, has_both_states=has_both_states)}
            | {"cases": len(cases), "outputs": agreed(parity.word for parity in cases["parity"])}
            | {kind: counts.get(kind, 0) for kind in ("slower", "faster", "unclear")}
        )
    columns = ["name", "phase", "median", "low", "high", "mark", "cases", "outputs", "slower", "faster", "unclear"]
    return Medians(pd.DataFrame(rows, columns=columns), reference_name(summary), value == "ratio", are_single)


def _name(series: str, sizes: str, *, is_told: bool) -> str:
    """Return the name of a row: `lstm loop, batch 1`, or only the sizes of a series that is told elsewhere."""
    return ", ".join(filter(None, [series, sizes])) if is_told or not sizes else sizes


def median_table(table: Medians, width: int, *, is_noisy: bool) -> Iterator[RenderableType]:
    """Yield the table of medians, which is at most `width` wide, and what is to know of it.

    In a noisy run, counts of slower and faster cases stand in place of ranges.
    """
    every = list(dict.fromkeys(table.frame["name"]))
    names = every[:MAX_SCREEN_ROWS]
    head = f"time over\n{one_line(table.reference)}'s" if table.are_ratios else "time of\na call"
    yield from grid(head, names, _columns(table, names, is_noisy=is_noisy), width)
    if table.frame["mark"].any():
        yield Text(ABOUT_STAR)
    if more := len(every) - len(names):
        yield Text(f"{more:,} more rows: --full prints every case.")


def latency_table(summary: pd.DataFrame, width: int) -> Iterator[RenderableType]:
    """Yield a table with the latency of each series of streams, if there are any.

    A quantile is the median over the streams of the series, the share of late steps the highest of them.
    """
    streams = with_series(measured_streams(summary))
    if streams.empty or streams["latency_p50"].isna().all():
        return
    series = streams.groupby("series", sort=False)
    columns = [ScreenColumn("", quantile_name(name), tuple(map(duration, series[name].median()))) for name in LATENCIES]
    if streams[LATE_SHARE].notna().any():
        columns.append(ScreenColumn("", "late, at worst", tuple(map(round_percent, series[LATE_SHARE].max()))))
    yield Text("\na step takes at most:")
    yield from grid("stream", list(map(str, series.groups)), columns, width)


def grid(head: str, names: Sequence[str], columns: list[ScreenColumn], width: int) -> Iterator[RenderableType]:
    """Yield a table with a row for each name; `head`: the heading of the names.

    Where there is no room, the columns of the highest rank go, then names are folded, the other ranks go, and the last
    columns. A line says which went.
    """
    longest = max(map(cell_len, (*head.splitlines(), *names)))
    dropped = dict[str, None]()
    for rank, enough in ((2, longest), (1, min(longest, MIN_NAME))):
        if _room(columns, width) < enough:
            dropped |= {column.header: None for column in columns if column.rank == rank}
            columns = [column for column in columns if column.rank != rank]
    while _room(columns, width) < min(longest, MIN_NAME) and len(columns) > 1:
        dropped[columns.pop().header] = None
    rows = Grid(box=None, pad_edge=False, padding=(0, COLUMN_GAP, 0, 0), header_style="")
    rows.add_column(Text(head), overflow="fold", width=max(min(longest, _room(columns, width)), 1))
    for column, heading in zip(columns, _headings(columns), strict=True):
        rows.add_column(Text(heading), justify="left" if column.is_left else "right", no_wrap=True)
    for place, name in enumerate(names):
        rows.add_row(Text(name), *(Text(column.texts[place]) for column in columns))
    yield rows
    if dropped:
        yield Text(f"No room in {width} columns for: {', '.join(dropped)}.")


def _room(columns: Sequence[ScreenColumn], width: int) -> int:
    """Return how many columns of the terminal are left for the names."""
    texts = zip(_headings(columns), columns, strict=True)
    widths = [max(map(cell_len, (*heading.splitlines(), *column.texts))) for heading, column in texts]
    return width - sum(widths) - COLUMN_GAP * len(widths)


def _headings(columns: Sequence[ScreenColumn]) -> list[str]:
    """Return the headings of the columns: a phase stands above the last of its columns."""
    if not any(column.phase for column in columns):
        return [column.header for column in columns]
    after = [*(column.phase for column in columns[1:]), ""]
    return [
        f"{column.phase if column.phase != following else ''}\n{column.header}"
        for column, following in zip(columns, after, strict=True)
    ]


def _columns(table: Medians, names: Sequence[str], *, is_noisy: bool) -> list[ScreenColumn]:
    """Return the columns: two or three for each phase, then what is said of a whole row."""
    rows: dict[tuple[str, str], dict[Any, Any]] = {
        (row["name"], row["phase"]): row for row in table.frame.to_dict("records")
    }
    write = ratio if table.are_ratios else duration
    write_ends = ratio_interval if table.are_ratios else duration_interval

    def texts(phase: str, text: Any) -> tuple[str, ...]:
        return tuple(text(rows[name, phase]) if (name, phase) in rows else "" for name in names)

    def ends(row: dict[Any, Any]) -> str:
        return write_ends(row["low"], row["high"]) if table.are_single or row["cases"] > 1 else ""

    columns = []
    for phase in map(str, dict.fromkeys(table.frame["phase"])):
        header = "ratio" if table.are_single and table.are_ratios else "median"
        header = "about" if is_noisy else header
        columns.append(ScreenColumn(phase, header, texts(phase, lambda row: f"{write(row['median'])}{row['mark']}")))
        if is_noisy:
            columns.append(
                ScreenColumn(phase, "slower", texts(phase, lambda row: f"{row['slower']:,} of {row['cases']:,}"))
            )
            if table.frame["faster"].any():
                columns.append(ScreenColumn(phase, "faster", texts(phase, lambda row: f"{row['faster']:,}"), rank=1))
        else:
            header = "interval" if table.are_single else "range"  # of 95%
            columns.append(ScreenColumn(phase, header, texts(phase, ends), rank=1))
    whole = table.frame.groupby("name", sort=False)
    unclear = whole["unclear"].sum()
    cases = whole["cases"].sum()
    if unclear.any() and not is_noisy:
        texts_of_rows = tuple(f"{unclear[name]:,} of {cases[name]:,}" if unclear[name] else "" for name in names)
        columns.append(ScreenColumn("", "unclear", texts_of_rows, rank=2))
    if table.reference != NO_REFERENCE:
        outputs = {str(name): agreed(words) for name, words in whole["outputs"]}
        texts_of_rows = tuple(outputs[name] for name in names)
        columns.append(ScreenColumn("", "outputs", texts_of_rows, is_left=True))
    return columns
