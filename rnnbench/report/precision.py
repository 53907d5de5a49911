"""Which ratios are less precise than the run was asked to make them."""

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
