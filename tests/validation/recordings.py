"""`python -m tests.validation.recordings FILE.npz ...`: how far visits of a case differ in recordings of a shared core.

A recording has a value for each block: `visit`, `case` (an index of `cases`), `seconds` of a call, and `pulse_before`
and `pulse_after` in seconds. Only visits with `LEAST` quiet blocks on both sides count, the same for each estimator.
"""

import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import Times, log_ratio, pooled_times, undisturbed_log_ratio
from rnnbench.analysis.quiet import QuietBlocks, low_parts
from rnnbench.harness.machine.pulse import Pulses

LEAST = 12
BEST = 0.01  # the quantile of all pulses that is the best one


def deviations(files: Sequence[Path]) -> pd.DataFrame:
    """Return a row for each recording: the standard deviation of a log-ratio between visits, by estimator."""
    return pd.DataFrame(map(_deviation, files))


def _deviation(file: Path) -> dict[str, Any]:
    trace = np.load(file)
    pulses = Pulses(float(np.quantile(trace["pulse_before"], BEST)))
    quiet = np.array(
        [
            pulses.quiet_blocks([before, after])[0]
            for before, after in zip(trace["pulse_before"].tolist(), trace["pulse_after"].tolist(), strict=True)
        ]
    )
    shared: dict[int, list[float]] = defaultdict(list)
    undisturbed: dict[int, list[float]] = defaultdict(list)
    for visit in np.unique(trace["visit"]):
        here = trace["visit"] == visit
        times = {case: _times(trace, here & (trace["case"] == case), quiet) for case in np.unique(trace["case"][here])}
        base = next((case for case in times if "implementation=torch.nn" in str(trace["cases"][case])), None)
        for case, own in times.items():
            if base is None or case == base:
                continue
            blocks = [each.quiet.blocks if each.quiet else 0 for each in (own, times[base])]
            if min(blocks) >= LEAST:
                shared[case].append(log_ratio(own, times[base]))
                undisturbed[case].append(undisturbed_log_ratio(own, times[base])[0])
    return {
        "recording": file.stem,
        "quiet blocks": quiet.mean(),
        "visits": sum(map(len, undisturbed.values())),
        "all blocks": _scatter(shared),
        "undisturbed": _scatter(undisturbed),
    }


def _times(trace: Any, chosen: np.ndarray, quiet: np.ndarray) -> Times:
    """Return the times of one case in one visit."""
    seconds = np.sort(trace["seconds"][chosen].astype(float)).tolist()
    of_quiet = np.sort(trace["seconds"][chosen & quiet].astype(float)).tolist()
    blocks = QuietBlocks.of([low_parts(of_quiet)], [len(of_quiet)], [float(np.mean(of_quiet or [0.0]))])
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
