"""Stored records as pandas frames, of plain columns that every kind of file can hold.

Windows are read as Arrow tables: a run has a file `windows-<worker>.jsonl` for each worker, with lines of this run and
worker only.
"""

import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as arrow_json

from rnnbench.errors import UserError
from rnnbench.store.ceilings import Ceiling
from rnnbench.store.folder import run_id
from rnnbench.store.metrics import OBSERVED
from rnnbench.store.parity import Parity
from rnnbench.store.records import AXES, MAX_QUANTILES, PLAIN, Measurement, Window, Workload, evenly_spaced
from rnnbench.store.run_info import RunInfo
from rnnbench.store.stored_record import complete_lines
from rnnbench.store.window_checks import check_windows, refuse_odd_line
from rnnbench.text import writable

NUMBER_AXES = [name for name, hint in get_type_hints(Workload).items() if hint in (int, float, bool)]
# Columns of few texts: a million windows share the text of their case, and files of frames can hold categories.
CATEGORIES = (
    *("run", "case", *(axis for axis in AXES if axis not in NUMBER_AXES), "status", "backend"),
    *("bound_by", "ceiling", "worker", "cores", "device_uuid"),
)
OBSERVED_COLUMNS = [metric.name for metric in OBSERVED]
# What is stored of a case beside its times. `missing` and `ceiling` are JSON, since files of frames hold no objects.
CASE_COLUMNS = ["run", "case", *AXES, *PLAIN, *OBSERVED_COLUMNS, "missing", "ceiling", "period_seconds"]
QUANTILES = tuple(f"quantile_{index}" for index in range(MAX_QUANTILES))
QUIET_LOW = tuple(f"quiet_low_{index}" for index in range(MAX_QUANTILES))
LISTS = {"quantiles": QUANTILES, "quiet_low": QUIET_LOW}  # columns for the numbers of a list
OF_WINDOWS = tuple(
    column
    for each in fields(Window)
    if each.name not in ("case", "run")
    for column in LISTS.get(each.name, (each.name,))
)
OF_CASES = ("run", "case", *AXES, "status")
WINDOW_COLUMNS = (*OF_CASES, *OF_WINDOWS)
STEP_COLUMNS = ("run", "case", "replicate", "worker", "order", "step", "seconds")
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
        pa.field("pulses", pa.int64()),
        pa.field("quiet_pulses", pa.int64()),
        pa.field("best_pulse", pa.float64()),
        pa.field("quiet_blocks", pa.int64()),
        pa.field("quiet_seconds", pa.float64()),
        pa.field("quiet_low", pa.list_(pa.float64())),
        pa.field("sm_clock_mhz", pa.float64()),
        pa.field("device_uuid", pa.string()),
        pa.field("run", pa.string()),
    ]
)
ALWAYS = ("case", "replicate", "worker", "order", "turns", "run")  # to see that a window is of this run


def case_frame(path: Path, info: RunInfo, measurements: Iterable[Measurement]) -> pd.DataFrame:
    """Return one row for each case, with the columns `CASE_COLUMNS`."""
    ceilings: dict[tuple[Any, ...], str] = {
        ceiling.place: ceiling.to_text() for ceiling in map(Ceiling.from_json, info.ceilings)
    }
    measure = info.resolved.get("measure") or {}
    period = measure.get("period_seconds")
    rows = [
        {
            "run": writable(path.name),
            "case": measurement.case.key,
            **measurement.case.axes(),
            **{name: getattr(measurement, name) for name in PLAIN},
            **measurement.metrics,
            "missing": missing_text(measurement.missing),
            "ceiling": ceilings.get(measurement.case.workload.place, ""),
            "period_seconds": math.nan if period is None else float(period),
        }
        for measurement in measurements
    ]
    frame = pd.DataFrame(rows, columns=CASE_COLUMNS)
    return frame.astype(
        dict.fromkeys((*OBSERVED_COLUMNS, "parity_error", "warmup_windows"), float)
        | {"run": object, "case": object, "missing": str, "ceiling": str}
    )


def missing_text(reasons: Any) -> str:
    """Return why metrics are missing, as the column `missing` holds it: JSON, metric -> reason; empty without any."""
    return json.dumps(reasons) if isinstance(reasons, Mapping) and reasons else ""


def missing_reasons(text: Any) -> dict[str, str]:
    """Return the inverse of `missing_text`; empty for a frame's missing value, too."""
    return json.loads(text) if isinstance(text, str) and text else {}


def with_sentences(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with the sentence of each parity in its place, as users and files get it."""
    if "parity" not in frame:
        return frame
    return frame.assign(parity=[str(each) if isinstance(each, Parity) else each for each in frame["parity"]])


def with_categories(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with its columns of few texts as categories, in the order in which they appear."""
    return frame.assign(**{name: category(frame[name]) for name in CATEGORIES if name in frame})


def category(values: Iterable[object]) -> pd.Categorical:
    """Return texts as categories in the order in which they appear."""
    codes, texts = pd.factorize(pd.Series(values, dtype=object))
    return pd.Categorical.from_codes(codes, categories=pd.Index(texts, dtype=str))


def without_categories(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with text in place of categories, which can be compared, filled and put together."""
    names = [name for name, kind in frame.dtypes.items() if isinstance(kind, pd.CategoricalDtype)]
    return frame.assign(**{str(name): frame[name].astype(object) for name in names}) if names else frame


def window_frame(cases: pd.DataFrame, tables: Iterable[pa.Table]) -> pd.DataFrame:
    """Return a row for each window, in the order of their cases, with the columns `WINDOW_COLUMNS`.

    `cases`: the frame of cases; `tables`: windows with the row of their case.
    """
    table = joined(tables).sort_by("number")
    number = table["number"].to_numpy()
    spread = [pd.DataFrame(_spread(table[name]), columns=list(columns)) for name, columns in LISTS.items()]
    cores = pc.binary_join(pc.cast(table["cores"], pa.list_(pa.string())), ",")
    plain = table.drop_columns(["number", *LISTS, "cores"]).append_column("cores", cores)
    of_cases: pd.DataFrame = with_categories(cases[list(OF_CASES)]).iloc[number].reset_index(drop=True)
    return pd.concat([of_cases, with_categories(plain.to_pandas()), *spread], axis=1)[list(WINDOW_COLUMNS)]


def _spread(column: pa.ChunkedArray) -> np.ndarray:
    """Return at most eleven evenly spaced numbers of each list in a row of their own, then NaN: (n, MAX_QUANTILES)."""
    sizes, points = parts(column)
    starts = np.cumsum(sizes) - sizes
    rows = np.full((len(sizes), MAX_QUANTILES), np.nan)
    for size in np.unique(sizes[sizes > 0]).tolist():
        chosen = np.array(evenly_spaced(range(size)))
        of_size = np.flatnonzero(sizes == size)
        rows[of_size, : len(chosen)] = points[starts[of_size][:, None] + chosen]
    return rows


def parts(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sizes of the lists of a column, 0 where there is none, and their numbers one list after another."""
    lists = column.combine_chunks()
    sizes = pc.fill_null(lists.value_lengths(), 0).to_numpy(zero_copy_only=False)
    return sizes, lists.flatten().to_numpy(zero_copy_only=False)


def step_frame(cases: pd.DataFrame, tables: Iterable[pa.Table]) -> pd.DataFrame:
    """Return a row for each step of each stream: its `seconds`, and its place `step` in the window, shortest first."""
    streams = pa.array(np.flatnonzero(cases["task"].eq("streaming")))
    table = joined(each.filter(pc.is_in(each["number"], streams)) for each in tables)
    lists = table["quantiles"].combine_chunks()
    rows = pc.list_parent_indices(lists).to_numpy()
    plain = table.select(["number", "replicate", "worker", "order"]).to_pandas()
    frame: pd.DataFrame = with_categories(plain).iloc[rows].reset_index(drop=True)
    frame["step"], frame["seconds"] = pd.Series(rows).groupby(rows).cumcount(), lists.flatten().to_numpy()
    of_cases = with_categories(cases[["run", "case"]]).iloc[frame["number"]].reset_index(drop=True)
    frame = frame.assign(run=of_cases["run"], case=of_cases["case"])
    return frame.reindex(columns=list(STEP_COLUMNS))


def joined(tables: Iterable[pa.Table]) -> pa.Table:
    """Return several tables of windows as one; a table without rows, and with all columns, if there is none."""
    nothing = SCHEMA.empty_table().drop_columns(["case", "run"]).append_column("number", pa.array([], pa.int64()))
    return pa.concat_tables([*tables] or [nothing])


def read_windows(path: Path, cases: Iterable[str], part: str | None = None) -> Iterator[Window]:
    """Yield every worker's windows of these cases, as `window_tables` reads them."""
    keys = list(cases)
    run = run_id(path)
    for table in window_tables(path, run, {key: row for row, key in enumerate(keys)}, SCHEMA.names, part):
        for line in table.to_pylist():
            values = {name: value for name, value in line.items() if value is not None}
            lists = {name: tuple(values[name]) for name in ("quantiles", "quiet_low", "cores") if name in values}
            yield Window(case=keys[values.pop("number")], run=run, **values | lists)


def window_tables(
    path: Path, run: str, row_of: Mapping[str, int], columns: Collection[str], part: str | None = None
) -> Iterator[pa.Table]:
    """Yield all windows of a run or of a part, a table for each worker. A last line that was cut off is left out.

    `run`: the run's id; `row_of`: the row of each case, by its key, which is the column `number` in place of `case`;
    `columns`: those that are needed, beside the ones that are checked. Raises UserError for a line that can't be read,
    has an impossible value, is there twice, is not a window of this run and worker, or has a case that the run does not
    have.
    """
    schema = pa.schema([field for field in SCHEMA if field.name in {*ALWAYS, *columns}])
    for file in sorted(path.glob(f"windows-{part}-*.jsonl" if part else "windows-*.jsonl")):
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
        of_run = table.drop_columns(["case", "run"]).append_column("number", pa.array(rows[cases.indices.to_numpy()]))
        check_windows(file, lines, of_run)
        yield of_run


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
        refuse_odd_line(file, lines)
        raise UserError(f"{file}: a line is no window: {fault}") from None
