"""Coverage of the intervals of a stream's latency by simulation: steps that are slow together, replicates that differ.

A step takes a base time and an exponential tail. `independent`: each step by itself. `in bursts`: the machine is
disturbed for some hundred steps at a time, in which steps take 1.8 times as long. `replicates differ`: in bursts, and
each replicate has a factor of its own and another share of disturbed time.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.analysis.summary import LATENCIES, quantile, share_of

KINDS = ("independent", "in bursts", "replicates differ")
REPLICATES, STEPS = (3, 6), 10_000
BURST_STEPS, DISTURBED, SLOWER = 300, 0.1, 1.8
TAIL = 0.05  # mean of the exponential tail, times the base time
FACTOR, SHARES = 0.03, 0.4  # spread of a replicate's factor, and of the logarithm of its share of disturbed time
PERIOD = 2.2  # times the base time
TRUTH_REPLICATES = 4_000


def coverage(runs: int, seed: int = 0) -> pd.DataFrame:
    """For each kind of noise and each quantile, how often the 95% interval holds the true value, and its width."""
    return pd.DataFrame([row for kind in KINDS for row in rows(kind, runs, np.random.default_rng(seed))])


def rows(
    kind: str, runs: int, rng: np.random.Generator, truth_replicates: int = TRUTH_REPLICATES
) -> Iterator[dict[str, Any]]:
    """The rows of one kind of noise; the truth is that of the steps of so many replicates."""
    pool = np.sort(np.concatenate([replicate(kind, STEPS, rng) for _ in range(truth_replicates)]))
    truth = {name: float(pool[math.ceil(share * len(pool)) - 1]) for name, share in LATENCIES.items()}
    truth["late_share"] = float((pool > PERIOD).mean())
    intervals_of: dict[tuple[int, str], list[tuple[float, float, float]]] = {
        (replicates, name): [] for replicates in REPLICATES for name in truth
    }
    for _ in range(runs):
        samples = [replicate(kind, STEPS, rng) for _ in range(max(REPLICATES))]
        for replicates in REPLICATES:
            steps = samples[:replicates]
            for name, share in LATENCIES.items():
                intervals_of[replicates, name].append(quantile(steps, share))
            late = share_of([int((each > PERIOD).sum()) for each in steps], [STEPS] * replicates)
            intervals_of[replicates, "late_share"].append(late)
    for (replicates, name), intervals in intervals_of.items():
        true = truth[name]
        _, lower, upper = np.array(intervals).T
        is_known = ~np.isnan(lower)
        covered = (lower[is_known] <= true) & (true <= upper[is_known])
        yield {
            "noise": kind,
            "replicates": replicates,
            "of": name,
            "true": true,
            "intervals": int(is_known.sum()),
            "without an interval": int((~is_known).sum()),
            "covered": float(covered.mean()),
            "median half-width": float(np.median((upper - lower)[is_known]) / 2),
        }


def replicate(kind: str, steps: int, rng: np.random.Generator) -> np.ndarray:
    """The times of a replicate's steps, in multiples of the base time."""
    times = 1 + TAIL * rng.standard_exponential(steps)
    share, factor = DISTURBED, 1.0
    if kind == "independent":
        return np.where(rng.random(steps) < share, SLOWER, 1.0) * times
    if kind == "replicates differ":
        share = min(0.5, DISTURBED * math.exp(SHARES * rng.standard_normal() - SHARES**2 / 2))
        factor = math.exp(FACTOR * rng.standard_normal())
    lengths = rng.geometric(1 / BURST_STEPS, 4 + 8 * steps // BURST_STEPS)
    quiet = rng.geometric(share / (1 - share) / BURST_STEPS, len(lengths))
    is_disturbed = np.repeat(np.arange(2 * len(lengths)) % 2, np.stack([quiet, lengths], axis=1).ravel()) == 1
    start = int(rng.integers(0, len(is_disturbed) - steps))
    return factor * np.where(is_disturbed[start : start + steps], SLOWER, 1.0) * times
