"""The time of a case in one replicate: the two values by which it is judged."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rnnbench.analysis.estimate import LOW_QUANTILE, pooled_quantiles
from rnnbench.store.records import Window


@dataclass(frozen=True)
class Times:
    """Seconds per call."""

    low: float  # a low quantile of all calls, since noise only adds time
    mean: float  # of all calls, which also shows what slows only some of them


def pooled_times(quantiles: Sequence[Sequence[float]], calls: Sequence[int], seconds: Sequence[float]) -> Times:
    """The times of a case from the quantiles, the number of calls and the total seconds of each of its windows.

    `rnnbench.analysis.runs.visits.reduced` does the same for a whole frame at once.
    """
    low = pooled_quantiles(np.zeros(len(calls), dtype=int), quantiles, np.array(calls), LOW_QUANTILE)
    return Times(float(low[0]), sum(seconds) / sum(calls))


def times(windows: Sequence[Window]) -> Times:
    """The times of a case from all windows that one worker took of it; at least one."""
    return pooled_times(
        [window.quantiles for window in windows],
        [window.calls for window in windows],
        [window.seconds for window in windows],
    )


def times_by_case(windows: Iterable[Window]) -> dict[str, Times]:
    """The times of each case (by its key) from all windows of one visit."""
    cases: dict[str, list[Window]] = {}
    for window in windows:
        cases.setdefault(window.case, []).append(window)
    return {case: times(case_windows) for case, case_windows in cases.items()}


def log_seconds(windows: Iterable[Window]) -> dict[str, float]:
    """The logarithm of each case's low quantile, from all windows of one visit."""
    return {case: math.log(case_times.low) for case, case_times in times_by_case(windows).items()}
