"""github-action-benchmark's custom JSON, for its tool `customSmallerIsBetter`: an array of named values.

An entry has `name`, `unit`, `value` and, where there is an interval, `range`; the dashboard shows `extra` beside it
(https://github.com/benchmark-action/github-action-benchmark). The action finds the previous value by its name, so
names are keys of cases, which stay the same from run to run. For every value in such a file less is better, so metrics
of which more is better, or neither, are left out.
"""

import json
import math
from typing import Any

import pandas as pd

from rnnbench.report.export.cases import known, timed
from rnnbench.store.metrics import METRICS, Unit
from rnnbench.store.records import REFERENCES, reference_cell
from rnnbench.store.run_info import RunInfo
from rnnbench.text import plural

MICROSECONDS = 1e6
LESS = tuple(metric for metric in METRICS if metric.better == "less")
UNITS: dict[Unit, str] = {
    "count": "",
    "bytes": "bytes",
    "joules": "J",
    "per second": "1/s",
    "seconds": "s",
    "times": "x",
}


def render(frame: pd.DataFrame, summary: pd.DataFrame, info: RunInfo) -> str:
    """One JSON array."""
    entries = [entry for row in timed(summary) for entry in _entries(row)]
    return json.dumps(entries, allow_nan=False, indent=1, ensure_ascii=False) + "\n"


def _entries(row: dict[Any, Any]) -> list[dict[str, Any]]:
    entries = [_bounded(row, "time", "seconds", "us", MICROSECONDS)]
    if row["implementation"] not in REFERENCES and math.isfinite(row["ratio"]):
        entries.append(_bounded(row, "ratio", "ratio", f"times {reference_cell(row['reference'])}", 1.0))
    for metric, value in known(row, LESS):
        unit = UNITS[metric.unit] or metric.label
        entries.append({"name": f"{row['case']}: {metric.label}", "unit": unit, "value": value, "extra": metric.about})
    return entries


def _bounded(row: dict[Any, Any], label: str, column: str, unit: str, scale: float) -> dict[str, Any]:
    """A value, its range the distance to the farther end of the interval: the format has one number for both sides."""
    value, low, high = (scale * row[f"{column}{end}"] for end in ("", "_low", "_high"))
    entry = {"name": f"{row['case']}: {label}", "unit": unit, "value": value}
    replicates = plural(int(row["replicates"]), "replicate")
    if not math.isfinite(low):
        return entry | {"extra": f"no interval: {replicates}"}
    about = [f"95% interval {low:.6g} to {high:.6g} {unit}", replicates]
    return entry | {"range": f"± {max(value - low, high - value):.6g}", "extra": "\n".join(about)}
