"""The windows of a run: a file `windows-<worker>.jsonl` for each worker, with lines of this run and worker only.

`read_windows` gives records, and `window_tables` an Arrow table for each worker. What Arrow can't read is read as
records, which say what is wrong.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.json as arrow_json

from rnnbench.errors import UserError
from rnnbench.store.folder import of_workers, run_id
from rnnbench.store.jsonlines import complete_lines, parsed_lines
from rnnbench.store.records import Window

BLOCK_BYTES = 1 << 20  # of a file that a thread reads
SCHEMA = pa.schema(
    [
        pa.field("case", pa.string(), nullable=False),
        pa.field("replicate", pa.int64(), nullable=False),
        pa.field("worker", pa.string(), nullable=False),
        pa.field("order", pa.int64(), nullable=False),
        pa.field("turns", pa.int64(), nullable=False),
        pa.field("started", pa.float64(), nullable=False),
        pa.field("calls", pa.int64(), nullable=False),
        pa.field("batch", pa.int64(), nullable=False),
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("host_seconds", pa.float64(), nullable=False),
        pa.field("submit_seconds", pa.float64()),
        pa.field("waits", pa.int64()),
        pa.field("quantiles", pa.list_(pa.float64()), nullable=False),
        pa.field("cores", pa.list_(pa.int64()), nullable=False),
        pa.field("clock_mhz", pa.float64()),
        pa.field("device_uuid", pa.string()),
        pa.field("run", pa.string()),
    ]
)
ALWAYS = ("case", "replicate", "worker", "order", "turns", "run")  # to see that a window is of this run
WindowTable = tuple[np.ndarray, pa.Table]  # of each window: the row of its case; the other columns


def window_files(path: Path, part: str | None = None) -> list[Path]:
    """Return the files of windows that count, one for each worker, of one part or of all parts."""
    return sorted(path.glob(f"windows-{of_workers(part)}"))


def read_windows(path: Path, part: str | None = None) -> Iterator[Window]:
    """Yield every worker's windows, of one part or of all parts; raises UserError if a line is not valid."""
    run = run_id(path)
    for file in window_files(path, part):
        yield from _records(file, run)


def _records(file: Path, run: str) -> Iterator[Window]:
    """Yield the windows of a file; raises UserError if one is of another run or worker, as if files had been mixed."""
    expected = {"run": run, "worker": _worker(file)}
    for number, window in enumerate(parsed_lines(file, Window.read), 1):
        for name, value in expected.items():
            if (found := getattr(window, name)) != value:
                raise UserError(
                    f"{file}, line {number}: {name}: expected {value!r}, found {found!r}; it is another run's window"
                )
        yield window


def _worker(file: Path) -> str:
    return file.stem.removeprefix("windows-")


def window_tables(path: Path, run: str, row_of: Mapping[str, int], columns: Collection[str]) -> Iterator[WindowTable]:
    """Yield all windows of a run, a table for each worker. A last line that was cut off is left out.

    `run`: the run's id; `row_of`: the row of each case, by its key; `columns`: those that are needed, beside the ones
    that are checked. Raises UserError for a line that can't be read, is not a window of this run and worker, or has a
    case that the run does not have.
    """
    schema = pa.schema([field for field in SCHEMA if field.name in {*ALWAYS, *columns}])
    for file in window_files(path):
        if not (lines := complete_lines(file)):
            continue
        table = _quick_table(lines, schema, _worker(file), run)
        if table is None:
            table = pa.Table.from_pylist([asdict(window) for window in _records(file, run)], schema)
        cases = table["case"].combine_chunks().dictionary_encode()
        rows = np.array([row_of.get(key, -1) for key in cases.dictionary.to_pylist()], dtype=np.int64)
        if rows.min() < 0:
            stranger = cases.dictionary[int(np.argmax(rows < 0))].as_py()
            raise UserError(
                f"{file}: case: measurements.jsonl has no {stranger!r}; one of the two files is another run's"
            )
        yield rows[cases.indices.to_numpy()], table.drop_columns(["case", "run"])


def _quick_table(lines: bytes, schema: pa.Schema, worker: str, run: str) -> pa.Table | None:
    """Return the lines as Arrow reads them; None if it can't, or if one is no window of this run and worker."""
    try:
        table = arrow_json.read_json(
            pa.BufferReader(lines),
            arrow_json.ReadOptions(block_size=BLOCK_BYTES),
            arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
    except pa.ArrowInvalid:
        return None
    is_sound = (
        table.num_rows == lines.count(b"\n")
        and table["worker"].unique().to_pylist() == [worker]
        and table["run"].unique().to_pylist() == [run or None]
        and not any(table[field.name].null_count for field in schema if not field.nullable)
    )
    return table.select(schema.names).cast(schema) if is_sound else None


def joined(tables: Iterable[WindowTable]) -> WindowTable:
    """Return the windows of several tables as one; a table without rows, and with all columns, if there is none."""
    parts = list(tables)
    if not parts:
        return np.empty(0, dtype=np.int64), SCHEMA.empty_table()
    table = pa.concat_tables([table for _, table in parts]).combine_chunks()
    return np.concatenate([number for number, _ in parts]), table
