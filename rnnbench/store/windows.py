"""The windows of a run: a file `windows-<worker>.jsonl` for each worker, with lines of this run and worker only."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.json as arrow_json

from rnnbench.errors import UserError
from rnnbench.store.folder import of_workers, run_id
from rnnbench.store.jsonlines import complete_lines
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
        pa.field("device_uuid", pa.string()),
        pa.field("run", pa.string()),
    ]
)
ALWAYS = ("case", "replicate", "worker", "order", "turns", "run")  # to see that a window is of this run


def read_windows(path: Path, cases: Iterable[str], part: str | None = None) -> Iterator[Window]:
    """Yield every worker's windows of these cases, as `window_tables` reads them."""
    keys, run = list(cases), run_id(path)
    for table in window_tables(path, run, {key: row for row, key in enumerate(keys)}, SCHEMA.names, part):
        for line in table.to_pylist():
            lists = {name: tuple(line[name]) for name in ("quantiles", "cores")}
            yield Window(case=keys[line.pop("number")], run=run, **line | lists | {"waits": line["waits"] or 1})


def window_tables(
    path: Path, run: str, row_of: Mapping[str, int], columns: Collection[str], part: str | None = None
) -> Iterator[pa.Table]:
    """Yield all windows of a run or of a part, a table for each worker. A last line that was cut off is left out.

    `run`: the run's id; `row_of`: the row of each case, by its key, which is the column `number` in place of `case`;
    `columns`: those that are needed, beside the ones that are checked. Raises UserError for a line that can't be read,
    is not a window of this run and worker, or has a case that the run does not have.
    """
    schema = pa.schema([field for field in SCHEMA if field.name in {*ALWAYS, *columns}])
    for file in sorted(path.glob(f"windows-{of_workers(part)}")):
        if not (lines := complete_lines(file)):
            continue
        table = _table(file, lines, schema)
        for name, expected in (("run", run), ("worker", file.stem.removeprefix("windows-"))):
            if strangers := [value for value in table[name].unique().to_pylist() if (value or "") != expected]:
                raise UserError(
                    f"{file}: {name}: expected {expected!r}, found {strangers[0]!r}; the file is another run's"
                )
        cases = table["case"].combine_chunks().dictionary_encode()
        rows = np.array([row_of.get(key, -1) for key in cases.dictionary.to_pylist()], dtype=np.int64)
        if rows.min() < 0:
            stranger = cases.dictionary[int(np.argmax(rows < 0))].as_py()
            raise UserError(
                f"{file}: case: measurements.jsonl has no {stranger!r}; one of the two files is another run's"
            )
        yield table.drop_columns(["case", "run"]).append_column("number", pa.array(rows[cases.indices.to_numpy()]))


def _table(file: Path, lines: bytes, schema: pa.Schema) -> pa.Table:
    """Return the lines of a file as a table; raises UserError if one is no window."""
    try:
        table = arrow_json.read_json(
            pa.BufferReader(lines),
            arrow_json.ReadOptions(block_size=BLOCK_BYTES),
            arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
        return table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, ValueError) as fault:
        raise UserError(f"{file}: a line is no window: {fault}") from None
