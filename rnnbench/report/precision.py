"""What to know of a case's time: whether its ratio is less precise than asked, and whether its device waited."""

from collections.abc import Mapping
from typing import Any

from rnnbench.store.folder import RunInfo


def missed(row: Mapping[Any, Any], info: RunInfo) -> str:
    """`interval wider than ±2%` for a case whose ratio missed the precision asked for; empty for all others."""
    asked = info.resolved.get("measure", {}).get("precision")
    # On logarithms, as the planner asks it; false where there is no interval.
    if asked is None or not row["ratio_high"] / row["ratio_low"] > (1 + asked) ** 2:
        return ""
    return f"interval wider than ±{100 * asked:.3g}%"


def waits(row: Mapping[Any, Any]) -> str:
    """`launch-bound` for a case whose device waited for the host; empty for all others, and in older runs."""
    return "launch-bound: the device waits for the host" if row.get("launch_bound") in (True,) else ""
