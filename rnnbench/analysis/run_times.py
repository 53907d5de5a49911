"""A run, or several, as two frames: its cases, and a row for each case in each replicate that counts.

Each case's windows in a visit are reduced to one row, from which times, ratios and noise follow: a run may have ten
million windows. They come from a run's folder, one worker after another (`read_whole`), or from frames, as
`rnnbench.load(...)` gives them (`of_frames`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa

from rnnbench.analysis.replicate import LEVELS, MIDDLE, log_quantiles, log_ratios
from rnnbench.errors import UserError
from rnnbench.store.folder import last_measurements, read_info
from rnnbench.store.frames import (
    CASE_COLUMNS,
    OBSERVED_COLUMNS,
    QUANTILES,
    STEP_COLUMNS,
    case_frame,
    category,
    repeated,
    without_categories,
)
from rnnbench.store.records import AXES, DEFAULTS, WORKLOAD_AXES, Measurement
from rnnbench.store.run_info import RunInfo
from rnnbench.store.windows import SCHEMA, window_tables
from rnnbench.text import plural

SUMMED = ("seconds", "host_seconds", "submit_seconds", "waits")
STORED = ("calls", *SUMMED, "quantiles")  # the columns of stored windows that times follow from
MAX_CALLS = float(np.nextafter(2.0**63, 0))  # a count that a file of somebody else may hold, and an integer too
LOST = "windows are missing: "  # how the notes on them begin
KEYS = ["run", "case"]
CASE_NEEDS = (*KEYS, *(axis for axis in AXES if axis not in DEFAULTS), "status")
WINDOW_NEEDS = (
    *(*CASE_NEEDS, "replicate", "worker", "order", "turns"),
    *("calls", "seconds", "host_seconds", *QUANTILES),
)
SAME_WINDOW = ["run", "case", "replicate", "worker", "order"]
TEXTS = ("reason", "parity", "backend", "missing", "ceiling")
NUMBERS = (*OBSERVED_COLUMNS, "parity_error", "warmup_windows", "period_seconds")


@dataclass(frozen=True)
class RunTimes:
    """The cases of a run and their times."""

    cases: pd.DataFrame  # a row for each case, with the columns of `rnnbench.store.frames`
    # A row for each case and visit that counts, with the columns of `reduced`; `run`, `case`, `implementation` and the
    # number of the `workload`; `median_seconds`, its logarithm `log_seconds`, and `log_mean`. Visits that were cut off
    # are left out, since they are not balanced, and so are cases that are not measured: one that works twice and then
    # fails has no time, though its windows are kept.
    replicates: pd.DataFrame

    @classmethod
    def of(cls, cases: pd.DataFrame, visits: pd.DataFrame) -> Self:
        """Return the times of cases from their visits, whether these were complete or not."""
        number = visits["number"].to_numpy()
        workloads = cases.groupby(["run", *WORKLOAD_AXES]).ngroup().to_numpy()
        rows = visits.assign(workload=workloads[number])
        taken = rows.groupby(["workload", "replicate", "worker"])["windows"].transform("sum")
        counts = taken.eq(rows["turns"]).to_numpy() & cases["status"].eq("measured").to_numpy()[number]
        rows = rows[counts].drop_duplicates(["number", "replicate"]).reset_index(drop=True)
        for column in ("run", "case", "implementation"):
            rows[column] = repeated(category(cases[column]), rows["number"].to_numpy(dtype=np.int64))
        rows["log_seconds"] = [float(quantiles[MIDDLE]) for quantiles in rows["log_quantiles"]]
        rows["median_seconds"] = np.exp(rows["log_seconds"].to_numpy(dtype=float))
        rows["log_mean"] = np.log((rows["seconds"] / rows["calls"]).to_numpy(dtype=float))
        return cls(cases, rows)


def joined(runs: Sequence[RunTimes]) -> RunTimes:
    """Return several runs as one; a case of two runs has two rows."""
    if len(runs) == 1:
        return runs[0]
    before = np.cumsum([0, *(len(run.cases) for run in runs)])
    parts = [
        without_categories(run.replicates).assign(
            number=run.replicates["number"] + offset, workload=run.replicates["workload"] + offset
        )
        for run, offset in zip(runs, before, strict=False)
    ]
    cases = pd.concat([run.cases for run in runs], ignore_index=True)
    return RunTimes(cases, pd.concat(parts, ignore_index=True))


def read(path: Path) -> RunTimes:
    """Read a run's folder; raises UserError if it is not one, or if a line that counts can't be read."""
    return read_whole(path)[2]


def read_whole(path: Path) -> tuple[RunInfo, dict[str, Measurement], RunTimes]:
    """Read a run's folder, with `run.json` and the last measurement of each case, by its key.

    The notes of `run.json` also say which windows were lost since: files that were removed, or not copied. Raises
    UserError if all were.
    """
    info, measurements = read_info(path), last_measurements(path)
    cases = case_frame(path, info, measurements.values())
    is_stream = cases["task"].eq("streaming").to_numpy()
    tables = window_tables(path, info.id, {key: row for row, key in enumerate(measurements)}, STORED)
    of_workers = [reduced(*each, is_stream) for each in tables]
    nothing = reduced(np.empty(0, dtype=np.int64), SCHEMA.empty_table(), is_stream)
    visits = pd.concat(of_workers or [nothing], ignore_index=True)
    is_measured = cases["status"].eq("measured").to_numpy()
    if info.replicates and is_measured.any():
        count, lost = int(is_measured.sum()), info.replicates - visits["replicate"].nunique()
        if visits.empty:
            raise UserError(
                f"{path}: all windows of {plural(count, 'measured case')} are missing: windows-*.jsonl; restore these "
                "files, or measure again"
            )
        what = f"{lost:,} of {plural(info.replicates, 'finished replicate')}" if lost > 0 else ""
        if not what and info.status == "finished":
            without = int((is_measured & ~np.isin(np.arange(len(cases)), visits["number"])).sum())
            what = f"{without:,} of {plural(count, 'measured case')}" if without else ""
        if what:
            info = replace(info, notes=[*info.notes, f"{LOST}those of {what}; nothing here counts what they held"])
    return info, measurements, RunTimes.of(cases, visits)


def noted(info: RunInfo) -> list[str]:
    """Return the notes on missing windows among all notes of a run."""
    return [note for note in info.notes if note.startswith(LOST)]


def noted_of_runs(runs: Iterable[tuple[str, RunInfo]]) -> list[str]:
    """Return the notes on missing windows of several runs, each after the name of its run."""
    return [f"{name}: {note}" for name, info in runs for note in noted(info)]


def reduced(number: np.ndarray, windows: pa.Table, is_stream: np.ndarray) -> pd.DataFrame:
    """Return a row for each case and visit of some windows, which contain each visit whole or not at all.

    `number`: the row of each window's case; `is_stream`: of each case, whether its windows have the seconds of every
    step. Columns:

    - `number`, `replicate`, `worker`, `turns` (windows of the whole visit, of all its cases);
    - `windows`, and the sums of their `calls`, `seconds`, `host_seconds`, `submit_seconds` and `waits`;
    - `log_quantiles`: 49 quantiles of the logarithms of the seconds of all calls, as an array;
    - `self_log_ratio`: the log-ratio of one half of the windows to the other, dealt out in the order in which two cases
      would take turns; NaN for a single window;
    - `steps`: of a stream, the seconds of all its steps, as an array; None for other cases.
    """
    keys = pd.DataFrame({"number": number, **{name: windows[name].to_numpy() for name in ("replicate", "worker")}})
    group = keys.groupby(["number", "replicate", "worker"]).ngroup().to_numpy()
    _, firsts = np.unique(group, return_index=True)
    rows = keys.iloc[firsts].assign(turns=windows["turns"].to_numpy()[firsts]).reset_index(drop=True)
    calls = windows["calls"].to_numpy().astype(float)
    sums = {name: windows[name].to_numpy().astype(float) for name in SUMMED}
    for name, older in (("submit_seconds", sums["host_seconds"]), ("waits", 1.0)):
        sums[name] = np.where(np.isnan(sums[name]), older, sums[name])
    rows["windows"] = np.bincount(group, minlength=len(rows))
    rows["calls"] = np.minimum(np.bincount(group, calls, minlength=len(rows)), MAX_CALLS).astype(np.int64)
    for name, values in sums.items():
        rows[name] = np.bincount(group, values, minlength=len(rows))
    lists = windows["quantiles"].combine_chunks()
    sizes, points = lists.value_lengths().to_numpy(), lists.flatten().to_numpy()
    rows["log_quantiles"] = list(log_quantiles(group, sizes, points, calls))
    # ABBA: the first of a pair of turns goes to one arm, in the next pair to the other, and so on over replicates.
    turn = places(group, windows["order"].to_numpy())
    side = (turn % 2 + turn // 2 + keys["replicate"].to_numpy()) % 2
    sides, of_side = np.unique(2 * group + side, return_inverse=True)
    halves = np.full((len(rows), 2, len(LEVELS)), np.nan)
    halves[sides // 2, sides % 2] = log_quantiles(of_side, sizes, points, calls)
    rows["self_log_ratio"] = log_ratios(halves[:, 1], halves[:, 0])
    steps, of_point = np.full(len(rows), None, dtype=object), np.repeat(group, sizes)
    for index in np.flatnonzero(is_stream[rows["number"].to_numpy()]):
        steps[index] = points[of_point == index]
    return rows.assign(steps=steps)


def places(group: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return the index of each row among those of its group, by `order`: 0, 1, 2, ..."""
    rows = np.lexsort((order, group))
    ordered = group[rows]
    indices = np.empty(len(rows), dtype=np.int64)
    indices[rows] = np.arange(len(rows)) - np.searchsorted(ordered, ordered)
    return indices


def of_frames(windows: pd.DataFrame, cases: pd.DataFrame | None = None, steps: pd.DataFrame | None = None) -> RunTimes:
    """Return the times of one run or several. Without `cases`, only what the windows say of their cases is known.

    Raises UserError if a column is missing, if a case of the windows is not in `cases`, or if there are windows of
    streams and no `steps`.
    """
    _refuse_missing(windows, WINDOW_NEEDS, "windows", "and so has what `rnnbench export --windows` writes")
    windows = without_categories(windows)
    known = windows.drop_duplicates(KEYS) if cases is None else cases
    _refuse_missing(known, CASE_NEEDS, "cases", "and so has what `rnnbench export` writes")
    known = without_categories(known).reindex(columns=CASE_COLUMNS).reset_index(drop=True)
    for name, value in {**DEFAULTS, **dict.fromkeys(TEXTS, "")}.items():
        known[name] = known[name].where(known[name].notna(), value).astype(type(value))
    known = known.astype(dict.fromkeys(NUMBERS, float))
    rows = pd.MultiIndex.from_frame(known[KEYS])
    if rows.has_duplicates:
        raise UserError(f"cases: the case {rows[rows.duplicated()][0][1]!r} has two rows of one run; keep one of them")
    number = rows.get_indexer(pd.MultiIndex.from_frame(windows[KEYS])).astype(np.int64)
    if len(number) and number.min() < 0:
        stranger = windows["case"].iloc[int(np.argmax(number < 0))]
        raise UserError(f"windows: the case {stranger!r} is not in the frame of cases; take both from the same runs")
    is_stream = known["task"].eq("streaming").to_numpy()
    frame = windows.reindex(columns=["replicate", "worker", "order", "turns", "calls", *SUMMED])
    table = pa.Table.from_pandas(frame.astype({"worker": str, **dict.fromkeys(SUMMED, float)}), preserve_index=False)
    table = table.append_column("quantiles", _lists(windows, is_stream[number], steps))
    return RunTimes.of(known, reduced(number, table, is_stream))


def _refuse_missing(frame: object, columns: Iterable[str], name: str, also: str) -> None:
    """Raise UserError if this is no frame, or lacks one of the columns; `also` says what else has them."""
    if not isinstance(frame, pd.DataFrame):
        raise UserError(f"{name}: expected a DataFrame, found {type(frame).__name__}; take rnnbench.load(...).{name}")
    if lacking := [column for column in columns if column not in frame]:
        others = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
        raise UserError(f"{name}: no column {lacking[0]!r}{others}; rnnbench.load(...).{name} has it, {also}")


def _lists(windows: pd.DataFrame, is_stream: np.ndarray, steps: pd.DataFrame | None) -> pa.Array:
    """Return the order statistics of each window, those of a stream from the frame of its steps."""
    lists = [row[~np.isnan(row)] for row in windows[list(QUANTILES)].to_numpy(dtype=float)]
    if is_stream.any():
        if steps is None:
            raise UserError("windows: some are of streams, whose every step counts: give the frame of steps, too")
        _refuse_missing(steps, STEP_COLUMNS, "steps", "if the run has streams")
        rows = _with_plain_workers(without_categories(steps)).groupby(SAME_WINDOW)["seconds"]
        of_window = {key: np.sort(seconds.to_numpy(dtype=float)) for key, seconds in rows}
        streams = pd.MultiIndex.from_frame(_with_plain_workers(windows)[SAME_WINDOW][is_stream])
        for index, key in zip(np.flatnonzero(is_stream).tolist(), streams, strict=True):
            if key not in of_window:
                raise UserError(f"steps: none of window {key[4]} of replicate {key[2]} of the case {key[1]!r}")
            lists[index] = of_window[key]
    return pa.array(lists, pa.list_(pa.float64()))


def _with_plain_workers(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with workers by their numbers as text: `0001` is 1 once a CSV file was read."""
    return frame.assign(worker=frame["worker"].astype(str).str.lstrip("0"))
