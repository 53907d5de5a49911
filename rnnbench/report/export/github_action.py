"""github-action-benchmark's custom JSON, for its tool `customSmallerIsBetter`: an array of named values.

An entry has `name`, `unit`, `value` and, where there is an interval, `range`; the dashboard shows `extra` beside it
(https://github.com/benchmark-action/github-action-benchmark). The action finds the previous value by its name, so
names of cases are those that are the same in every run. Each value is a chart, and an alert if it grows: so there are
few unless more are chosen, and only those of which less is better.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

from rnnbench.analysis.estimate import ENDS
from rnnbench.errors import UserError
from rnnbench.report.export.cases import known, timed
from rnnbench.report.export.exported import ExportedRun
from rnnbench.report.words.case_names import case_name
from rnnbench.store.metrics import METRICS, Unit
from rnnbench.store.records import REFERENCES, Case, reference_cell
from rnnbench.text import nearest, plural

MICROSECONDS = 1e6
LESS = tuple(metric for metric in METRICS if metric.better == "less")
CHOICES = ("time", "ratio", *(metric.name for metric in LESS))
UNITS: dict[Unit, str] = {
    "count": "",
    "bytes": "bytes",
    "joules": "J",
    "per second": "1/s",
    "seconds": "s",
    "times": "x",
}


def render(run: ExportedRun, metrics: Sequence[str]) -> str:
    """One JSON array of these metrics: `time`, `ratio`, and names of others. Raises UserError for one it can't hold."""
    if unknown := [name for name in metrics if name not in CHOICES]:
        raise UserError(
            f"metrics: no {unknown[0]!r} of which less is better{nearest(unknown[0], CHOICES)}; "
            f"there are {', '.join(CHOICES)}"
        )
    entries = [entry for row in timed(run.summary) for entry in _entries(row, metrics)]
    return json.dumps(entries, allow_nan=False, indent=1, ensure_ascii=False) + "\n"


def _entries(row: dict[Any, Any], metrics: Sequence[str]) -> list[dict[str, Any]]:
    name, entries = case_name(Case.from_axes(row)), list[dict[str, Any]]()
    if "time" in metrics:
        entries.append(_bounded(row, f"{name}: time", "seconds", "us", MICROSECONDS))
    if "ratio" in metrics and row["implementation"] not in REFERENCES and math.isfinite(row["ratio"]):
        entries.append(_bounded(row, f"{name}: ratio", "ratio", f"times {reference_cell(row['reference'])}", 1.0))
    for metric, value in known(row, tuple(metric for metric in LESS if metric.name in metrics)):
        unit = UNITS[metric.unit] or metric.label
        entries.append({"name": f"{name}: {metric.label}", "unit": unit, "value": value, "extra": metric.about})
    return entries


def _bounded(row: dict[Any, Any], name: str, column: str, unit: str, scale: float) -> dict[str, Any]:
    """A value, its range the distance to the farther end of the interval: the format has one number for both sides."""
    value, low, high = (scale * row[f"{column}{end}"] for end in ENDS)
    entry = {"name": name, "unit": unit, "value": value}
    replicates = plural(int(row["replicates"]), "replicate")
    if not math.isfinite(low):
        return entry | {"extra": f"no interval: {replicates}"}
    about = [f"95% interval {low:.6g} to {high:.6g} {unit}", replicates]
    return entry | {"range": f"± {max(value - low, high - value):.6g}", "extra": "\n".join(about)}
