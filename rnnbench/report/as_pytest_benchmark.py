"""pytest-benchmark's JSON, which `pytest-benchmark compare` and other tools read.

A round is a replicate: its time per call is the median of all its calls, as everywhere in rnnbench. So `stddev`
and `iqr` are the scatter between processes, which a difference must exceed, and `median` is near the time that a report
shows. `fullname` is the case's key, the same in every run; `name` is unique among the cases of one run; the group is
the workload in words; and `extra_info` has every axis and every known value.
"""

import json
import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.analysis.run_times import RunTimes
from rnnbench.report.words.names import SETTINGS, SIZES, say_all, series_name, several
from rnnbench.store.metrics import METRICS
from rnnbench.store.pytest_benchmark import ORIGIN
from rnnbench.store.records import AXES, OF_DATA, WORKLOAD_AXES, reference_cell
from rnnbench.store.run_info import RunInfo
from rnnbench.version import __version__

FORMAT_VERSION = "5.1.0"  # of pytest-benchmark, whose fields these are
KNOWN = ("parity", "backend", "bound_by", "mean_seconds", "seconds", "seconds_low", "seconds_high")
RATIOS = ("ratio", "ratio_low", "ratio_high")
DIFFER = ("phase", *SIZES, *SETTINGS)
FIRST = ("phase", "task", "device", "dtype", "threads")  # a workload's first axes in words, after its reference
FENCE = 1.5  # interquartile ranges beyond the quartiles, outside which Tukey calls a value an outlier


def render(info: RunInfo, times: RunTimes, summary: pd.DataFrame) -> str:
    """One JSON object: what `--benchmark-json` writes, and what else rnnbench knows."""
    by_case = times.replicates.groupby("case", observed=True)
    of_case = {case: rows.sort_values("replicate") for case, rows in by_case}
    axes, timed = several(summary, DIFFER), summary[summary["seconds"].notna()]
    git = info.environment.get("git") or {}
    content = {
        "machine_info": _machine(info),
        "commit_info": {
            "id": git.get("commit") or "unversioned",
            "time": None,
            "author_time": None,
            "dirty": bool(git.get("dirty")),
            "project": info.suite,
            "branch": "(unknown)",
        },
        "benchmarks": [_benchmark(row, of_case[row["case"]], axes) for row in timed.to_dict("records")],
        "datetime": info.started,
        "version": FORMAT_VERSION,
        ORIGIN: {
            "version": __version__,
            "suite": info.suite,
            "command": info.command,
            "rounds": "replicates",
        },
    }
    return json.dumps(content, allow_nan=False, indent=1) + "\n"


def _benchmark(row: dict[Any, Any], replicates: pd.DataFrame, axes: list[str]) -> dict[str, Any]:
    param = say_all(axes, (row[axis] for axis in axes))
    values = {axis: plain(row[axis]) for axis in AXES}
    rounds = [float(value) for value in replicates["median_seconds"]]
    return {
        "group": workload(row),
        "name": f"{series_name(row['cell'], row['implementation'])}{f'[{param}]' if param else ''}",
        "fullname": row["case"],
        "params": values,
        "param": param or None,
        "extra_info": {
            **values,
            **{column: plain(row[column]) for column in (*KNOWN, *RATIOS)},
            **{metric.name: plain(row.get(metric.name)) for metric in METRICS},
        },
        "options": {"disable_gc": True, "timer": "rnnbench", "min_rounds": len(rounds), "warmup": True},
        "stats": stats(rounds) | {"iterations": max(1, round(row["calls"] / len(rounds)))},
    }


def plain(value: Any) -> Any:
    """Return a value for JSON: whole numbers without a fraction, None for what is missing or infinite."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _machine(info: RunInfo) -> dict[str, Any]:
    """The recorded machine under pytest-benchmark's names, None for the rest; the whole environment as `rnnbench`."""
    machine, worker = (info.environment.get(part) or {} for part in ("machine", "worker"))
    python = worker.get("python") or info.environment.get("software", {}).get("python")
    unknown = ("node", "machine", "python_compiler", "python_implementation", "python_build", "release")
    return {
        **dict.fromkeys(unknown),
        "processor": machine.get("cpu"),
        "python_implementation_version": python,
        "python_version": python,
        "system": machine.get("system"),
        "cpu": {"brand_raw": machine.get("cpu"), "count": machine.get("cores")},
        ORIGIN: plain(info.environment),
    }


def workload(row: dict[Any, Any]) -> str:
    """Return a case's workload in words, with every axis, so that the words are the same in every run."""
    order = [*FIRST, *(axis for axis in WORKLOAD_AXES if axis not in ("reference", *FIRST))]
    axes = [axis for axis in order if axis not in OF_DATA or row["samples"]]
    return f"{reference_cell(row['reference'])}: {say_all(axes, (row[axis] for axis in axes))}"


def stats(rounds: Sequence[float]) -> dict[str, Any]:
    """The statistics of at least one round; `rounds` has the seconds per call of each."""
    ordered = sorted(rounds)
    # Halfway between neighbours, as the median is: the third method of the textbooks, which pytest-benchmark uses.
    q1, q3 = (float(value) for value in np.quantile(ordered, [0.25, 0.75], method="hazen"))
    mean, total = statistics.fmean(ordered), sum(rounds)
    stddev = statistics.stdev(ordered) if len(ordered) > 1 else 0.0
    low, high = q1 - FENCE * (q3 - q1), q3 + FENCE * (q3 - q1)
    beyond = sum(not low <= value <= high for value in ordered)
    apart = sum(not mean - stddev <= value <= mean + stddev for value in ordered)
    return {
        "min": ordered[0],
        "max": ordered[-1],
        "mean": mean,
        "stddev": stddev,
        "rounds": len(ordered),
        "median": statistics.median(ordered),
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": beyond,
        "stddev_outliers": apart,
        "outliers": f"{apart};{beyond}",
        "ld15iqr": next((value for value in ordered if value >= low), ordered[0]),
        "hd15iqr": next((value for value in reversed(ordered) if value <= high), ordered[-1]),
        "ops": len(ordered) / total,
        "total": total,
        "data": list(rounds),
    }
