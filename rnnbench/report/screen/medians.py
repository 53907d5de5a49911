"""The tables that `rnnbench run` prints: medians and ranges, the phases side by side, and the latency of streams."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pandas as pd
from rich.cells import cell_len, set_cell_size

from rnnbench.analysis.summary import LATE_SHARE, LATENCIES, measured_streams, quantile_name
from rnnbench.report.facts import NO_REFERENCE, is_shared, reference_name, tally
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
from rnnbench.text import plural

MAX_SINGLE = 8  # rows of single cases; of more cases, each series has one row
MAX_SCREEN_ROWS = 40
MAX_BESIDE = 10  # rows; of more, those on a shared core that stand below other cases of their series are left out
COLUMN_GAP = 2  # spaces between columns
MIN_NAME = 16  # columns of a name, which is cut where there is no room
CUT = "…"
ON_SHARED_CORE = ", shared core"  # ends the name of a row
SHARED_CORE = "  on a shared core"  # the whole name, below another row of the series


@dataclass(frozen=True)
class Medians:
    """The numbers of the table, which has a row for each name and columns for each phase."""

    frame: pd.DataFrame  # a row for each name and phase; see `medians`
    reference: str  # to what the ratios are: see `reference_name`
    are_ratios: bool  # otherwise times in seconds, since there is no reference
    are_single: bool  # each row is one case; its ends are those of its interval


@dataclass(frozen=True)
class ScreenColumn:
    """A column of text below one heading, and below another one that it may share with its neighbours."""

    heading: str
    header: str
    texts: tuple[str, ...]
    rank: int = 0  # where there is no room, the highest go first
    is_left: bool = False


def medians(summary: pd.DataFrame) -> Medians:
    """Find the median, the lowest and the highest ratio of each series, phase and state of the core.

    Each case of a few has a row of its own, with its interval in place of a range. Columns of `frame`: `name`, `phase`,
    `median`, `low`, `high`, `cases`, `slower`, `faster`, `unclear` and `outputs`, which says whether outputs agree.
    """
    frame = with_series(with_short_cells(summary))
    selection = frame[~is_reference(frame) & (frame["status"] == "measured")]
    value = "ratio" if selection["ratio"].notna().any() else "seconds"
    selection = selection.dropna(subset=[value])
    context = several(selection, CONTEXT)
    sizes = [axis for axis in swept(selection, (*SETTINGS, *SIZES)) if axis not in CONTEXT]
    has_both_states = 0 < is_shared(selection).sum() < len(selection)
    selection = selection.assign(
        core=is_shared(selection).map({True: ON_SHARED_CORE, False: ""}) if has_both_states else ""
    )
    are_single = selection.groupby(["series", *context, "core", *sizes], sort=False).ngroups <= MAX_SINGLE
    axes = [*context, *(sizes if are_single else [])]
    selection = selection.assign(place=pd.factorize(selection["series"])[0]).sort_values(
        ["place", "core"], kind="stable"
    )
    is_told = selection["series"].nunique() > 1  # else the answer names the only series
    name_parts = [*zip(selection["series"], selection["core"], selection[axes].to_numpy(object), strict=True)]
    selection["name"] = [
        _name(series, say_all(axes, values), is_told=is_told) + core for series, core, values in name_parts
    ]
    rows = []
    for (name, phase), cases in selection.groupby(["name", "phase"], sort=False):
        numbers = cases[value]
        counts = tally(cases)
        lows = cases[f"{value}_low"] if are_single else numbers
        highs = cases[f"{value}_high"] if are_single else numbers
        rows.append(
            {"name": name, "phase": phase, "median": numbers.median(), "low": lows.min(), "high": highs.max()}
            | {"cases": len(cases), "outputs": _outputs(cases)}
            | {kind: counts.get(kind, 0) for kind in ("slower", "faster", "unclear")}
        )
    columns = ["name", "phase", "median", "low", "high", "cases", "outputs", "slower", "faster", "unclear"]
    return Medians(pd.DataFrame(rows, columns=columns), reference_name(summary), value == "ratio", are_single)


def _name(series: str, sizes: str, *, is_told: bool) -> str:
    """Return the name of a row: `lstm loop, batch 1`, or only the sizes of a series that is told elsewhere."""
    return ", ".join(filter(None, [series, sizes])) if is_told or not sizes else sizes


def _outputs(cases: pd.DataFrame) -> str:
    """Return in a word whether the outputs of some cases agree with those of their references."""
    return _agreed(parity.word for parity in cases["parity"])


def _agreed(words: Iterable[str]) -> str:
    """Return the one word of all outputs, or `not all agree` if there are several."""
    different = {*words}
    return different.pop() if len(different) == 1 else "not all agree"


def median_lines(table: Medians, width: int, *, is_noisy: bool) -> list[str]:
    """Return the lines of the table of medians, headings first; none is wider than `width`.

    In a noisy run, counts of slower and faster cases stand in place of ranges.
    """
    every = list(dict.fromkeys(table.frame["name"]))
    left_out = [name for place, name in enumerate(every) if _is_beside(every, place)] if len(every) > MAX_BESIDE else []
    names = [name for name in every if name not in left_out][:MAX_SCREEN_ROWS]
    heads = ("time over", f"{one_line(table.reference)}'s") if table.are_ratios else ("time of", "a call")
    labels = [SHARED_CORE if _is_beside(names, place) else name for place, name in enumerate(names)]
    lines = laid_out(heads, labels, _columns(table, names, is_noisy=is_noisy), width)
    if more := len(every) - len(left_out) - len(names):
        lines.append(f"{more:,} more rows: --full prints every case.")
    elif left_out:
        lines.append(f"Not shown: {plural(len(left_out), 'row')} on a shared core. --full prints every case.")
    return lines


def _is_beside(names: Sequence[str], place: int) -> bool:
    """Return True for a row on a shared core that stands below the other cases of its series."""
    return place > 0 and names[place] == f"{names[place - 1]}{ON_SHARED_CORE}"


def latency_lines(summary: pd.DataFrame, width: int) -> list[str]:
    """Return the lines of a table with the latency of each series of streams; empty if there is none.

    A quantile is the median over the streams of the series, the share of late steps the highest of them.
    """
    streams = with_series(measured_streams(summary))
    if streams.empty or streams["latency_p50"].isna().all():
        return []
    series = streams.groupby("series", sort=False)
    heading = "a step takes at most"
    columns = [
        ScreenColumn(heading, quantile_name(name), tuple(map(duration, series[name].median()))) for name in LATENCIES
    ]
    if streams[LATE_SHARE].notna().any():
        columns.append(ScreenColumn("", "late, at worst", tuple(map(round_percent, series[LATE_SHARE].max()))))
    return laid_out(("", "stream"), list(map(str, series.groups)), columns, width)


def laid_out(heads: tuple[str, str], names: Sequence[str], columns: list[ScreenColumn], width: int) -> list[str]:
    """Return the lines of a table with two lines of headings; `heads`: those of the names.

    Where there is no room, columns go by their rank, then names are cut, and the last columns go. A line says which
    columns went.
    """
    longest = max(map(cell_len, (*heads, *names)))
    dropped = dict[str, None]()

    def room() -> int:
        return width - sum(size + COLUMN_GAP for size in _widths(columns))

    for rank in (2, 1):
        if room() < longest:
            dropped |= {column.header: None for column in columns if column.rank == rank}
            columns = [column for column in columns if column.rank != rank]
    while room() < min(longest, MIN_NAME) and len(columns) > 1:
        dropped[columns.pop().header] = None
    size = max(min(longest, room()), 1)
    lines = [_cut(heads[0], size) + _headings(columns), _row(_cut(heads[1], size), columns, None)]
    lines += [_row(_cut(name, size), columns, place) for place, name in enumerate(names)]
    if dropped:
        lines.append(f"No room in {width} columns for: {', '.join(dropped)}.")
    return [line.rstrip() for line in lines]


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
        columns.append(ScreenColumn(phase, header, texts(phase, lambda row: write(row["median"]))))
        if is_noisy:
            columns.append(
                ScreenColumn(phase, "slower", texts(phase, lambda row: f"{row['slower']:,} of {row['cases']:,}"))
            )
            if table.frame["faster"].any():
                columns.append(ScreenColumn(phase, "faster", texts(phase, lambda row: f"{row['faster']:,}"), rank=1))
        else:
            header = "95% interval" if table.are_single else "range"
            columns.append(ScreenColumn(phase, header, texts(phase, ends), rank=1))
    whole = table.frame.groupby("name", sort=False)
    unclear = whole["unclear"].sum()
    cases = whole["cases"].sum()
    if unclear.any() and not is_noisy:
        texts_of_rows = tuple(f"{unclear[name]:,} of {cases[name]:,}" if unclear[name] else "" for name in names)
        columns.append(ScreenColumn("", "unclear", texts_of_rows, rank=2))
    if table.reference != NO_REFERENCE:
        outputs = {str(name): _agreed(words) for name, words in whole["outputs"]}
        texts_of_rows = tuple(outputs[name] for name in names)
        columns.append(ScreenColumn("", "outputs", texts_of_rows, is_left=True))
    return columns


def _widths(columns: Sequence[ScreenColumn]) -> list[int]:
    """Return the width of each column; the last one below a heading is as wide as it needs."""
    widths: list[int] = []
    for heading, members in groupby(columns, lambda column: column.heading):
        sizes = [max(map(cell_len, (column.header, *column.texts))) for column in members]
        sizes[-1] += max(0, cell_len(heading) - sum(sizes) - COLUMN_GAP * (len(sizes) - 1))
        widths += sizes
    return widths


def _headings(columns: Sequence[ScreenColumn]) -> str:
    """Return the upper line of headings, each where the first of its columns begins."""
    text = ""
    start = COLUMN_GAP
    before = ""
    for column, width in zip(columns, _widths(columns), strict=True):
        if column.heading != before:
            text = set_cell_size(text, start) + column.heading
            before = column.heading
        start += width + COLUMN_GAP
    return text


def _row(name: str, columns: Sequence[ScreenColumn], place: int | None) -> str:
    """Return the line of a row of the table; None: of the headers."""
    parts = [name]
    for column, width in zip(columns, _widths(columns), strict=True):
        text = column.header if place is None else column.texts[place]
        blank = " " * (width - cell_len(text))
        parts.append(text + blank if column.is_left else blank + text)
    return (" " * COLUMN_GAP).join(parts)


def _cut(name: str, size: int) -> str:
    """Return a name in exactly this many columns; of one that is cut its end, which tells implementations apart."""
    while cell_len(name) > size:
        name = f"{CUT}{name.removeprefix(CUT)[1:]}" if len(name) > 1 else ""
    return set_cell_size(name, size)
