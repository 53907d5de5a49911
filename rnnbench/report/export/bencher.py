"""Bencher Metric Format: benchmark -> measure -> value with its bounds (schema: https://bencher.dev/bmf.json).

A benchmark is named by its case's key, which stays the same from run to run. Its measures are `latency` (Bencher's own,
in nanoseconds), `ratio` to the case's reference, and each metric under its column's name.
"""

import json
import math
from typing import Any

from rnnbench.errors import UserError
from rnnbench.report.export.cases import known, timed
from rnnbench.report.export.exported import ExportedRun
from rnnbench.store.records import REFERENCES

MAX_NAME_LENGTH = 1024  # characters of a benchmark's name that Bencher accepts
NANOSECONDS = 1e9


def render(run: ExportedRun) -> str:
    """One JSON object; raises UserError if a case's key is longer than Bencher accepts."""
    content = {}
    for row in timed(run.summary):
        if len(row["case"]) > MAX_NAME_LENGTH:
            raise UserError(
                f"the key of a case has {len(row['case']):,} characters, "
                f"but Bencher accepts at most {MAX_NAME_LENGTH:,}"
            )
        content[row["case"]] = _measures(row)
    return json.dumps(content, allow_nan=False, indent=1) + "\n"


def _measures(row: dict[Any, Any]) -> dict[str, dict[str, float]]:
    measures = {"latency": _bounded(row, "seconds", NANOSECONDS)}
    if row["implementation"] not in REFERENCES and math.isfinite(row["ratio"]):
        measures["ratio"] = _bounded(row, "ratio")
    return measures | {metric.name.replace("_", "-"): {"value": value} for metric, value in known(row)}


def _bounded(row: dict[Any, Any], column: str, scale: float = 1.0) -> dict[str, float]:
    """A value with its 95% interval, where there is one."""
    ends = {"value": "", "lower_value": "_low", "upper_value": "_high"}
    values = {name: row[f"{column}{end}"] * scale for name, end in ends.items()}
    return {name: value for name, value in values.items() if math.isfinite(value)}
