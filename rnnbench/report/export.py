"""A run, or the verdicts of a check, in formats that other tools read.

In pytest-benchmark's format a round is a replicate: its time per call is the median of all its calls, as everywhere in
rnnbench. So `stddev` and `iqr` are the scatter between processes, which a difference must exceed, and `median` is near
the time that a report shows. Names and groups are those of the pytest plugin, `fullname` is the case's key, and
`extra_info` has every axis and every known value.

github-action-benchmark's own format (`tool: customSmallerIsBetter`) is a list of entries with `name`, `unit`, `value`,
and, if they are known, `range` and `extra`. It compares an entry with the last one of its name, so the values are those
that two machines agree on best: ratios, and times only where a run has no reference.
"""

import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.analysis.comparison import Finding
from rnnbench.analysis.environments import processor
from rnnbench.analysis.run_times import RunTimes, noted, read_whole
from rnnbench.analysis.summary import summarize
from rnnbench.errors import UserError
from rnnbench.report.case_tables import left_out, table_of_cases
from rnnbench.report.table import csv, latex, markdown
from rnnbench.report.verdicts.reasons import explained
from rnnbench.report.verdicts.verdicts import Verdicts, read_verdicts
from rnnbench.report.words.names import case_name, group_name, identity, one_line
from rnnbench.report.words.units import duration
from rnnbench.store.folder import is_check
from rnnbench.store.frames import category, with_categories, with_sentences
from rnnbench.store.metrics import METRICS, OBSERVED
from rnnbench.store.records import AXES, Case, reference_cell
from rnnbench.store.run_info import RunInfo
from rnnbench.store.stored_record import MAX_INTEGER
from rnnbench.text import encoded, plural
from rnnbench.version import __version__

GITHUB = "github-action-benchmark"
ORIGIN = "rnnbench"  # the key under which a file for pytest-benchmark describes where it came from
OF_CHECKS = ("csv", "parquet", GITHUB)  # the formats that have a place for verdicts
FORMAT_VERSION = "5.1.0"  # of pytest-benchmark, whose fields these are
TIME_COLUMNS = ("mean_seconds", "seconds", "seconds_low", "seconds_high", "ratio", "ratio_low", "ratio_high")
FENCE = 1.5  # interquartile ranges beyond the quartiles, outside which Tukey calls a value an outlier


def exported(folder: Path, to: str, windows: pd.DataFrame | None = None) -> tuple[bytes, list[str]]:
    """Return a run or a check in a format, and what a reader must know about it.

    `windows`: those of the run, if csv or parquet has them in place of the cases. A check has a row for each case, with
    its axes, verdict, ratios and reason. Raises UserError if the format has no place for verdicts, or there are none.
    """
    if is_check(folder):
        return _check_in(to, _verdicts(folder, to))
    info, _, times = read_whole(folder)
    summary = summarize(times)
    notes = noted(info)
    if to == GITHUB:
        data, missing = _entries([_entry_of_run(row) for row in map(plain, summary.to_dict("records"))])
        return data, [*missing, *notes]
    if to == "pytest-benchmark":
        return encoded(as_pytest_benchmark(info, times, summary)), [
            *left_out(summary[summary["seconds"].isna()]),
            *notes,
        ]
    if to == "json":
        return encoded(lines(summary)), notes
    if to in ("markdown", "latex"):
        write = markdown if to == "markdown" else latex
        return encoded(write(table_of_cases(summary))), notes
    return _frame(frame_of_run(info, summary if windows is None else windows), to), notes


def _check_in(to: str, check: Verdicts) -> tuple[bytes, list[str]]:
    if to == GITHUB:
        return _entries([_entry_of_check(row) for row in check.findings])
    axes = pd.DataFrame([row.case.axes() for row in check.findings])
    return _frame(axes.join(check.frame.set_index(axes.index)), to), []


def _frame(frame: pd.DataFrame, to: str) -> bytes:
    return parquet(frame) if to == "parquet" else encoded(csv(frame))


def frame_of_run(info: RunInfo, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the cases or windows of a run, with the columns of `rnnbench.load`; counts are whole numbers.

    Beside them stands where a row comes from, so that rows of many runs can be put together: commit, processor, nodes
    of a cluster and torch, as far as they are known.
    """
    frame = with_categories(with_sentences(frame))
    whole = ("warmup_windows", *(metric.name for metric in OBSERVED if metric.unit in ("count", "bytes")))
    values = {name: frame[name].dropna() for name in whole if name in frame}
    counts = [name for name, column in values.items() if _are_whole(column)]
    git = info.environment.get("git") or {}
    machine = info.environment.get("machine") or {}
    worker = info.environment.get("worker") or {}
    slurm = info.environment.get("slurm") or {}
    identified = processor(info)
    revision = str(git.get("commit") or "")
    origin = {
        "commit": f"{revision}{'+' if revision and git.get('dirty') else ''}",
        "processor": "; ".join(
            filter(None, [str(machine.get("cpu") or ""), identity(identified) if identified else ""])
        ),
        "node": ", ".join(map(str, slurm.get("nodes") or [])),
        "torch": str(worker.get("torch") or ""),
    }
    columns = {
        name: pd.Series([value or None], dtype="str").astype("category").iloc[[0] * len(frame)].set_axis(frame.index)
        for name, value in origin.items()
    }
    return frame.astype(dict.fromkeys(counts, "Int64")).assign(**columns)


def _are_whole(values: "pd.Series[Any]") -> bool:
    return bool(((values % 1 == 0) & (values.abs() < MAX_INTEGER)).all())


def parquet(frame: pd.DataFrame) -> bytes:
    """Return a frame as the bytes of a Parquet file; its types do not depend on what is known of the cases."""
    unknown = [str(name) for name in frame if frame[name].dtype.kind == "O" and frame[name].isna().all()]
    out = io.BytesIO()
    frame.assign(**{name: category(frame[name]) for name in unknown}).to_parquet(out, index=False)
    return out.getvalue()


def lines(summary: pd.DataFrame) -> str:
    """Return every case as a JSON object on a line, with all digits of its numbers; null if missing or infinite."""
    return "".join(f"{json.dumps(plain(row), allow_nan=False)}\n" for row in with_sentences(summary).to_dict("records"))


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


def _verdicts(folder: Path, to: str) -> Verdicts:
    if to not in OF_CHECKS:
        raise UserError(
            f"{folder}: {to} has no place for verdicts; give {', '.join(OF_CHECKS)}, or the run {folder / 'head'}"
        )
    if (check := read_verdicts(folder)) is None:
        raise UserError(
            f"{folder}: this check ended without verdicts; its runs are {folder / 'base'} and {folder / 'head'}"
        )
    return check


def _entry_of_check(row: Finding) -> dict[str, Any] | None:
    """Return the time of a case over the base's; None if it was not compared."""
    is_same = row.witness == "code"
    if row.deciding is None and not is_same:
        return None
    entry = {"name": case_name(row.case), "unit": "times the base", "value": row.deciding.value if row.deciding else 1}
    if row.deciding:
        entry["range"] = _range(row.deciding.lower, row.deciding.upper)
    return entry | {"extra": "\n".join(filter(None, [row.word, explained(row), one_line(row.case.key)]))}


def _entry_of_run(row: dict[str, Any]) -> dict[str, Any] | None:
    """Return the ratio of a case to its reference, or its time if it has none; None for a reference, or without a time.

    `row`: of the summary of a run.
    """
    case = Case.from_axes(row)
    if row["seconds"] is None or case.is_reference:
        return None
    if row["ratio"] is None:
        unit = "ms"
        value = 1e3 * row["seconds"]
        ends = [row["seconds_low"], row["seconds_high"]]
        ends = [1e3 * end for end in ends if end is not None]
    else:
        unit = f"times {reference_cell(case.workload.reference)}"
        value = row["ratio"]
        ends = [end for end in (row["ratio_low"], row["ratio_high"]) if end is not None]
    entry = {"name": case_name(case), "unit": unit, "value": value}
    if len(ends) == 2:
        entry["range"] = _range(*ends)
    about = [f"{duration(row['seconds'])} a call", plural(row["replicates"], "replicate"), one_line(case.key)]
    return entry | {"extra": "\n".join(about)}


def _range(low: float, high: float) -> str:
    return f"{low:.4g} to {high:.4g}"


def _entries(entries: Sequence[dict[str, Any] | None]) -> tuple[bytes, list[str]]:
    """Return a list for github-action-benchmark, and how many cases are not in it."""
    complete = [entry for entry in entries if entry is not None]
    missing = len(entries) - len(complete)
    notes = [f"{plural(missing, 'case')} left out: references, and cases without a compared time"] if missing else []
    return encoded(json.dumps(complete, allow_nan=False, indent=1) + "\n"), notes


def as_pytest_benchmark(info: RunInfo, times: RunTimes, summary: pd.DataFrame) -> str:
    """Return one JSON object: what `--benchmark-json` writes, and what else rnnbench knows."""
    replicates = times.replicates.sort_values("replicate").groupby("case", observed=True)["median_seconds"]
    rounds = {case: values.tolist() for case, values in replicates}
    extra = (*AXES, "parity", "backend", "bound_by", *TIME_COLUMNS, *(metric.name for metric in METRICS))
    benchmarks = []
    for row in map(plain, with_sentences(summary[summary["seconds"].notna()]).to_dict("records")):
        case = Case.from_axes(row)
        seconds = rounds[row["case"]]
        benchmarks.append(
            {
                "group": group_name(case.workload),
                "name": case_name(case),
                "fullname": case.key,
                "params": case.axes(),
                "param": None,
                "extra_info": {name: row.get(name) for name in extra},
                "options": {"disable_gc": True, "timer": "rnnbench", "min_rounds": len(seconds), "warmup": True},
                "stats": stats(seconds) | {"iterations": max(1, round(row["calls"] / len(seconds)))},
            }
        )
    git = info.environment.get("git") or {}
    machine = info.environment.get("machine") or {}
    content = {
        "machine_info": {
            "processor": machine.get("cpu"),
            "system": machine.get("system"),
            "cpu": {"brand_raw": machine.get("cpu"), "count": machine.get("cores")},
            ORIGIN: plain(info.environment),
        },
        "commit_info": {
            "id": git.get("commit") or "unversioned",
            "dirty": bool(git.get("dirty")),
            "project": info.suite,
            "branch": "(unknown)",
        },
        "benchmarks": benchmarks,
        "datetime": info.started,
        "version": FORMAT_VERSION,
        ORIGIN: {"version": __version__, "suite": info.suite, "command": info.command, "rounds": "replicates"},
    }
    return json.dumps(content, allow_nan=False, indent=1) + "\n"


def stats(rounds: Sequence[float]) -> dict[str, Any]:
    """Return the statistics of at least one round; `rounds` has the seconds per call of each."""
    values = np.sort(rounds)
    # Halfway between neighbours, as the median is: the third method of the textbooks, which pytest-benchmark uses.
    q1, median, q3 = np.quantile(values, [0.25, 0.5, 0.75], method="hazen").tolist()
    mean = float(values.mean())
    stddev = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    within = values[(values >= q1 - FENCE * (q3 - q1)) & (values <= q3 + FENCE * (q3 - q1))]
    beyond = len(values) - len(within)
    apart = int((abs(values - mean) > stddev).sum())
    return {
        "min": float(values[0]),
        "max": float(values[-1]),
        "mean": mean,
        "stddev": stddev,
        "rounds": len(values),
        "median": median,
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": beyond,
        "stddev_outliers": apart,
        "outliers": f"{apart};{beyond}",
        "ld15iqr": float(within[0]),
        "hd15iqr": float(within[-1]),
        "ops": 1 / mean,
        "total": float(values.sum()),
        "data": list(rounds),
    }
