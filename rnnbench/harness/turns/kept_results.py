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

from rnnbench.harness.devices import Device

FIRST_PAIRS = 3  # after which a case ends whose known values take about as long as new ones, as nearly all do
PAIRS = 8
FEWEST_CALLS = 1 + 2 * FIRST_PAIRS  # of a case
STUDENT = 2.365  # the quantile 97.5% of Student's distribution with `PAIRS - 1` degrees of freedom
MOST_KNOWN = 0.7  # of the time of new values: known ones that surely take less come from a cache
SHORTEST = 1e-9  # seconds; a clock of coarse steps may show none


def known_share(
    device: Device, call: Callable[[], object], renew: Callable[[str], object], now: Callable[[], float] | None = None
) -> float | None:
    """Return the time of a call on known values over that on new ones, if it is surely less than `MOST_KNOWN`.

    `renew(seed)` copies values into the tensors of the call; equal seeds give equal values. None if nothing shows that
    the call keeps results: the upper end of the ratio's 95% interval is not below `MOST_KNOWN`.
    `now`: by default the processor's time of this process, which does not go on while another process has the core, and
    the host's clock for a device that runs apart.
    """
    if now is None:
        now = time.process_time if device.runs_host_code else time.perf_counter
    trial = secrets.token_hex(8)  # an earlier trial of the same call has shown it other values

    def clocked(pair: int) -> float:
        renew(f"{trial} {pair}")
        device.synchronize()
        start = now()
        call()
        device.synchronize()
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
