"""The cases of a run for other tools: which have a time, why others have none, and their values in words or JSON."""

import json
import math
from collections import Counter
from typing import Any

import pandas as pd

from rnnbench.report.words.axes import one_line, say_all
from rnnbench.store.metrics import METRICS, Metric
from rnnbench.store.records import OF_DATA, WORKLOAD_AXES, reference_cell
from rnnbench.text import plural

REASONS = 3  # the number of reasons that are named; more are counted
TOLD = ("phase", "task", "device", "dtype", "threads")  # a workload's first axes in words, after its reference


def timed(summary: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of the cases that have a time."""
    rows: list[dict[Any, Any]] = summary[summary["seconds"].notna()].to_dict("records")
    return rows


def left_out(summary: pd.DataFrame) -> str:
    """How many cases have no time, and why; empty where all have one."""
    without = summary[summary["seconds"].isna()]
    if without.empty:
        return ""
    reasons = Counter(map(_reason, without.to_dict("records")))
    named = [f"{count:,} {reason}" for reason, count in reasons.most_common(REASONS)]
    if len(reasons) > REASONS:
        named.append(f"{sum(reasons.values()) - sum(count for _, count in reasons.most_common(REASONS)):,} otherwise")
    return f"{plural(len(without), 'case')} left out, without a time ({'; '.join(named)})"


def workload(row: dict[Any, Any]) -> str:
    """A case's workload in words, with every axis, so that the words are the same in every run."""
    order = [*TOLD, *(axis for axis in WORKLOAD_AXES if axis not in ("reference", *TOLD))]
    axes = [axis for axis in order if axis not in OF_DATA or row["samples"]]
    return f"{reference_cell(row['reference'])}: {say_all(axes, (row[axis] for axis in axes))}"


def known(row: dict[Any, Any], metrics: tuple[Metric, ...] = METRICS) -> list[tuple[Metric, float]]:
    """The metrics that have a finite value; JSON has no others."""
    values = ((metric, row.get(metric.name)) for metric in metrics)
    return [(metric, plain(value)) for metric, value in values if value is not None and math.isfinite(value)]


def plain(value: Any) -> Any:
    """A value for JSON: whole numbers without a fraction, None for what is missing or infinite."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    return value


def lines(summary: pd.DataFrame) -> str:
    """Every case as one JSON object a line, with all digits of its numbers; null for what is missing or infinite."""
    rows: list[dict[Any, Any]] = summary.to_dict("records")
    return "".join(f"{json.dumps(plain(row), allow_nan=False)}\n" for row in rows)


def _reason(row: dict[Any, Any]) -> str:
    if row["status"] == "measured":
        return "measured without a complete replicate"
    return ": ".join(filter(None, [row["status"], one_line(row["reason"])]))
