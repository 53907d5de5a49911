"""`python -m tests.validation.recordings FILE.npz ...`: how far visits of a case differ in recordings of a shared core.

A recording has a value for each block: `visit`, `case` (an index of `cases`), `round`, `seconds` of a call, and
`pulse_before` and `pulse_after` in seconds. Only visits with `LEAST` quiet blocks on both sides count, the same for
each estimator. The halves of a case's visit, of every second round, are as base and head of equal code in a check.
"""

import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.analysis.replicate_times import Times, log_ratio, pooled_times, undisturbed_log_ratio
from rnnbench.harness.machine.pulse import Pulses
from tests.validation.shared_simulated import quiet_blocks_of

LEAST = 12
BEST = 0.01  # the quantile of all pulses that is the best one


def deviations(files: Sequence[Path]) -> pd.DataFrame:
    """Return a row for each recording: standard deviations of log-ratios, between visits and of halves of a visit."""
    return pd.DataFrame([_deviation(file) | _of_halves(file) for file in files])


def _deviation(file: Path) -> dict[str, Any]:
    trace = np.load(file)
    quiet = _quiet(trace)
    shared: dict[int, list[float]] = defaultdict(list)
    undisturbed: dict[int, list[float]] = defaultdict(list)
    for visit in np.unique(trace["visit"]):
        here = trace["visit"] == visit
        times = {case: _times(trace, here & (trace["case"] == case), quiet) for case in np.unique(trace["case"][here])}
        base = next((case for case in times if "implementation=torch.nn" in str(trace["cases"][case])), None)
        for case, windows in times.items():
            if base is None or case == base:
                continue
            blocks = [each.quiet.blocks if each.quiet else 0 for each in (windows, times[base])]
            if min(blocks) >= LEAST:
                shared[case].append(log_ratio(windows, times[base]))
                undisturbed[case].append(undisturbed_log_ratio(windows, times[base])[0])
    return {
        "recording": file.stem,
        "quiet blocks": quiet.mean(),
        "visits": sum(map(len, undisturbed.values())),
        "all blocks": _scatter(shared),
        "undisturbed": _scatter(undisturbed),
    }


def _of_halves(file: Path) -> dict[str, Any]:
    trace = np.load(file)
    quiet = _quiet(trace)
    logs: dict[str, list[float]] = {"low": [], "mean": []}
    for visit in np.unique(trace["visit"]):
        here = trace["visit"] == visit
        for case in np.unique(trace["case"][here]):
            blocks = here & (trace["case"] == case)
            halves = [blocks & (trace["round"] % 2 == half) for half in (0, 1)]
            if not all(half.any() for half in halves):
                continue
            times = [_times(trace, half, quiet) for half in halves]
            one, other = (each.quiet for each in times)
            if one is None or other is None or min(one.blocks, other.blocks) < LEAST:
                continue
            logs["low"].append(undisturbed_log_ratio(*times)[0])
            logs["mean"].append(np.log(one.mean / other.mean))
    return {"halves": len(logs["low"])} | {
        f"halves: {name}": float(np.std(ratios)) for name, ratios in logs.items() if ratios
    }


def _quiet(trace: Any) -> np.ndarray:
    """Return which blocks of a recording lie between two quiet pulses."""
    around = np.stack([trace["pulse_before"], trace["pulse_after"]], axis=1)
    pulses = Pulses(float(np.quantile(trace["pulse_before"], BEST)), take=iter(around.ravel().tolist()).__next__)
    return np.array([pulses.quiet_blocks([pulses.take(), pulses.take()])[0] for _ in around])


def _times(trace: Any, chosen: np.ndarray, quiet: np.ndarray) -> Times:
    """Return the times of one case in one visit."""
    seconds = np.sort(trace["seconds"][chosen].astype(float)).tolist()
    blocks = quiet_blocks_of(trace["seconds"][chosen & quiet].astype(float).tolist())
    return pooled_times([seconds], [len(seconds)], [sum(seconds)], blocks)


def _scatter(values: dict[int, list[float]]) -> float:
    """Return the standard deviation of values around the mean of their case, over all cases with two or more."""
    apart: list[float] = []
    for of_case in values.values():
        if len(of_case) > 1:
            apart += list((np.array(of_case) - np.mean(of_case)) * np.sqrt(len(of_case) / (len(of_case) - 1)))
    return float(np.std(apart))


if __name__ == "__main__":
    print(deviations([Path(name) for name in sys.argv[1:]]).to_string())
