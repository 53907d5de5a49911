"""The latency of a stream's steps: its quantiles, and the share of steps that take longer than the period.

While a machine is disturbed, many steps in a row are slow, so steps are not independent. The differences between
replicates show how many independent steps they are worth. The interval of a share is that of a sample of this size
(Korn & Graubard 1998, Survey Methodology 24:193). The interval of a quantile contains the times whose shares lie in the
interval of its share (Woodruff 1952, doi:10.1080/01621459.1952.10483443). If no step was late, the upper end of the
interval is still above zero.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import special

from rnnbench.analysis.estimate import ENDS, t_quantile

QUANTILES = {"latency_p50": 0.5, "latency_p95": 0.95, "latency_p99": 0.99, "latency_p99_9": 0.999}
LATE = "late_share"
MIN_BEYOND = 10  # steps that are slower than a quantile; it is not known from fewer
CONFIDENCE = 0.95
# With two, intervals are so wide that most reach beyond the slowest step. The few that don't are the narrow ones: where
# steps are slow together, some kinds of them hold the truth in only 82 to 90%. Those of three replicates do in 93%.
MIN_REPLICATES = 3  # for the interval of a quantile


def with_latencies(cases: pd.DataFrame, replicates: pd.DataFrame) -> pd.DataFrame:
    """The cases with columns for the latency of their steps; unchanged if none is a stream.

    `cases`: a row for each case, with `task` and `period_seconds`; `replicates`: those of `RunTimes`. Columns, each
    with others of the same name and `_low` or `_high` for its 95% interval:

    - `latency_p50`, `latency_p95`, `latency_p99`, `latency_p99_9`: the time in seconds that 50%, 95%, 99% and 99.9% of
      the steps do not exceed; NaN if fewer than ten steps are beyond it, and without an interval if there are fewer
      than three replicates;
    - `late_share`: the share of steps that take longer than the period; NaN without a period.
    """
    is_stream = cases["task"].eq("streaming").to_numpy()
    if not is_stream.any():
        return cases
    columns = [f"{name}{end}" for name in (*QUANTILES, LATE) for end in ENDS]
    cases = cases.assign(**dict.fromkeys(columns, math.nan))
    streams = replicates[is_stream[replicates["number"].to_numpy(dtype=np.int64)]]
    periods = cases["period_seconds"].to_dict()
    for number, of_case in streams.groupby("number"):
        steps = list(of_case["steps"])
        for name, share in QUANTILES.items():
            cases.loc[number, [name, f"{name}_low", f"{name}_high"]] = quantile(steps, share)
        period = periods[number]
        if not math.isnan(period):
            late = [int((each > period).sum()) for each in steps]
            cases.loc[number, [LATE, f"{LATE}_low", f"{LATE}_high"]] = share_of(late, [len(each) for each in steps])
    return cases


def measured_streams(summary: pd.DataFrame) -> pd.DataFrame:
    """The cases of a summary whose steps were timed as a stream."""
    return summary[summary["task"].eq("streaming") & summary["status"].eq("measured")]


def quantile_name(column: str) -> str:
    """`p99.9` for the column `latency_p99_9`."""
    return column.removeprefix("latency_").replace("_", ".")


def quantile(replicates: Sequence[np.ndarray], share: float) -> tuple[float, float, float]:
    """The smallest time that this share of all steps does not exceed, and its 95% interval.

    `replicates`: the times of the steps of each replicate. All are NaN if fewer than ten steps are slower; the interval
    is NaN with fewer than `MIN_REPLICATES`, or if it would reach beyond the slowest step.
    """
    ordered = np.sort(np.concatenate(replicates))
    rank = math.ceil(share * len(ordered))
    if len(ordered) - rank < MIN_BEYOND:
        return math.nan, math.nan, math.nan
    value = float(ordered[rank - 1])
    if len(replicates) < MIN_REPLICATES:
        return value, math.nan, math.nan
    below = [int((steps <= value).sum()) for steps in replicates]
    _, lower, upper = share_of(below, [len(steps) for steps in replicates])
    if math.ceil(upper * len(ordered)) >= len(ordered):
        return value, math.nan, math.nan
    low, high = (float(ordered[max(1, math.ceil(end * len(ordered))) - 1]) for end in (lower, upper))
    return value, min(low, value), max(high, value)


def share_of(counted: Sequence[int], steps: Sequence[int]) -> tuple[float, float, float]:
    """The share of the counted among all steps, and its 95% interval, from both numbers in each replicate.

    The interval is NaN for a single replicate.
    """
    total, replicates, tail = sum(steps), len(steps), (1 - CONFIDENCE) / 2
    share = sum(counted) / total
    if replicates < 2:
        return share, math.nan, math.nan
    narrow, wide = (t_quantile(1 - tail, freedom) for freedom in (total - 1, replicates - 1))
    between = (
        replicates / (replicates - 1) * float(((np.array(counted) - share * np.array(steps)) ** 2).sum()) / total**2
    )
    # How many times larger the variance of the share is than that of independent steps.
    effect = max(1.0, between / (share * (1 - share) / total)) if 0 < share < 1 else 1.0
    size = total / effect * (narrow / wide) ** 2
    hits = share * size
    lower = float(special.betaincinv(hits, size - hits + 1, tail)) if hits > 0 else 0.0
    upper = float(special.betaincinv(hits + 1, size - hits, 1 - tail)) if hits < size else 1.0
    return share, lower, upper
