"""Run folders made for tests, with known times and without starting a process."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rnnbench import load
from rnnbench.analysis.quiet_rounds import RoundTimes
from rnnbench.analysis.replicate_times import LEVELS
from rnnbench.analysis.run_times import RunTimes, read_run_times, read_whole, run_of_frames
from rnnbench.analysis.stored import StoredRun
from rnnbench.store.ceilings import Ceiling, Rate
from rnnbench.store.folder import RunFolder
from rnnbench.store.frames import (
    CASE_COLUMNS,
    OF_WINDOWS,
    QUANTILES,
    SCHEMA,
    window_frame,
    window_tables,
    with_sentences,
    without_categories,
)
from rnnbench.store.parity import AGREES
from rnnbench.store.records import Case, Measurement, Window
from rnnbench.store.run_info import Cache, Processor, RunInfo
from tests.doubles import workload as small

PROCESSOR = Processor("A Processor", "A Maker", "25", "17", "1", ("avx2", "fma"), (Cache(3, "unified", 32 << 20, 8),))
MACHINE = {"processor": PROCESSOR.to_json()}
INFO = RunInfo("test", "made by hand", {}, "rnnbench run test", "2026-01-01T00:00:00+00:00", {"machine": MACHINE})


def stored_run(number: int, cases: Sequence[Case], logs: np.ndarray, **environment: Any) -> StoredRun:
    """Return a run with the given log-ratios (cases, replicates), the later the higher its number."""
    started = f"2026-01-{1 + number // 24:02d}T{number % 24:02d}:00:00+00:00"
    facts = {"git": {"commit": f"{number:040x}"}, "worker": environment, "machine": MACHINE}
    info = RunInfo("simulated", "", {}, "none: simulated", started, facts, status="finished")
    values = logs.ravel()
    columns: dict[str, Any] = {"log_ratio": values, "log_mean_ratio": values + 0.01}
    columns |= {"quiet_log_ratio": np.nan, "log_quiet_mean_ratio": np.nan}
    columns |= {"started": 0.0, "pulses": 0, "quiet_pulses": 0}  # no pulses: nothing is known of the core
    ratios = pd.DataFrame({"case": np.repeat([case.key for case in cases], logs.shape[1]), **columns})
    measurements = {case.key: Measurement(case, "measured", parity=AGREES) for case in cases}
    return StoredRun(f"simulated-{number:02d}", info, measurements, ratios)


def on(processor: Processor | None, ceilings: Sequence[dict[str, Any]] = ()) -> RunInfo:
    """A run's description on a processor, or on one that was not recorded, with ceilings."""
    machine = {} if processor is None else {"processor": processor.to_json()}
    environment = {"machine": machine, "load": {"load_average": 0.1}}
    return replace(INFO, environment=environment, ceilings=list(ceilings))


def ceiling(
    device: str,
    dtype: str,
    threads: int,
    macs_per_second: float,
    copies: Sequence[tuple[int, float]],
    dispatch_seconds: float,
    launch_seconds: float | None,
    *,
    reads: Sequence[tuple[int, float]] = (),
) -> Ceiling:
    """A machine's best rates, which have no spread."""
    return Ceiling(
        device,
        dtype,
        threads,
        products=(Rate("BLAS", macs_per_second),),
        copies=tuple(Rate(*rate) for rate in copies),
        reads=tuple(Rate(*rate) for rate in reads),
        dispatch_seconds=dispatch_seconds,
        launch_seconds=launch_seconds,
    )


def window(case: Case, replicate: int, seconds: Sequence[float], *, worker: str = "", turns: int = 1) -> Window:
    """A window whose calls took the given seconds."""
    total = sum(seconds)
    return Window(
        case=case.key,
        replicate=replicate,
        worker=worker or f"{replicate:04d}",
        order=0,
        turns=turns,
        started=0.0,
        calls=len(seconds),
        batch=1,
        seconds=total,
        host_seconds=total,
        submit_seconds=total,
        quantiles=tuple(sorted(seconds)),
        cores=(0,),
    )


def steady(seconds: float, mean: float | None = None) -> RoundTimes:
    """The times of a case whose calls all take equally long; no pulse tells whether the core was quiet."""
    return RoundTimes(np.full(len(LEVELS), np.log(seconds)), seconds if mean is None else mean)


def written(parent: Path, measurements: Iterable[Measurement], windows: Sequence[Window], **info: Any) -> Path:
    """A run with these measurements and windows; `info` replaces what its `run.json` says."""
    run = RunFolder.create(parent, "test")
    run.write_info(replace(INFO, **{"id": run.path.name[-4:], **info}))
    for measurement in measurements:
        run.add_measurement(measurement)
    for worker in dict.fromkeys(each.worker for each in windows):
        run.add_window(*(each for each in windows if each.worker == worker))
    run.close()
    return run.path


def measured(cases: Iterable[Case]) -> list[Measurement]:
    """The measurements of cases that agree with their references."""
    return [Measurement(case, "measured", parity=AGREES) for case in cases]


def folder(
    parent: Path,
    times: Mapping[Case, Sequence[Sequence[float]]],
    extra: Sequence[Measurement] = (),
    **info: Any,
) -> Path:
    """A run with one window for each case and replicate: `times[case][replicate]` are the seconds of its calls."""
    windows = [
        window(case, replicate, calls, turns=sum(each.workload == case.workload for each in times))
        for case, replicates in times.items()
        for replicate, calls in enumerate(replicates)
    ]
    return written(parent, [*measured(times), *extra], windows, **info)


def several(slower: Sequence[float]) -> dict[Case, list[list[float]]]:
    """Times of a cell that is so much slower than its reference at each of several batch sizes."""
    times: dict[Case, list[list[float]]] = {}
    for batch, ratio in enumerate(slower, 1):
        times |= {small.case("vanilla", batch_size=batch): [[ratio]] * 6}
        times |= {small.reference_case(batch_size=batch): [[1.0]] * 6}
    return times


def rows(path: Path) -> pd.DataFrame:
    """A row for each window with all that is known of its case, and one for each case without windows."""
    info, measurements, times = read_whole(path)
    row_of = {key: row for row, key in enumerate(measurements)}
    cases = with_sentences(times.cases)
    windows = without_categories(window_frame(times.cases, window_tables(path, info.id, row_of, SCHEMA.names)))
    return cases[CASE_COLUMNS].merge(windows[["case", *OF_WINDOWS]], on="case", how="left")


def times_of(windows: Sequence[tuple[Case, Window]]) -> RunTimes:
    """The times of windows that no file holds."""
    lines = []
    for case, made in windows:
        line = made.to_json()
        points = dict(zip(QUANTILES, [*line.pop("quantiles"), *[np.nan] * len(QUANTILES)], strict=False))
        lines.append({**case.axes(), "run": "r", "status": "measured", **line, **points})
    return run_of_frames(pd.DataFrame(lines))


def counted_windows(path: Path) -> pd.DataFrame:
    """The windows of complete visits, with the number of their `workload`."""
    windows = without_categories(load(path).windows)
    return windows.merge(
        read_run_times(path).replicates[["case", "replicate", "worker", "workload"]], on=["case", "replicate", "worker"]
    )
