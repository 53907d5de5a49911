"""The windows of a run as Arrow tables, one part after another, so that a run of any size fits into memory."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from rnnbench.errors import UserError
from rnnbench.store.jsonlines import tables
from rnnbench.store.names import is_worker
from rnnbench.store.records import Window
from rnnbench.store.windows import RUN, check_windows, window_files, worker_of

TYPES = {
    "case": pa.string(),
    "worker": pa.string(),
    "device_uuid": pa.string(),
    "quantiles": pa.list_(pa.float64()),
    "cores": pa.list_(pa.int64()),
    **dict.fromkeys(("started", "seconds", "host_seconds", "submit_seconds", "clock_mhz"), pa.float64()),
}
SCHEMA = pa.schema([(field.name, TYPES.get(field.name, pa.int64())) for field in fields(Window)])
TINY, HUGE = 1e-300, 1e300
MIN_VALUES: dict[str, float] = {
    **{field.name: 0 for field in fields(Window) if TYPES.get(field.name) in (None, pa.float64())},
    **dict.fromkeys(("turns", "calls", "batch", "waits"), 1),
    **dict.fromkeys(("seconds", "host_seconds", "quantiles"), TINY),
    "cores": 0,
}
OPTIONAL = ("clock_mhz", "submit_seconds", "waits")
CHECKED = ("case", "replicate", "worker", "order", "turns")  # to see that a window is of this run, and no duplicate


@dataclass(frozen=True)
class WindowPart:
    """Some windows of one worker, in the order in which they were made."""

    file: Path
    number: np.ndarray  # of each window: the row of its case
    table: pa.Table  # the other columns


def window_parts(
    path: Path, run: str, row_of: Mapping[str, int], columns: Collection[str] | None = None
) -> Iterator[WindowPart]:
    """Read all windows of a run, file by file; `columns`: those that are needed, beside the ones that are checked.

    `run`: the run's id; `row_of`: the row of each case, by its key. Raises UserError for a line that can't be read, is
    not a window of this run and worker, has a case that the run does not have, or is a duplicate. A last line that was
    cut off is left out.
    """
    schema = SCHEMA if columns is None else pa.schema([field for field in SCHEMA if field.name in {*CHECKED, *columns}])
    for file in window_files(path):
        identities: list[pd.DataFrame] = []
        done = 0
        for table in tables(file, schema.append(pa.field(RUN, pa.string()))):
            if not _is_sound(table, worker_of(file), run):
                check_windows(file, run)
            number = _numbers(file, done, table["case"], row_of)
            identities.append(_identities(number, table))
            done += len(table)
            yield WindowPart(file, number, table.drop_columns(["case", RUN]))
        if identities and pd.concat(identities).duplicated().any():
            check_windows(file, run)


def empty_table(columns: Collection[str] | None = None) -> pa.Table:
    """The table of a part without any window."""
    return pa.schema(
        [field for field in SCHEMA if field.name != "case" and (columns is None or field.name in {*CHECKED, *columns})]
    ).empty_table()


def _numbers(file: Path, done: int, cases: pa.ChunkedArray, row_of: Mapping[str, int]) -> np.ndarray:
    """The row of each window's case; raises UserError at the first window whose case the run does not have."""
    encoded = cases.combine_chunks().dictionary_encode(null_encoding="encode")
    keys = encoded.dictionary.to_pylist()
    rows = np.array([row_of.get(key, -1) for key in keys], dtype=np.int64)
    number: np.ndarray = rows[encoded.indices.to_numpy()]
    if len(rows) and rows.min() < 0:
        index = int(np.argmax(number < 0))
        raise UserError(
            f"{file}, line {done + index + 1}: case: measurements.jsonl has no {cases[index].as_py()!r}; "
            "one of the two files is another run's"
        )
    return number


def _identities(number: np.ndarray, table: pa.Table) -> pd.DataFrame:
    """What no two windows of one worker have in common."""
    return pd.DataFrame({"number": number, **{name: table[name].to_numpy() for name in ("replicate", "order")}})


def _is_sound(windows: pa.Table, worker: str, run: str) -> bool:
    """Whether whole columns hold nothing that `check_windows` would refuse; only that function says what and where."""
    for name, least in MIN_VALUES.items():
        if name not in windows.column_names:
            continue
        column = windows[name]
        values = pc.list_flatten(column) if pa.types.is_list(column.type) else column
        if (column.null_count and name not in OPTIONAL) or (values.null_count and name not in OPTIONAL):
            return False
        if name != "clock_mhz" and pa.types.is_floating(values.type) and pc.any(pc.is_nan(values)).as_py():
            return False
        span = pc.min_max(values).as_py()
        if span["min"] is not None and not (least <= span["min"] and span["max"] <= HUGE):
            return False
        if name == "quantiles" and pc.min(pc.list_value_length(column)).as_py() == 0:
            return False
    runs = set(windows[RUN].unique().to_pylist())
    return (
        windows["worker"].unique().to_pylist() == [worker]
        and is_worker(worker)
        and runs == ({run} if run else {None})
        and not pc.any(pc.greater_equal(windows["order"], windows["turns"])).as_py()
    )
