"""Find calls that keep results by the values of their input. Outputs are right for every input, so the clock tells.

New values are copied into the same tensors. Calls on values that were seen just before are clocked beside calls on new
ones, in turns. Both come right after a copy, so that the processor's caches are alike.
Work that depends on the values is the same in both.
"""

import math
import secrets
import time
from collections.abc import Callable
from statistics import fmean, median, stdev

import torch

FIRST_PAIRS = 3  # after which a case ends whose known values take about as long as new ones, as nearly all do
PAIRS = 8
STUDENT = 2.365  # the quantile 97.5% of Student's distribution with `PAIRS - 1` degrees of freedom
MOST_KNOWN = 0.7  # of the time of new values: known ones that surely take less come from a cache
SHORTEST = 1e-9  # seconds; a clock of coarse steps may show none


def known_share(
    call: Callable[[], object],
    renew: Callable[[str], object],
    device: str,
    now: Callable[[], float] = time.perf_counter,
) -> float | None:
    """Return the time of a call on known values over that on new ones, if it is surely less than `MOST_KNOWN`.

    `renew(seed)` copies values into the tensors of the call; equal seeds give equal values. None if nothing shows that
    the call keeps results: the upper end of the ratio's 95% interval is not below `MOST_KNOWN`.
    """
    trial = secrets.token_hex(8)  # an earlier trial of the same call has shown it other values

    def clocked(pair: int) -> float:
        renew(f"{trial} {pair}")
        _wait_for(device)
        start = now()
        call()
        _wait_for(device)
        return now() - start

    clocked(PAIRS)  # sets up what a first call needs
    logs: list[float] = []
    for pair in range(PAIRS):
        new = clocked(pair)
        known = clocked(pair)
        logs.append(math.log(max(known, SHORTEST) / max(new, SHORTEST)))
        if len(logs) == FIRST_PAIRS and median(logs) > math.log(MOST_KNOWN):
            return None
    upper = fmean(logs) + STUDENT * stdev(logs) / math.sqrt(PAIRS)
    return math.exp(fmean(logs)) if upper < math.log(MOST_KNOWN) else None


def _wait_for(device: str) -> None:
    """Wait until a GPU is done with all calls."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
