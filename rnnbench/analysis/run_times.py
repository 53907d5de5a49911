"""A run, or several, as two frames: its cases, and a row for each case in each replicate that counts.

Each case's windows in a visit are reduced to one row, from which times, ratios and noise follow: a run may have ten
million windows. They come from a run's folder, one worker after another (`read_whole`), or from frames, as
`rnnbench.load(...)` gives them (`run_of_frames`).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa

from rnnbench.analysis.environments import MOST_CLOCKS_APART
from rnnbench.analysis.quiet import low_logs
from rnnbench.analysis.replicate_times import LEVELS, MIDDLE, log_quantiles, log_ratios
from rnnbench.errors import UserError
from rnnbench.store.folder import last_measurements, read_info
from rnnbench.store.frames import (
    CASE_COLUMNS,
    LISTS,
    OBSERVED_COLUMNS,
    QUANTILES,
    QUIET_LOW,
    STEP_COLUMNS,
    case_frame,
    parts,
    window_tables,
    with_categories,
    without_categories,
)
from rnnbench.store.frames import joined as joined_windows
from rnnbench.store.parity import parities
from rnnbench.store.records import AXES, DEFAULTS, WORKLOAD_AXES, Measurement
from rnnbench.store.run_info import Note, RunInfo, of_kinds
from rnnbench.store.window_checks import repeated, wrong_value
from rnnbench.text import plural

SUMMED = ("seconds", "host_seconds", "submit_seconds", "waits")
COUNT_COLUMNS = ("pulses", "quiet_pulses", "quiet_blocks")
QUIET_COLUMNS = (*COUNT_COLUMNS, "best_pulse", "quiet_seconds", "quiet_low")
STORED = (
    "started",
    "calls",
    *SUMMED,
    "quantiles",
    *QUIET_COLUMNS,
    "sm_clock_mhz",
)  # the columns of stored windows that times follow from
SLOWER_BEST = 1.2  # times the best pulse of a run: a worker whose own best was slower has never seen a quiet core
MAX_NOISE_CASES = 1_000  # that show the noise of a run; two halves of all visits take as long as all else
CASE_KEYS = ["run", "case"]
CASE_NEEDS = (*CASE_KEYS, *(axis for axis in AXES if axis not in DEFAULTS), "status")
WINDOW_NEEDS = (
    *(*CASE_NEEDS, "replicate", "worker", "order", "turns"),
    *("calls", "seconds", "host_seconds", *QUANTILES),
)
WINDOW_KEYS = ["run", "case", "replicate", "worker", "order"]
TEXTS = ("reason", "backend", "missing", "ceiling")
NUMBER_COLUMNS = (*OBSERVED_COLUMNS, "parity_error", "warmup_windows", "period_seconds")


@dataclass(frozen=True)
class RunTimes:
    """The cases of a run and their times."""

    cases: pd.DataFrame  # a row for each case, with the columns of `rnnbench.store.frames`
    # A row for each case and visit that counts, with the columns of `reduced`; `run`, `case`, `implementation` and the
    # number of the `workload`; `median_seconds`, its logarithm `log_seconds`, and `log_mean`. Visits that were cut off
    # are left out, since they are not balanced, and so are those of a GPU that was held back, and cases that are not
    # measured: one that works twice and then fails has no time, though its windows are kept.
    replicates: pd.DataFrame

    @classmethod
    def from_visits(cls, cases: pd.DataFrame, visits: pd.DataFrame) -> Self:
        """Return the times of cases from their visits, whether these were complete or not."""
        number = visits["number"].to_numpy()
        workloads = cases.groupby(["run", *WORKLOAD_AXES]).ngroup().to_numpy()
        rows = visits.assign(workload=workloads[number])
        windows_of_visit = rows.groupby(["workload", "replicate", "worker"])["windows"].transform("sum")
        counts = windows_of_visit.eq(rows["turns"]).to_numpy() & cases["status"].eq("measured").to_numpy()[number]
        counts &= ~held_back(visits).to_numpy()
        rows = rows[counts].drop_duplicates(["number", "replicate"]).reset_index(drop=True)
        of_cases = with_categories(cases[["run", "case", "implementation"]])
        rows = rows.join(of_cases, on="number")
        rows["log_seconds"] = [float(quantiles[MIDDLE]) for quantiles in rows["log_quantiles"]]
        rows["median_seconds"] = np.exp(rows["log_seconds"].to_numpy(dtype=float))
        rows["log_mean"] = np.log((rows["seconds"] / rows["calls"]).to_numpy(dtype=float))
        is_blind = rows["best_pulse"] > SLOWER_BEST * rows.groupby("run", observed=True)["best_pulse"].transform("min")
        rows.loc[is_blind, ["quiet_pulses", "quiet_blocks"]] = 0
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


def read_run_times(path: Path) -> RunTimes:
    """Read a run's folder; raises UserError if it is not one, or if a line that counts can't be read."""
    return read_whole(path)[2]


def read_whole(path: Path) -> tuple[RunInfo, dict[str, Measurement], RunTimes]:
    """Read a run's folder, with `run.json` and the last measurement of each case, by its key.

    The notes of `run.json` also say which windows were lost since: files that were removed, or not copied. Raises
    UserError if all were.
    """
    info = read_info(path)
    measurements = last_measurements(path)
    cases = case_frame(path, info, measurements.values())
    is_stream = cases["task"].eq("streaming").to_numpy()
    tables = window_tables(path, info.id, {key: row for row, key in enumerate(measurements)}, STORED)
    of_workers = [reduced(table, is_stream) for table in tables] or [reduced(joined_windows([]), is_stream)]
    visits = pd.concat(of_workers, ignore_index=True)
    is_measured = cases["status"].eq("measured").to_numpy()
    if info.replicates and is_measured.any():
        count = int(is_measured.sum())
        lost = info.replicates - visits["replicate"].nunique()
        if visits.empty:
            raise UserError(
                f"{path}: all windows of {plural(count, 'measured case')} are missing: windows-*.jsonl; restore these "
                "files, or measure again"
            )
        if lost > 0:
            what = f"{lost:,} of {plural(info.replicates, 'finished replicate')}"
            missing = Note(f"those of {what}; nothing here counts what they held", "windows are missing")
            info = replace(info, notes=[*info.notes, missing])
    if count := int(held_back(visits).sum()):
        share = f"{count:,} of {plural(len(visits), 'measurement')} of a case"
        slow = f"the GPU's clock was over 2% below its usual rate in {share}"
        info = replace(info, notes=[*info.notes, Note(f"{slow}; nothing here counts these", "held back")])
    return info, measurements, RunTimes.from_visits(cases, visits)


def held_back(visits: pd.DataFrame) -> "pd.Series[bool]":
    """Return of each visit if its GPU was held back: its clock ran below that of the case's median by more than 2%."""
    usual = visits.groupby("number")["sm_clock_mhz"].transform("median")
    return visits["sm_clock_mhz"] * MOST_CLOCKS_APART < usual


def noted(info: RunInfo) -> list[str]:
    """Return the notes on windows that are missing or not counted, among all notes of a run."""
    return list(map(str, of_kinds(info.notes, ["windows are missing", "held back"])))


def noted_of_runs(runs: Iterable[tuple[str, RunInfo]]) -> list[str]:
    """Return the notes of `noted` of several runs, each after the name of its run."""
    return [f"{name}: {line}" for name, info in runs for line in noted(info)]


def reduced(windows: pa.Table, is_stream: np.ndarray) -> pd.DataFrame:
    """Return a row for each case and visit of some windows, which contain each visit whole or not at all.

    `windows`: with the row `number` of their case; `is_stream`: of each case, whether its windows have the seconds of
    every step. Columns:

    - `number`, `replicate`, `worker`, `turns` (windows of the whole visit, of all its cases);
    - `sm_clock_mhz`, the mean clock rate of its GPU; NaN if it is not known;
    - `started`: seconds from the begin of the run to that of the first of its windows;
    - `windows`, and the sums of their `calls`, `seconds`, `host_seconds`, `submit_seconds` and `waits`;
    - `log_quantiles`: 49 quantiles of the logarithms of the seconds of all calls, as an array;
    - `self_log_ratio`: the log-ratio of one half of the windows to the other, dealt out in the order in which two cases
      would take turns; NaN for a single window, and for most cases of a run with more than `MAX_NOISE_CASES`;
    - `pulses`, and of these the `quiet_pulses`; the `best_pulse`, in seconds; `quiet_blocks` between quiet pulses;
    - `quiet_logs`: the logarithms of the seconds per call of the fastest quiet blocks, as an array of `BINS`;
    - `log_quiet_mean`: the logarithm of the mean seconds per call of the quiet blocks;
    - `steps`: of a stream, the seconds of all its steps, as an array; None for other cases.
    """
    frame = windows.drop_columns(["quantiles", "quiet_low"]).to_pandas()
    frame = frame.assign(
        submit_seconds=frame["submit_seconds"].fillna(frame["host_seconds"]),
        waits=frame["waits"].astype(float).fillna(1.0),
        in_quiet_blocks=(frame["quiet_seconds"] * frame["quiet_blocks"]).astype(float),
        **{name: frame[name].astype(float).fillna(0.0) for name in COUNT_COLUMNS},
    )
    visits = frame.groupby(["number", "replicate", "worker"])
    group = visits.ngroup().to_numpy()
    calls = frame["calls"].to_numpy(dtype=float)
    summed = dict.fromkeys(["calls", *SUMMED, *COUNT_COLUMNS, "in_quiet_blocks"], "sum")
    whole = {"turns": "first", "order": "size", "started": "min", "best_pulse": "min", "sm_clock_mhz": "mean", **summed}
    rows: pd.DataFrame = visits.agg(whole).rename(columns={"order": "windows"}).reset_index()
    sizes, points = parts(windows["quantiles"])
    rows["log_quantiles"] = list(log_quantiles(group, sizes, points, calls))
    rows["quiet_logs"] = list(low_logs(group, *parts(windows["quiet_low"]), frame["quiet_blocks"].to_numpy()))
    with np.errstate(divide="ignore", invalid="ignore"):  # of visits without a quiet block
        rows["log_quiet_mean"] = np.log(rows.pop("in_quiet_blocks").to_numpy() / rows["quiet_blocks"].to_numpy())
    # ABBA: the first of a pair of turns goes to one half, in the next pair to the other, and so on over replicates.
    turn = visits["order"].rank(method="first").to_numpy(dtype=int) - 1
    side = (turn % 2 + turn // 2 + frame["replicate"].to_numpy()) % 2
    chosen = frame["number"].to_numpy() % math.ceil(len(is_stream) / MAX_NOISE_CASES) == 0
    sides, of_side = np.unique((2 * group + side)[chosen], return_inverse=True)
    halves = np.full((len(rows), 2, len(LEVELS)), np.nan)
    halves[sides // 2, sides % 2] = log_quantiles(
        of_side, sizes[chosen], points[np.repeat(chosen, sizes)], calls[chosen]
    )
    rows["self_log_ratio"] = log_ratios(halves[:, 1], halves[:, 0])
    steps = np.full(len(rows), None, dtype=object)
    of_point = np.repeat(group, sizes)
    for index in np.flatnonzero(is_stream[rows["number"].to_numpy()]):
        steps[index] = points[of_point == index]
    return rows.assign(steps=steps)


def run_of_frames(
    windows: pd.DataFrame, cases: pd.DataFrame | None = None, steps: pd.DataFrame | None = None
) -> RunTimes:
    """Return the times of one run or several. Without `cases`, only what the windows say of their cases is known.

    Raises UserError if a column is missing, if a case of the windows has not one row in `cases`, or if there are
    windows of streams and no `steps`.
    """
    windows = _plain(windows, WINDOW_NEEDS, "windows", "and so has what `rnnbench export --windows` writes")
    case_rows = windows.drop_duplicates(CASE_KEYS) if cases is None else cases
    case_rows = _plain(case_rows, CASE_NEEDS, "cases", "and so has what `rnnbench export` writes")
    case_rows = case_rows.reindex(columns=CASE_COLUMNS).reset_index(drop=True)
    for name, value in {**DEFAULTS, **dict.fromkeys(TEXTS, "")}.items():
        case_rows[name] = case_rows[name].where(case_rows[name].notna(), value).astype(type(value))
    case_rows = case_rows.astype(dict.fromkeys(NUMBER_COLUMNS, float))
    case_rows["parity"] = pd.Series(parities(case_rows["parity"]), index=case_rows.index, dtype=object)
    rows = pd.MultiIndex.from_frame(case_rows[CASE_KEYS])
    of_windows = pd.MultiIndex.from_frame(windows[CASE_KEYS])
    if rows.has_duplicates or not of_windows.isin(rows).all():
        raise UserError("cases: expected one row for each case of each run; take windows and cases from the same runs")
    number = rows.get_indexer(of_windows).astype(np.int64)
    lists = _lists(windows, QUANTILES)
    is_stream = case_rows["task"].eq("streaming").to_numpy()
    streamed = np.flatnonzero(is_stream[number])
    if len(streamed):
        by_window = _plain(steps, STEP_COLUMNS, "steps", "if the run has streams").groupby(WINDOW_KEYS)["seconds"]
        seconds_of_steps = by_window.agg(list).reindex(pd.MultiIndex.from_frame(windows.iloc[streamed][WINDOW_KEYS]))
        if seconds_of_steps.isna().any():
            raise UserError("steps: some windows of streams have none; take windows and steps from the same runs")
        for index, seconds in zip(streamed.tolist(), seconds_of_steps, strict=True):
            lists[index] = seconds
    plain = ["started", *SUMMED, "sm_clock_mhz", *(name for name in QUIET_COLUMNS if name not in LISTS)]
    frame = windows.reindex(columns=["replicate", "worker", "order", "turns", "calls", *plain]).assign(number=number)
    table = pa.Table.from_pandas(frame.astype(dict.fromkeys(plain, float)), preserve_index=False)
    low = _lists(windows.reindex(columns=list(QUIET_LOW)), QUIET_LOW)
    for name, values in (("quantiles", lists), ("quiet_low", low)):
        table = table.append_column(name, pa.array(values, pa.list_(pa.float64())))
    _refuse_impossible(table, frame)
    return RunTimes.from_visits(case_rows, reduced(table, is_stream))


def _lists(windows: pd.DataFrame, columns: Sequence[str]) -> list[Any]:
    """Return the numbers that each row has in some columns."""
    return [row[~np.isnan(row)] for row in windows[list(columns)].to_numpy(dtype=float)]


def _refuse_impossible(table: pa.Table, frame: pd.DataFrame) -> None:
    """Raise UserError for a row of a user's windows with an impossible value, and for a window that is there twice."""
    fault = wrong_value(table)
    if fault is not None:
        raise UserError(f"windows: row {fault[0]}: {fault[1]}")
    keys = (frame[name].to_numpy() for name in ("number", "replicate", "order"))
    repeat = repeated(pd.factorize(frame["worker"])[0], *keys)
    if repeat is not None:
        raise UserError(
            f"windows: row {repeat[1]} is the same window as row {repeat[0]}: equal run, case, replicate, worker and "
            "order. Give each window once"
        )


def _plain(frame: object, columns: Iterable[str], name: str, also: str) -> pd.DataFrame:
    """Return a frame of a user without categories, and with workers by their numbers: `0001` is 1 in a CSV file.

    Raises UserError if it is no frame, or lacks one of the columns; `also` says what else has them.
    """
    if not isinstance(frame, pd.DataFrame):
        raise UserError(f"{name}: expected a DataFrame, found {type(frame).__name__}; take rnnbench.load(...).{name}")
    if lacking := [column for column in columns if column not in frame]:
        others = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
        raise UserError(f"{name}: no column {lacking[0]!r}{others}; rnnbench.load(...).{name} has it, {also}")
    plain = without_categories(frame)
    return plain.assign(worker=plain["worker"].astype(str).str.lstrip("0")) if "worker" in plain else plain
