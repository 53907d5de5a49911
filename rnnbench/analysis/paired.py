"""The time of one case in one replicate of one side, in the two ways in which it is judged."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rnnbench.analysis.estimate import LOW_QUANTILE, pooled_quantiles
from rnnbench.store.records import Window


@dataclass(frozen=True)
class Times:
    """Seconds per call."""

    low: float  # a low quantile of all calls, since noise only adds time
    mean: float  # of all calls, which sees also what slows only some of them


def times(windows: Sequence[Window]) -> Times:
    """From all windows of one case that one worker took; at least one."""
    calls = np.array([window.calls for window in windows])
    quantiles = [window.quantiles for window in windows]
    low = pooled_quantiles(np.zeros(len(windows), dtype=int), quantiles, calls, LOW_QUANTILE)
    return Times(float(low[0]), sum(window.seconds for window in windows) / float(calls.sum()))
