"""pytest-benchmark's JSON, which `pytest-benchmark compare` and other tools read.

A round is a replicate: its time per call is the median of all its calls, as everywhere in rnnbench. So `stddev`
and `iqr` are the scatter between processes, which a difference must exceed, and `median` is near the time that a report
shows. `fullname` is the case's key, the same in every run; `name` is unique among the cases of one run; the group is
the workload in words; and `extra_info` has every axis and every known value.
"""

import json
from typing import Any

import pandas as pd

from rnnbench.report.export.cases import plain, timed, workload
from rnnbench.report.export.exported import ExportedRun
from rnnbench.report.export.rounds import stats
from rnnbench.report.words.axes import SETTINGS, SIZES, say_all, several
from rnnbench.report.words.series import series_name
from rnnbench.store.metrics import METRICS
from rnnbench.store.pytest_benchmark import ORIGIN, REPLICATE_MEANS, REPLICATES
from rnnbench.store.records import AXES
from rnnbench.store.run_info import RunInfo
from rnnbench.version import __version__

FORMAT_VERSION = "5.1.0"  # of pytest-benchmark, whose fields these are
KNOWN = ("parity", "backend", "bound_by", "mean_seconds", "seconds", "seconds_low", "seconds_high")
RATIOS = ("ratio", "ratio_low", "ratio_high")
DIFFER = ("phase", *SIZES, *SETTINGS)


def render(run: ExportedRun) -> str:
    """One JSON object: what `--benchmark-json` writes, and what else rnnbench knows."""
    summary, info = run.summary, run.info
    by_case = run.times.replicates.groupby("case", observed=True)
    of_case = {case: rows.sort_values("replicate") for case, rows in by_case}
    axes = several(summary, DIFFER)
    content = {
        "machine_info": _machine(info),
        "commit_info": _commit(info),
        "benchmarks": [_benchmark(row, of_case[row["case"]], axes) for row in timed(summary)],
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
            REPLICATES: [int(number) for number in replicates["replicate"]],
            REPLICATE_MEANS: (replicates["seconds"] / replicates["calls"]).tolist(),
        },
        "options": {"disable_gc": True, "timer": "rnnbench", "min_rounds": len(rounds), "warmup": True},
        "stats": stats(rounds) | {"iterations": max(1, round(row["calls"] / len(rounds)))},
    }


def _machine(info: RunInfo) -> dict[str, Any]:
    """The recorded machine under pytest-benchmark's names, None for the rest; the whole environment as `rnnbench`."""
    machine, worker = (info.environment.get(part) or {} for part in ("machine", "worker"))
    python = worker.get("python") or info.environment.get("software", {}).get("python")
    return {
        "node": None,
        "processor": machine.get("cpu"),
        "machine": None,
        "python_compiler": None,
        "python_implementation": None,
        "python_implementation_version": python,
        "python_version": python,
        "python_build": None,
        "release": None,
        "system": machine.get("system"),
        "cpu": {"brand_raw": machine.get("cpu"), "count": machine.get("cores")},
        ORIGIN: plain(info.environment),
    }


def _commit(info: RunInfo) -> dict[str, Any]:
    git = info.environment.get("git")
    known = git if isinstance(git, dict) else {}
    return {
        "id": known.get("commit") or "unversioned",
        "time": None,
        "author_time": None,
        "dirty": bool(known.get("dirty")),
        "project": info.suite,
        "branch": "(unknown)",
    }
