"""The times of a run from frames of its windows, as `rnnbench.load(...)` gives them, or read back from a file."""

import numpy as np
import pandas as pd
import pyarrow as pa

from rnnbench.analysis.runs.run_times import RunTimes, counted
from rnnbench.analysis.runs.visits import reduced
from rnnbench.errors import UserError
from rnnbench.store.frames import CASE_COLUMNS, OBSERVED_COLUMNS, QUANTILES, STEP_COLUMNS, without_categories
from rnnbench.store.records import AXES, DEFAULTS

KEYS = ["run", "case"]
NEEDED = (*KEYS, *(axis for axis in AXES if axis not in DEFAULTS), "status", "replicate", "worker", "order", "turns")
NEEDED += ("calls", "seconds", "host_seconds", *QUANTILES)
SAME_WINDOW = ["run", "case", "replicate", "worker", "order"]
ORIGIN = "rnnbench.load(...).windows has it, and so has what `rnnbench export --windows` writes"
TEXTS = ("reason", "parity", "backend", "missing", "ceiling")


def run_times(windows: pd.DataFrame, cases: pd.DataFrame | None = None, steps: pd.DataFrame | None = None) -> RunTimes:
    """The times of one run or several. Without `cases`, only what the windows say of their cases is known.

    Raises UserError if a column is missing, if a case of the windows is not in `cases`, or if there are windows of
    streams and no `steps`.
    """
    refuse_missing(windows, NEEDED, "windows", ORIGIN)
    windows = without_categories(windows)
    known = _of_windows(windows) if cases is None else _completed(cases)
    rows = pd.MultiIndex.from_frame(known[KEYS])
    if rows.has_duplicates:
        raise UserError(f"cases: the case {rows[rows.duplicated()][0][1]!r} has two rows of one run; keep one of them")
    number = rows.get_indexer(pd.MultiIndex.from_frame(windows[KEYS]))
    if len(number) and number.min() < 0:
        stranger = windows["case"].iloc[int(np.argmax(number < 0))]
        raise UserError(f"windows: the case {stranger!r} is not in the frame of cases; take both from the same runs")
    is_stream = known["task"].eq("streaming").to_numpy()
    lists = _lists(windows, is_stream[number], steps)
    table = pa.table(
        {
            **{name: windows[name].to_numpy(dtype=np.int64) for name in ("replicate", "order", "turns", "calls")},
            **{name: _seconds(windows, name) for name in ("seconds", "host_seconds", "submit_seconds")},
            "started": windows["started"].to_numpy(dtype=float) if "started" in windows else np.zeros(len(windows)),
            "worker": pa.array(windows["worker"].astype(str), pa.string()),
            "waits": windows["waits"].to_numpy(dtype=float) if "waits" in windows else np.ones(len(windows)),
            "quantiles": lists,
        }
    )
    return RunTimes.of(known, counted(known, reduced(number.astype(np.int64), table, is_stream)))


def refuse_missing(frame: object, columns: tuple[str, ...], name: str, origin: str) -> None:
    """Raise UserError if this is no frame, or lacks one of the columns; `origin` says where they come from."""
    if not isinstance(frame, pd.DataFrame):
        raise UserError(f"{name}: expected a DataFrame, found {type(frame).__name__}; {origin}")
    if lacking := [column for column in columns if column not in frame]:
        others = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
        raise UserError(f"{name}: no column {lacking[0]!r}{others}; {origin}")


def _of_windows(windows: pd.DataFrame) -> pd.DataFrame:
    """The cases of the windows, in the order in which they appear, with nothing else known of them."""
    return _completed(windows.drop_duplicates(KEYS)[[name for name in (*KEYS, *AXES, "status") if name in windows]])


def _completed(cases: pd.DataFrame) -> pd.DataFrame:
    """The cases with all columns: those that are missing are not known, and so are values that a file left out."""
    refuse_missing(cases, (*KEYS, "status", *(axis for axis in AXES if axis not in DEFAULTS)), "cases", CASES_ORIGIN)
    frame = without_categories(cases).reindex(columns=CASE_COLUMNS).reset_index(drop=True)
    for axis, value in DEFAULTS.items():
        frame[axis] = frame[axis].where(frame[axis].notna(), value).astype(type(value))
    for name in TEXTS:
        frame[name] = frame[name].where(frame[name].notna(), "").astype(str)
    return frame.astype(dict.fromkeys((*OBSERVED_COLUMNS, "parity_error", "warmup_windows", "period_seconds"), float))


CASES_ORIGIN = "rnnbench.load(...).cases has it, and so has what `rnnbench export` writes"


def _seconds(windows: pd.DataFrame, name: str) -> np.ndarray:
    values = windows[name] if name in windows else windows["host_seconds"]
    seconds: np.ndarray = values.to_numpy(dtype=float)
    return seconds


def _lists(windows: pd.DataFrame, is_stream: np.ndarray, steps: pd.DataFrame | None) -> pa.ListArray:
    """The order statistics of each window, those of a stream from the frame of its steps."""
    table = windows[list(QUANTILES)].to_numpy(dtype=float)
    sizes = (~np.isnan(table)).sum(axis=1)
    points = table[~np.isnan(table)]
    if is_stream.any():
        if steps is None:
            raise UserError("windows: some are of streams, whose every step counts: give the frame of steps, too")
        refuse_missing(steps, STEP_COLUMNS, "steps", "rnnbench.load(...).steps has it")
        sizes, points = _with_steps(_keyed(windows), is_stream, _keyed(without_categories(steps)), sizes, points)
    ends = np.concatenate(([0], np.cumsum(sizes)))
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(points))


def _keyed(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with workers by their numbers as text: `0001` is 1 once a CSV file was read."""
    return frame.assign(worker=frame["worker"].astype(str).str.lstrip("0"))


def _with_steps(
    windows: pd.DataFrame, is_stream: np.ndarray, steps: pd.DataFrame, sizes: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    of_window = {key: part["seconds"].to_numpy(dtype=float) for key, part in steps.groupby(SAME_WINDOW, sort=False)}
    parts = np.split(points, np.cumsum(sizes)[:-1])
    for row in np.flatnonzero(is_stream):
        key = tuple(windows[name].iloc[row] for name in SAME_WINDOW)
        if key not in of_window:
            raise UserError(f"steps: none of window {key[-1]} of replicate {key[2]} of the case {key[1]!r}")
        parts[row] = np.sort(of_window[key])
    return np.array([len(part) for part in parts]), np.concatenate(parts)
