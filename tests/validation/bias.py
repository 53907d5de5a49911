"""Bias: measured times of calls whose duration another clock defines."""

import time

import pandas as pd

from rnnbench.harness.devices import Cpu
from rnnbench.harness.turns.engine import calibrate, take_window, warm_up

MICROSECONDS = (5, 10, 20, 50, 200, 1000, 5000, 50_000)
WINDOWS = 10
TOLERANCE, SLACK_SECONDS = 0.005, 0.2e-6


def spin(nanoseconds: int) -> None:
    """Return once the time has passed by the raw hardware clock, which nothing adjusts."""
    clock, raw = time.clock_gettime_ns, time.CLOCK_MONOTONIC_RAW
    end = clock(raw) + nanoseconds
    while clock(raw) < end:
        pass


def bias() -> pd.DataFrame:
    """The engine's time per call against the set duration; `allowed` is 0.5% + 0.2 us."""
    device, rows = Cpu(), []
    for microseconds in MICROSECONDS:
        seconds = microseconds * 1e-6

        def call(nanoseconds: int = microseconds * 1000) -> None:
            spin(nanoseconds)

        plan = calibrate(device, call, 0.01)
        warm_up(device, call, plan)
        readings = [take_window(device, call, plan) for _ in range(WINDOWS)]
        low = min(reading.quantiles[len(reading.quantiles) // 10] for reading in readings)
        mean = sum(reading.seconds for reading in readings) / (WINDOWS * plan.calls)
        allowed = TOLERANCE * seconds + SLACK_SECONDS
        rows.append(
            {
                "duration (us)": microseconds,
                "measured (us)": low * 1e6,
                "error (us)": (low - seconds) * 1e6,
                "allowed (us)": allowed * 1e6,
                "mean (us)": mean * 1e6,
                "within": abs(low - seconds) <= allowed,
            }
        )
    return pd.DataFrame(rows)
