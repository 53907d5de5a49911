"""Coverage with known truth: whole runs on a simulated machine, with the real engine and estimator.

The machine drifts, has bursts that hit single calls and spells in which a core is slow. Each process has a different
speed for each arm, as memory layout causes. Only the ratio of the two costs is fixed.
"""

import math
import random
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import estimate
from rnnbench.analysis.replicate_times import log_ratio, pooled_times
from rnnbench.harness.devices import Cpu
from rnnbench.harness.turns.schedule import balanced_order, plan_turns

RATIOS = (1.0, 1.02, 1.05, 1.5, 4.0)
REPLICATES = (3, 4, 5, 6, 8, 12, 20)
CALL_SECONDS = 5e-4
PART_SECONDS = 2.5e-4  # noise strikes once in each part
CASE_SECONDS = 0.04


@dataclass
class Machine:
    """A clock and the cost of a call on it."""

    rng: random.Random
    process_spread: float = 0.009  # standard deviation of an arm's speed from process to process, as seen in `quick`
    jitter: float = 0.01  # mean of the noise that every call pays
    burst_share: float = 0.03  # share of calls that other work interrupts
    burst: float = 0.5  # mean of what an interruption adds
    slow_rate: float = 0.3  # slow spells per second
    drift: float = 0.01  # relative, per second

    def __post_init__(self) -> None:
        self.seconds = 0.0
        self._slow_from = self.rng.expovariate(self.slow_rate)
        self._slow_until = self._slow_from
        self._slow_by = 0.0

    def __call__(self) -> float:
        """The time of the clock in seconds."""
        return self.seconds

    def spend(self, seconds: float) -> None:
        """Let a call pass that takes `seconds` on an idle machine; noise comes with time, not with calls."""
        for _ in range(parts := max(1, round(seconds / PART_SECONDS))):
            self._spend(seconds / parts)

    def _spend(self, seconds: float) -> None:
        if self.seconds > self._slow_until:
            self._slow_from = self.seconds + self.rng.expovariate(self.slow_rate)
            self._slow_until = self._slow_from + self.rng.uniform(0.05, 0.5)
            self._slow_by = self.rng.uniform(0.05, 0.4)
        factor = 1 + self.drift * self.seconds + self.jitter * self.rng.expovariate(1)
        if self._slow_from <= self.seconds:
            factor += self._slow_by
        if self.rng.random() < self.burst_share:
            factor += self.burst * self.rng.expovariate(1)
        self.seconds += seconds * factor


def log_ratios(ratio: float, replicates: int, rng: random.Random, case_seconds: float = CASE_SECONDS) -> list[float]:
    """The log-ratio of each replicate of one run, for arms whose costs differ by `ratio`."""
    ratios = []
    for _ in range(replicates):
        machine = Machine(rng)
        device = Cpu(now=machine)
        costs = {"base": CALL_SECONDS, "head": CALL_SECONDS * ratio}
        costs = {arm: cost * math.exp(rng.gauss(0, machine.process_spread)) for arm, cost in costs.items()}
        plans = plan_turns(costs, case_seconds, Cpu.blocks)
        blocks: dict[str, list[float]] = {arm: [] for arm in costs}
        for arm in balanced_order(list(costs), plans["base"].turns, rng):
            plan = plans[arm]
            clocked = device.clock(partial(machine.spend, costs[arm]), plan.blocks, plan.calls, is_warm=plan.is_warm)
            blocks[arm] += [seconds / plan.calls for seconds in clocked.batch_seconds]
        base, head = (pooled_times([sorted(blocks[arm])], [1], [1.0]) for arm in ("base", "head"))
        ratios.append(log_ratio(head, base))
    return ratios


def coverage(runs: int, replicates: tuple[int, ...] = REPLICATES, ratios: tuple[float, ...] = RATIOS) -> pd.DataFrame:
    """A row for each ratio and number of replicates: how often the 95% interval holds the true ratio."""
    rows = []
    for ratio in ratios:
        rng = random.Random(f"coverage {ratio}")
        samples = [log_ratios(ratio, max(replicates), rng) for _ in range(runs)]
        for count in replicates:
            row: dict[str, float] = {"ratio": ratio, "replicates": count, "runs": runs}
            intervals = [estimate(sample[:count]) for sample in samples]
            row["covers"] = float(np.mean([each.lower <= math.log(ratio) <= each.upper for each in intervals]))
            row["half-width"] = float(np.median([(each.upper - each.lower) / 2 for each in intervals]))
            row["bias"] = float(np.mean([each.value for each in intervals]) - math.log(ratio))
            rows.append(row)
    return pd.DataFrame(rows)
