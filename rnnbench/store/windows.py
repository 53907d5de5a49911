"""The windows of a run: a file `windows-<worker>.jsonl` for each worker, with lines of this run and worker only.

`read_windows` gives records; `window_parts` gives Arrow tables, one part after another, so that a run of any size fits
into memory. What Arrow can't read, or what is out of bounds in its table, is read as records, which say what is wrong.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as arrow_json
from annotated_types import Ge, Gt

from rnnbench.errors import UserError
from rnnbench.store.folder import of_workers, run_id
from rnnbench.store.jsonlines import placed, read_records
from rnnbench.store.record import HUGE
from rnnbench.store.records import Window

PIECE_BYTES = 1 << 23  # of a file that are read at once into a table
BLOCK_BYTES = 1 << 20  # of a piece that a thread reads
ARROW = {str: pa.string(), int: pa.int64(), float: pa.float64()}
CHECKED = ("case", "replicate", "worker", "order", "turns", "run")  # to see that a window is of this run


def _parts_of(hint: Any) -> Iterator[Any]:
    """Yield everything that a type is made of: its arguments, and what they are annotated with."""
    for part in get_args(hint):
        yield part
        yield from _parts_of(part)


def _arrow_type(hint: Any) -> pa.DataType:
    """Return the type of a column from that of the record's field: a number, text, or a list of numbers."""
    plain = next(ARROW[part] for part in (hint, *_parts_of(hint)) if part in (str, int, float))
    return pa.list_(plain) if Ellipsis in _parts_of(hint) else plain


HINTS = get_type_hints(Window, include_extras=True)
SCHEMA = pa.schema([(each.name, _arrow_type(HINTS[each.name])) for each in fields(Window)])
OPTIONAL = [each.name for each in fields(Window) if each.default is not MISSING]
BOUNDS = {  # the function that compares a column with its least value, and this value
    name: (pc.greater_equal, bound.ge) if isinstance(bound, Ge) else (pc.greater, bound.gt)
    for name, hint in HINTS.items()
    for bound in _parts_of(hint)
    if isinstance(bound, Ge | Gt)
}


@dataclass(frozen=True)
class WindowPart:
    """Some windows of one worker, in the order in which they were made."""

    file: Path
    number: np.ndarray  # of each window: the row of its case
    table: pa.Table  # the other columns


def window_files(path: Path, part: str | None = None) -> list[Path]:
    """Return the files of windows that count, one for each worker, of one part or of all parts."""
    return sorted(path.glob(f"windows-{of_workers(part)}"))


def worker_of(file: Path) -> str:
    """Return the worker whose windows are in a file, from the file's name."""
    return file.stem.removeprefix("windows-")


def read_windows(path: Path, part: str | None = None) -> Iterator[Window]:
    """Yield every worker's windows, of one part or of all parts; raises UserError if a line is not valid."""
    run = run_id(path)
    for file in window_files(path, part):
        for number, window in enumerate(read_records(file, Window), 1):
            with placed(f"{file}, line {number}"):
                yield _of_run(window, worker_of(file), run)


def too_many(file: Path, turns: int) -> UserError:
    """Return the error for a file in which a visit has more windows than `turns`."""
    return UserError(
        f"{file}: a visit has more windows than its {turns} turns; some belong to another run or are duplicated"
    )


def _of_run(window: Window, worker: str, run: str) -> Window:
    """Return the window; raises UserError if it is of another run or worker, as if files had been mixed."""
    if window.run != run:
        raise UserError(f"run: expected {run!r}, the id in run.json, found {window.run!r}; it is another run's window")
    if window.worker != worker:
        raise UserError(f"worker: expected {worker!r}, as in the file's name, found {window.worker!r}")
    if window.order >= window.turns:
        raise UserError(f"order: expected less than turns, which is {window.turns}, found {window.order}")
    return window


def window_parts(
    path: Path, run: str, row_of: Mapping[str, int], columns: Collection[str] | None = None
) -> Iterator[WindowPart]:
    """Read all windows of a run, file by file; `columns`: those that are needed, beside the ones that are checked.

    `run`: the run's id; `row_of`: the row of each case, by its key. Raises UserError for a line that can't be read, is
    not a window of this run and worker, or has a case that the run does not have. A last line that was cut off is left
    out.
    """
    schema = pa.schema([each for each in SCHEMA if columns is None or each.name in {*CHECKED, *columns}])
    for file in window_files(path):
        done = 0
        for piece in _pieces(file):
            table = _quick_table(piece, schema)
            if table is None or not _is_sound(table, worker_of(file), run):
                table = _table(file, piece, done, run, schema)
            number = _numbers(file, done, table["case"], row_of)
            done += len(table)
            yield WindowPart(file, number, table.drop_columns(["case", "run"]))


def empty_table(columns: Collection[str] | None = None) -> pa.Table:
    """Return the table of a part without any window."""
    wanted = {*CHECKED, *(SCHEMA.names if columns is None else columns)} - {"case", "run"}
    return pa.schema([each for each in SCHEMA if each.name in wanted]).empty_table()


def _pieces(path: Path) -> Iterator[bytes]:
    """Yield the complete lines of a file, many at a time."""
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                piece += file.readline()
                if whole := piece[: piece.rfind(b"\n") + 1]:  # the writer was cut off in the middle of the last one
                    yield whole
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from None


def _quick_table(lines: bytes, schema: pa.Schema) -> pa.Table | None:
    """Return the lines as Arrow reads them; None if it can't, or if it might read them differently from Python."""
    count = lines.count(b"\n")
    # Arrow skips empty lines, splits `{}{}`, and crashes at a line that is `null`.
    if not (lines.isascii() and lines.startswith(b'{"') and lines.count(b'}\n{"') == count - 1):
        return None
    try:
        table = arrow_json.read_json(
            pa.BufferReader(lines),
            arrow_json.ReadOptions(block_size=BLOCK_BYTES),
            arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
    except pa.ArrowInvalid:
        return None
    return table.select(schema.names) if table.num_rows == count else None


def _is_sound(table: pa.Table, worker: str, run: str) -> bool:
    """Return True if all windows of a table are valid ones of this run and worker, from whole columns."""
    for name in table.column_names:
        column = table[name]
        values = pc.list_flatten(column) if pa.types.is_list(column.type) else column
        if name not in OPTIONAL and (column.null_count or values.null_count):
            return False
        if name in BOUNDS:
            exceeds, least = BOUNDS[name]
            is_fine = pc.and_(exceeds(values, least), pc.less_equal(values, HUGE))  # NaN is not
            if pc.all(is_fine).as_py() is False:
                return False
    return (
        ("quantiles" not in table.column_names or pc.min(pc.list_value_length(table["quantiles"])).as_py() != 0)
        and table["worker"].unique().to_pylist() == [worker]
        and table["run"].unique().to_pylist() == [run or None]
        and not pc.any(pc.greater_equal(table["order"], table["turns"])).as_py()
    )


def _table(file: Path, lines: bytes, done: int, run: str, schema: pa.Schema) -> pa.Table:
    """Return the lines as records read them, the first with number `done` + 1; raises UserError for a wrong one."""
    windows = []
    for number, line in enumerate(lines.split(b"\n")[:-1], done + 1):
        with placed(f"{file}, line {number}"):
            windows.append(asdict(_of_run(Window.read(line), worker_of(file), run)))
    return pa.Table.from_pylist(windows, schema)


def _numbers(file: Path, done: int, cases: pa.ChunkedArray, row_of: Mapping[str, int]) -> np.ndarray:
    """Return the row of each window's case; raises UserError at the first window whose case the run does not have."""
    encoded = cases.combine_chunks().dictionary_encode()
    rows = np.array([row_of.get(key, -1) for key in encoded.dictionary.to_pylist()], dtype=np.int64)
    number: np.ndarray = rows[encoded.indices.to_numpy()]
    if len(rows) and rows.min() < 0:
        index = int(np.argmax(number < 0))
        raise UserError(
            f"{file}, line {done + index + 1}: case: measurements.jsonl has no {cases[index].as_py()!r}; "
            "one of the two files is another run's"
        )
    return number
