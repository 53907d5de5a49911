"""A run, or several, as two frames: its cases, and a row for each case in each replicate that counts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from rnnbench.analysis.replicate import MIDDLE
from rnnbench.analysis.runs import lost_windows
from rnnbench.analysis.runs.visits import NEEDED, VISIT_COLUMNS, reduce_windows
from rnnbench.store.folder import last_measurements, read_info
from rnnbench.store.frames import case_frame, category, repeated
from rnnbench.store.records import WORKLOAD_AXES, Measurement
from rnnbench.store.run_info import RunInfo
from rnnbench.store.windows import too_many, window_parts


@dataclass(frozen=True)
class RunTimes:
    """The cases of a run and their times."""

    cases: pd.DataFrame  # a row for each case, with the columns of `rnnbench.store.frames`
    # The columns of `rnnbench.analysis.runs.visits`; `run`, `case`, `implementation` and the number of the `workload`;
    # `median_seconds`, its logarithm `log_seconds`, and `log_mean`. Visits that were cut off are left out, since they
    # are not balanced, and so are cases that are not measured: one that works twice and then fails has no time, though
    # its windows are kept.
    replicates: pd.DataFrame

    @classmethod
    def of(cls, cases: pd.DataFrame, visits: pd.DataFrame) -> Self:
        """From the cases and those of their visits that count."""
        number = visits["number"].to_numpy(dtype=np.int64)
        rows = visits.assign(workload=_workloads(cases)[number])
        for column in ("run", "case", "implementation"):
            rows[column] = repeated(category(cases[column]), number)
        rows["log_seconds"] = [float(quantiles[MIDDLE]) for quantiles in rows["log_quantiles"]]
        rows["median_seconds"] = np.exp(rows["log_seconds"].to_numpy(dtype=float))
        rows["log_mean"] = np.log((rows["seconds"] / rows["calls"]).to_numpy(dtype=float))
        return cls(cases, rows)


def counted(cases: pd.DataFrame, visits: pd.DataFrame) -> pd.DataFrame:
    """The visits that count: complete ones, of cases that are measured."""
    number = visits["number"].to_numpy(dtype=np.int64)
    is_measured = cases["status"].eq("measured").to_numpy()[number]
    rows = visits[(_taken(cases, visits) == visits["turns"].to_numpy()) & is_measured]
    counting: pd.DataFrame = rows.drop_duplicates(["number", "replicate"]).reset_index(drop=True)
    return counting


def _taken(cases: pd.DataFrame, visits: pd.DataFrame) -> np.ndarray:
    """For each row, the windows of its whole visit, of all cases of the workload."""
    workload = _workloads(cases)[visits["number"].to_numpy(dtype=np.int64)]
    keys = visits[["replicate", "worker", "windows"]].assign(workload=workload)
    taken: np.ndarray = keys.groupby(["workload", "replicate", "worker"])["windows"].transform("sum").to_numpy()
    return taken


def _workloads(cases: pd.DataFrame) -> np.ndarray:
    """The number of each case's workload."""
    workloads: np.ndarray = cases.groupby(["run", *WORKLOAD_AXES], dropna=False).ngroup().to_numpy()
    return workloads


def joined(runs: Sequence[RunTimes]) -> RunTimes:
    """Several runs as one; a case of two runs has two rows."""
    if len(runs) == 1:
        return runs[0]
    cases = pd.concat([run.cases for run in runs], ignore_index=True)
    numbers = np.cumsum([0, *(len(run.cases) for run in runs)])
    parts = [
        run.replicates[list(VISIT_COLUMNS)].assign(number=run.replicates["number"] + number)
        for run, number in zip(runs, numbers, strict=False)
    ]
    return RunTimes.of(cases, pd.concat(parts, ignore_index=True))


def read(path: Path) -> RunTimes:
    """Read a run's folder; raises UserError if it is not one, or if a line that counts can't be read."""
    return read_whole(path)[2]


def read_whole(path: Path) -> tuple[RunInfo, dict[str, Measurement], RunTimes]:
    """As `read`, with `run.json` and the last measurement of each case, by its key.

    The notes of `run.json` also say which windows were lost since. Raises UserError if all were.
    """
    info, measurements = read_info(path), last_measurements(path)
    cases = case_frame(path, info, measurements.values())
    row_of = {key: row for row, key in enumerate(measurements)}
    is_stream = cases["task"].eq("streaming").to_numpy()
    visits = reduce_windows(lambda: window_parts(path, info.id, row_of, NEEDED), is_stream)
    _refuse_too_many(path, cases, visits)
    info = replace(info, notes=[*info.notes, *lost_windows.notes(path, info, cases, visits)])
    return info, measurements, RunTimes.of(cases, counted(cases, visits))


def _refuse_too_many(path: Path, cases: pd.DataFrame, found: pd.DataFrame) -> None:
    """Raise UserError if a visit has more windows than its turns."""
    beyond = found[_taken(cases, found) > found["turns"].to_numpy()]
    if len(beyond):
        first = beyond.iloc[0]
        raise too_many(path / f"windows-{first['worker']}.jsonl", int(first["turns"]))
