"""From the times of live arms, one for each round, to one row for each arm."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

import pandas as pd

from rnnbench.analysis.estimate import Estimate, as_ratio, estimate_columns, estimates_of
from rnnbench.analysis.neighbours import widened
from rnnbench.analysis.replicate import Times, log_ratio


def compare(times: Mapping[str, Sequence[Times]], reference: str) -> pd.DataFrame:
    """One row for each arm: `seconds` and `ratio` with their 95% intervals, `mean_seconds`, `replicates`.

    Estimated as in `summarize`, on logarithms and a ratio within each round, the rounds being the replicates. Rounds of
    one process resemble their neighbours more than replicates do, so intervals are wider where they do (`neighbours`).
    The reference's own ratio is 1.
    """
    logs = {arm: [math.log(round_times.median) for round_times in rounds] for arm, rounds in times.items()}
    ratios = {
        arm: [log_ratio(own, other) for own, other in zip(rounds, times[reference], strict=True)]
        for arm, rounds in times.items()
        if arm != reference
    }
    seconds, compared = _estimated(logs), _estimated(ratios)
    rows = {
        arm: {
            **estimate_columns("seconds", as_ratio(seconds[arm])),
            **estimate_columns("ratio", as_ratio(compared.get(arm, Estimate(0.0, 0.0, 0.0)))),
            "mean_seconds": fmean(round_times.mean for round_times in times[arm]),
            "replicates": len(values),
        }
        for arm, values in logs.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").astype({"replicates": int})


def _estimated(series: Mapping[str, Sequence[float]]) -> dict[str, Estimate]:
    """The centre of each arm's logarithms, which are in the order of the rounds."""
    estimates = zip(series, estimates_of(list(series.values())), strict=True)
    return {arm: widened(estimate, series[arm]) for arm, estimate in estimates}


def rounds_of(times: Mapping[str, Sequence[Times]], reference: str) -> pd.DataFrame:
    """One row for each arm (`module`) and `round`: `seconds`, `mean_seconds` and `ratio` to the reference's time."""
    rows = [
        {
            "module": arm,
            "round": number,
            "seconds": round_times.median,
            "mean_seconds": round_times.mean,
            "ratio": math.exp(log_ratio(round_times, others)),
        }
        for arm, rounds in times.items()
        for number, (round_times, others) in enumerate(zip(rounds, times[reference], strict=True))
    ]
    return pd.DataFrame(rows, columns=["module", "round", "seconds", "mean_seconds", "ratio"])


def wider_than(frame: pd.DataFrame, precision: float) -> list[str]:
    """The arms of `compare` whose ratio is less precise than `precision`, or has no interval."""
    half = (frame["ratio_high"] / frame["ratio_low"]) ** 0.5
    return [str(arm) for arm in frame.index[~(half <= 1 + precision)]]
