"""The statistics of a benchmark's rounds, as pytest-benchmark computes and names them."""

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

FENCE = 1.5  # interquartile ranges beyond the quartiles, outside which Tukey calls a value an outlier


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
