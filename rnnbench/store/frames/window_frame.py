"""The windows of runs as one pandas frame, of plain columns that every kind of file can hold."""

from collections.abc import Collection, Iterable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from rnnbench.store.frames.categories import TEXT_AXES, category, repeated
from rnnbench.store.frames.window_tables import WindowPart, empty_table
from rnnbench.store.order_statistics import MAX_KEPT, evenly_spaced
from rnnbench.store.records import AXES

QUANTILES = tuple(f"quantile_{index}" for index in range(MAX_KEPT))
OF_CASES = ("run", "case", *AXES, "status")
OF_WINDOWS = (
    "replicate", "worker", "order", "turns", "started", "calls", "batch", "seconds", "host_seconds", "submit_seconds",
    "waits", *QUANTILES, "cores", "clock_mhz", "device_uuid",
)  # fmt: skip
WINDOW_COLUMNS = (*OF_CASES, *OF_WINDOWS)
STEP_COLUMNS = ("run", "case", "replicate", "worker", "order", "step", "seconds")


def window_frame(
    cases: pd.DataFrame, parts: Iterable[WindowPart], columns: Collection[str] = WINDOW_COLUMNS
) -> pd.DataFrame:
    """A row for each window, in the order of their cases; `columns` are some of `WINDOW_COLUMNS`.

    `cases`: a row for each case (`rnnbench.store.frames.cases`); `parts`: windows with the row of their case.
    """
    number, table = _joined(parts, columns)
    order = np.argsort(number, kind="stable")
    number, table = number[order], table.take(order)
    kept = {
        name: repeated(category(cases[name]), number)
        for name in ("run", "case", *TEXT_AXES, "status")
        if name in columns
    }
    kept |= {name: cases[name].to_numpy()[number] for name in AXES if name in columns and name not in TEXT_AXES}
    if not set(QUANTILES).isdisjoint(columns):
        kept |= dict(zip(QUANTILES, _quantiles(table["quantiles"]).T, strict=True))
    if "cores" in columns:
        kept["cores"] = _texts(table["cores"])
    for name in OF_WINDOWS:
        if name in columns and name in table.column_names and name != "cores":
            is_text = pa.types.is_string(table[name].type)
            kept[name] = _texts(table[name]) if is_text else table[name].to_numpy()
    return pd.DataFrame({name: kept[name] for name in WINDOW_COLUMNS if name in columns}, copy=False)


def step_frame(cases: pd.DataFrame, parts: Iterable[WindowPart]) -> pd.DataFrame:
    """A row for each step of each stream: its `seconds`, and its place `step` in the window, the shortest first."""
    is_stream = cases["task"].eq("streaming").to_numpy()
    streams = (
        WindowPart(part.file, part.number[is_stream[part.number]], part.table.filter(is_stream[part.number]))
        for part in parts
    )
    number, table = _joined(streams, STEP_COLUMNS)
    lists = table["quantiles"].combine_chunks()
    sizes = lists.value_lengths().to_numpy()
    rows = np.repeat(np.arange(len(number)), sizes)
    starts = np.cumsum(sizes) - sizes
    return pd.DataFrame(
        {
            "run": repeated(category(cases["run"]), number[rows]),
            "case": repeated(category(cases["case"]), number[rows]),
            "replicate": table["replicate"].to_numpy()[rows],
            "worker": repeated(_texts(table["worker"]), rows),
            "order": table["order"].to_numpy()[rows],
            "step": np.arange(len(rows)) - starts[rows],
            "seconds": lists.flatten().to_numpy(),
        }
    )


def _joined(parts: Iterable[WindowPart], columns: Collection[str]) -> tuple[np.ndarray, pa.Table]:
    numbers, tables = [np.empty(0, dtype=np.int64)], [empty_table(stored_columns(columns))]
    for part in parts:
        numbers.append(part.number)
        tables.append(part.table)
    return np.concatenate(numbers), pa.concat_tables(tables).combine_chunks()


def stored_columns(columns: Collection[str]) -> set[str]:
    """The columns of stored windows from which these columns of frames are made."""
    lists = set() if {*QUANTILES, "step"}.isdisjoint(columns) else {"quantiles"}
    return {name for name in columns if name not in QUANTILES} | lists


def _quantiles(lists: pa.ChunkedArray) -> np.ndarray:
    """(windows, 11): up to 11 evenly spaced ones of each list, then NaN."""
    column = lists.combine_chunks()
    sizes, points = column.value_lengths().to_numpy(), column.flatten().to_numpy()
    starts = np.cumsum(sizes) - sizes
    table = np.full((len(sizes), MAX_KEPT), np.nan)
    for size in np.unique(sizes):
        chosen = np.array(evenly_spaced(range(size)))
        rows = np.flatnonzero(sizes == size)
        table[rows, : len(chosen)] = points[starts[rows][:, None] + chosen]
    return table


def _texts(column: pa.ChunkedArray) -> pd.Categorical:
    """A column of texts, or of lists of numbers, as categories of text: `0`, `0,1`."""
    if pa.types.is_list(column.type):
        numbers = pc.cast(column, pa.list_(pa.string()))
        column = pc.binary_join(numbers, ",")
    encoded = column.combine_chunks().dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy()
    return pd.Categorical.from_codes(codes, categories=pd.Index(encoded.dictionary.to_pylist(), dtype=str))
