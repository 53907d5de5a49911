"""A run folder as one pandas frame."""

import math
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from rnnbench.errors import UserError
from rnnbench.store.ceilings import PLACE, Ceiling
from rnnbench.store.folder import last_lines, read_info
from rnnbench.store.jsonlines import tables
from rnnbench.store.metrics import OBSERVED
from rnnbench.store.names import is_worker
from rnnbench.store.records import AXES, DEFAULTS, PLAIN, WORKLOAD_AXES, Window
from rnnbench.store.run_info import RunInfo
from rnnbench.store.windows import RUN, check_windows, too_many, window_files, worker_of
from rnnbench.text import writable

OBSERVED_COLUMNS = [metric.name for metric in OBSERVED]
MEASUREMENT_COLUMNS = [*PLAIN, *OBSERVED_COLUMNS, "missing"]
TYPES = {
    "case": pa.string(),
    "worker": pa.string(),
    "device_uuid": pa.string(),
    "quantiles": pa.list_(pa.float64()),
    "cores": pa.list_(pa.int64()),
    **dict.fromkeys(("started", "seconds", "host_seconds", "submit_seconds", "clock_mhz"), pa.float64()),
}
TINY, HUGE = 1e-300, 1e300
MIN_VALUES: dict[str, float] = {
    **{field.name: 0 for field in fields(Window) if TYPES.get(field.name) in (None, pa.float64())},
    **dict.fromkeys(("turns", "calls", "batch"), 1),
    **dict.fromkeys(("seconds", "host_seconds", "quantiles"), TINY),
    "cores": 0,
}
OPTIONAL = ("clock_mhz", "submit_seconds")
SCHEMA = pa.schema([(field.name, TYPES.get(field.name, pa.int64())) for field in fields(Window)])
PLACE_IN_FILE = ("replicate", "order")
CHECKED = ("case", "replicate", "worker", "order", "turns")  # to see that a window is of this run, and no duplicate


@dataclass(frozen=True)
class Windows:
    """All windows of a run; the key of a case is stored once, and its windows refer to it by index."""

    files: list[Path]
    keys: list[str]
    case: np.ndarray  # of each window, the index of its case in `keys`
    file: np.ndarray  # and of its file in `files`
    table: pa.Table


def load(path: str | Path, columns: Collection[str] | None = None) -> pd.DataFrame:
    """A run as one row for each window; a case without windows keeps one row, with its status and reason.

        frame = rnnbench.load("results/quick-20260101T120000Z-ab12")

    `path`: the run's folder. Columns, beside the axes (`cell`, `implementation`, `reference`, `phase`, `task`,
    `batch_size`, `seq_len`, `input_size`, `hidden_size`, `output_size`, `num_layers`, `dtype`, `device`, `threads`,
    `output_len`, `bidirectional`, `dropout`, `lengths`, `input`, `nonlinearity`, `head`,
    `caches`, `optimizer`, `loss`, `clip`, `samples`, `workers`; `samples` is 0 without a data set):

    - `run`, `case`: the folder's name, and the case's key, an `--only` expression that selects it;
    - `status` (`measured`, `skipped`, `failed`, or `pending` if the run ended before it) and `reason`;
    - `parity`, `parity_error`: whether outputs and gradients agree with torch.nn's, and the largest relative error;
    - `suspicion`: why its time may be that of less work than the reference's; empty if nothing speaks for it;
    - `backend`: the operator that runs the whole layer, or `aten` if it is made of plain ones;
    - `ceiling`: the best rates of its device, type and threads (`rnnbench.store.ceilings.Ceiling`); None if they were
      not measured;
    - the observed metrics, which `rnnbench list metrics` describes: `parameters`, `macs`, `peak_bytes` and so on, in
      bytes, joules or counts per call; NaN if one could not be observed, with the reason in `missing`
      (name -> reason);
    - `period_seconds` of the steps of streams; NaN if the suite has none;
    - `warmup_windows`: windows run before the time stopped falling;
    - `replicate`, `worker`: the unit of statistics, and its process;
    - `order`, `turns`: the window's place in the visit of its group, and the windows of the whole visit;
    - `started` (seconds since the run began), `calls`, `batch` (calls clocked together);
    - `seconds` of the window's calls by the device's clock; `host_seconds` of the whole window, flushes included;
      `submit_seconds`, the part of `host_seconds` in which the host did not wait; `quantiles`: up to 11 evenly spaced
      quantiles of the seconds per call, and of a stream the seconds of every step, in rising order;
    - `cores` it ran on, `clock_mhz` if the system reports it, `device_uuid` of the GPU that ran it.

    A case that worked at first and then failed has its windows here; they count nowhere else.

    With `columns`, the frame has only these, in the order above; all columns of a long run take a gigabyte.
    Raises `rnnbench.errors.UserError` if the folder is not a run, or if a line can't be read, except for a last line
    that was cut off.
    """
    return read(Path(path), columns)[1]


def read(path: Path, columns: Collection[str] | None = None) -> tuple[dict[str, dict[str, Any]], pd.DataFrame]:
    """The last line of each case, by its key, and the frame of `load`; raises as `load` does."""
    info = read_info(path)
    schema = SCHEMA if columns is None else pa.schema([field for field in SCHEMA if field.name in {*CHECKED, *columns}])
    with ThreadPoolExecutor(1) as pool:  # Arrow, which reads the windows, lets Python read the cases meanwhile
        reading = pool.submit(_windows, path, info.id, schema)
        lines = last_lines(path)
        cases = _cases(path, info, lines)
        windows = reading.result()
    row_of = {key: row for row, key in enumerate(lines)}
    _refuse_unknown(windows, row_of)
    number = np.array([row_of[key] for key in windows.keys], dtype=np.int64)[windows.case]
    _refuse_too_many(windows, number, cases)
    if columns is not None:
        cases = cases[[name for name in cases.columns if name in columns]]
    # The windows of each case as they were made; a case without windows keeps one row.
    alone = np.setdiff1d(np.arange(len(cases)), number)
    order = np.argsort(np.concatenate((number, alone)), kind="stable")
    rows = pa.array(np.concatenate((np.arange(len(number)), np.full(len(alone), -1)))[order])
    rows = pc.if_else(pc.less(rows, 0), None, rows)
    frame = cases.iloc[np.concatenate((number, alone))[order]].reset_index(drop=True)
    kept = [name for name in windows.table.column_names if columns is None or name in columns]
    window_columns = {name: _column(windows.table.column(name).take(rows)) for name in kept}
    return lines, pd.concat([frame, pd.DataFrame(window_columns, copy=False)], axis=1)


def _cases(path: Path, info: RunInfo, measurements: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """One row for each case, from its last line, in the order of the first lines."""
    ceilings = {_place(asdict(ceiling)): ceiling for ceiling in map(Ceiling.from_json, info.ceilings)}
    # An older rnnbench had fewer axes, and suspected nothing. Cold caches were a setting of the whole run.
    caches = "cold" if info.resolved.get("measure", {}).get("cold_cache") else DEFAULTS["caches"]
    lines = [{**DEFAULTS, "caches": caches, "suspicion": "", **line} for line in measurements.values()]
    frame = pd.DataFrame(lines, columns=["case", *AXES, *MEASUREMENT_COLUMNS])
    frame = frame.astype(dict.fromkeys(OBSERVED_COLUMNS, float))
    of_cases: Any = [ceilings.get(_place(axes)) for axes in frame[list(PLACE)].to_dict("records")]
    frame["ceiling"] = pd.Series(of_cases, index=frame.index, dtype=object)
    period = info.resolved.get("measure", {}).get("period_seconds")
    frame["period_seconds"] = math.nan if period is None else float(period)
    # As objects, since a million windows then share the long key of their case.
    frame["case"] = frame["case"].astype(object)
    frame.insert(0, "run", pd.Series(writable(path.name), index=frame.index, dtype=object))
    return frame


def _windows(path: Path, run: str, schema: pa.Schema) -> Windows:
    """Read all windows of a run; raises UserError if one is not valid, is a duplicate or is another run's."""
    files, keys = window_files(path), dict[str, int]()
    cases, sizes, parts = [np.empty(0, dtype=np.int64)], [], [schema.empty_table().drop_columns("case")]
    for file in files:
        first = len(parts)
        for part in tables(file, schema.append(pa.field(RUN, pa.string()))):
            if not _is_sound(part, worker_of(file), run):
                check_windows(file, run)
            encoded = part["case"].combine_chunks().dictionary_encode(null_encoding="encode")
            indices = [keys.setdefault(key, len(keys)) for key in encoded.dictionary.to_pylist()]
            cases.append(np.array(indices, dtype=np.int64)[encoded.indices.to_numpy()])
            parts.append(part.drop_columns(["case", RUN]))
        if _has_twins(cases[first:], parts[first:]):
            check_windows(file, run)
        sizes.append(sum(map(len, cases[first:])))
    windows = pa.concat_tables(parts).combine_chunks()
    del parts
    pa.default_memory_pool().release_unused()  # the memory that reading took is not needed again
    file_of = np.repeat(np.arange(len(files)), sizes)
    return Windows(files, list(keys), np.concatenate(cases), file_of, windows)


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


def _has_twins(cases: list[np.ndarray], parts: list[pa.Table]) -> bool:
    """Whether two windows of one worker have the same case, replicate and order."""
    if not cases:
        return False
    chunks = {name: [chunk for part in parts for chunk in part[name].chunks] for name in PLACE_IN_FILE}
    numbers = {name: pa.chunked_array(pieces).to_numpy() for name, pieces in chunks.items()}
    frame = pd.DataFrame({"case": np.concatenate(cases), **numbers})
    return bool(frame.duplicated().any())


def _refuse_unknown(windows: Windows, cases: Mapping[str, int]) -> None:
    """Raise UserError at the first window whose case the run does not have."""
    unknown = [index for index, key in enumerate(windows.keys) if key not in cases]
    if not unknown:
        return
    row = int(np.argmax(np.isin(windows.case, unknown)))
    file = windows.file[row]
    raise UserError(
        f"{windows.files[file]}, line {row - int(np.argmax(windows.file == file)) + 1}: "
        f"case: measurements.jsonl has no {windows.keys[windows.case[row]]!r}; one of the two files is another run's"
    )


def _refuse_too_many(windows: Windows, number: np.ndarray, cases: pd.DataFrame) -> None:
    """Raise UserError where a visit has more windows than its turns; `number` is the row of each window's case."""
    workload = cases.groupby(list(WORKLOAD_AXES), dropna=False).ngroup().to_numpy()
    replicate, replicates = pd.factorize(windows.table["replicate"].to_numpy())
    visits = (windows.file * (workload.max(initial=0) + 1) + workload[number]) * (len(replicates) + 1) + replicate
    visit, _ = pd.factorize(visits)
    turns = windows.table["turns"].to_numpy()
    is_beyond = np.bincount(visit)[visit] > turns
    if is_beyond.any():
        row = int(np.argmax(is_beyond))
        raise too_many(windows.files[windows.file[row]], int(turns[row]))


def order_statistics(windows: pd.DataFrame) -> pa.ListArray:
    """The column `quantiles` of a frame of windows, as one Arrow array."""
    lists: Any = pa.array(windows["quantiles"], pa.list_(pa.float64()))
    return lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists


def _column(column: pa.ChunkedArray) -> Any:
    """A column of windows for a frame; lists stay in Arrow, which takes a tenth of the memory of Python's lists."""
    if pa.types.is_list(column.type):
        return pd.array(column, dtype=pd.ArrowDtype(column.type))
    return column.to_pandas()


def _place(axes: Mapping[Any, Any]) -> tuple[Any, ...]:
    return tuple(axes[axis] for axis in PLACE)
