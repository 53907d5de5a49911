"""Coverage on a simulated core that is shared, with the real clock, pulses and estimators.

The core is quiet or shared, in bouts as recorded; how often it is shared differs from visit to visit, or from run to
run. Sharing slows each case by a factor of its own, and pulses by another one. Beside that, blocks are disturbed in
ways that no pulse shows, and each process has a speed of its own for each case. The truth is the ratio on a quiet core.
"""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from statistics import median

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import estimates_of, quiet_estimates_of
from rnnbench.analysis.quiet import QuietBlocks, low_parts
from rnnbench.analysis.replicate_times import Times, log_ratio, pooled_times, undisturbed_log_ratio
from rnnbench.harness.devices import Cpu
from rnnbench.harness.machine.pulse import Pulses
from rnnbench.harness.turns.schedule import balanced_order, clock_turn, plan_turns

PULSE_SECONDS = 8e-6
PULSE_RESPONSE = 1.75  # how many times as long a pulse takes on a shared core
CASE_SECONDS = 0.06
CASES = 12  # beside their reference, in one run
REFERENCE_SECONDS = 2e-4
RATIOS = (1.0, 1.02, 1.5, 2.85)
PROCESS_SPREAD = 0.006  # of a case's speed from process to process
HIDDEN_SHARE = 0.2  # of the blocks that are disturbed though no pulse shows it
HIDDEN = 0.3  # mean of what that adds
STALL_SECONDS = 2e-3


@dataclass(frozen=True)
class Sharing:
    """How a core is shared."""

    quiet: tuple[float, float]  # the share of the time that it is quiet, drawn evenly from here
    by: str = "visit"  # what has a share of its own: a visit or a run
    bout: float = 1e-3  # seconds of a quiet and a shared bout together, in the mean
    response: tuple[float, float] = (1.5, 2.1)  # how many times as long a case takes on a shared core
    stalls: float = 0.0  # share of the calls that something stops for `STALL_SECONDS` in the mean


SHARINGS = {
    "always quiet": Sharing((1.0, 1.0)),
    "quiet 50-90% of a visit": Sharing((0.5, 0.9)),
    "quiet 20-50% of a visit": Sharing((0.2, 0.5)),
    "quiet 20-80% of a run": Sharing((0.2, 0.8), by="run"),
    "quiet 10-30% of a visit, bouts of 3 ms": Sharing((0.1, 0.3), bout=3e-3),
    "quiet 20-50% of a visit, stalls": Sharing((0.2, 0.5), stalls=0.004),
    "always shared": Sharing((0.0, 0.0)),
}


@dataclass
class Machine:
    """A clock, and what a call takes on a core that is quiet or shared."""

    rng: random.Random
    quiet: float
    bout: float
    stalls: float = 0.0
    seconds: float = 0.0
    _is_quiet: bool = True
    _until: float = field(default=0.0)

    def __call__(self) -> float:
        """The time of the clock in seconds."""
        return self.seconds

    def spend(self, seconds: float, response: float) -> None:
        """Let work pass that takes so many seconds on a quiet core, and `response` times as long on a shared one."""
        left = seconds
        while left > 0:
            if self.seconds >= self._until:
                self._next_bout()
            pace = 1.0 if self._is_quiet else response
            done = min(left, (self._until - self.seconds) / pace)
            self.seconds += done * pace
            left -= max(done, 1e-12)

    def call(self, seconds: float, response: float) -> None:
        """Let a call pass, which pays some jitter, and more where something disturbs it that no pulse shows."""
        factor = 1 + 0.005 * self.rng.expovariate(1)
        if self.rng.random() < HIDDEN_SHARE:
            factor += HIDDEN * self.rng.expovariate(1)
        self.spend(seconds * factor, response)
        if self.stalls and self.rng.random() < self.stalls:
            self.seconds += self.rng.expovariate(1 / STALL_SECONDS)

    def pulse(self) -> float:
        """Return the seconds of a pulse."""
        start = self.seconds
        self.spend(PULSE_SECONDS * (1 + 0.01 * self.rng.expovariate(1)), PULSE_RESPONSE)
        return self.seconds - start

    def _next_bout(self) -> None:
        if self.quiet in (0.0, 1.0):
            self._is_quiet, self._until = self.quiet == 1.0, math.inf
            return
        self._is_quiet = self.rng.random() < 0.5 if self._until == 0 else not self._is_quiet
        share = self.quiet if self._is_quiet else 1 - self.quiet
        self._until = self.seconds + self.rng.expovariate(1 / (self.bout * share))


@dataclass(frozen=True)
class SomeCalls:
    """Some calls of a case take longer than the others."""

    share: float  # of the calls
    factor: float  # how many times as long they take


NONE = SomeCalls(0.0, 1.0)


@dataclass
class Taken:
    """The seconds of a call in each block of some turns, and those of the quiet blocks."""

    blocks: list[float] = field(default_factory=list)
    quiet: list[float] = field(default_factory=list)

    def times(self) -> Times:
        """Return what a report makes of them."""
        return pooled_times([sorted(self.blocks)], [len(self.blocks)], [sum(self.blocks)], quiet_blocks_of(self.quiet))


def quiet_blocks_of(seconds: list[float]) -> QuietBlocks | None:
    """The quiet blocks of one window, as a worker and a reader make them; None if there are none."""
    ordered = sorted(seconds)
    mean = float(np.mean(ordered or [0.0]))
    return QuietBlocks.from_windows([low_parts(ordered)], [len(ordered)], [mean])


def turns_taken(
    machine: Machine,
    costs: dict[str, float],
    responses: dict[str, float],
    case_seconds: float,
    some: Mapping[str, SomeCalls] | None = None,
) -> dict[str, list[Taken]]:
    """Let cases take turns, which wait for a quiet pulse as those of a worker do; returns both halves of each case.

    `some`: of which cases some calls take longer.
    """

    def call(arm: str) -> None:
        calls = (some or {}).get(arm, NONE)
        is_longer = calls.share and machine.rng.random() < calls.share
        machine.call(costs[arm] * calls.factor if is_longer else costs[arm], responses[arm])

    device = Cpu(now=machine)
    pulses = Pulses(PULSE_SECONDS, take=machine.pulse)
    plans = plan_turns(costs, case_seconds, Cpu.blocks)
    halves = {arm: [Taken(), Taken()] for arm in costs}
    numbers = dict.fromkeys(costs, 0)
    for arm in balanced_order(list(costs), plans[next(iter(plans))].turns, machine.rng):
        plan = plans[arm]
        clocked = clock_turn(device, partial(call, arm), plan, wait=partial(pulses.wait, machine), pulse=pulses.take)
        taken = halves[arm][(numbers[arm] + numbers[arm] // 2) % 2]
        numbers[arm] += 1
        seconds = [each / plan.calls for each in clocked.batch_seconds]
        taken.blocks += seconds
        are_quiet = pulses.quiet_blocks(clocked.pulses)
        taken.quiet += [each for each, is_quiet in zip(seconds, are_quiet, strict=True) if is_quiet]
    return halves


def whole(halves: dict[str, list[Taken]]) -> dict[str, Times]:
    """Return the times of each case in a visit."""
    return {
        arm: Taken(first.blocks + second.blocks, first.quiet + second.quiet).times()
        for arm, (first, second) in halves.items()
    }


def visit(
    machine: Machine, costs: dict[str, float], responses: dict[str, float], some: Mapping[str, SomeCalls] | None = None
) -> dict[str, Times]:
    """Return the times of cases in a visit of the usual length; `some`: of which cases some calls take longer."""
    return whole(turns_taken(machine, costs, responses, CASE_SECONDS, some))


def one_run(sharing: Sharing, replicates: int, rng: random.Random) -> pd.DataFrame:
    """A row for each case of a run: both intervals of its log-ratio, and the truth."""
    of_run = rng.uniform(*sharing.quiet)
    ratios = [RATIOS[number % len(RATIOS)] for number in range(CASES)]
    names = [f"case {number}" for number in range(CASES)]
    responses = {name: rng.uniform(*sharing.response) for name in ["reference", *names]}
    shared: list[list[float]] = [[] for _ in names]
    undisturbed: list[list[tuple[float, int]]] = [[] for _ in names]
    for _ in range(replicates):
        quiet = rng.uniform(*sharing.quiet) if sharing.by == "visit" else of_run
        for number, name in enumerate(names):  # each with its reference, as if it were alone in its group
            machine = Machine(rng, quiet, sharing.bout, sharing.stalls)
            costs = {"reference": REFERENCE_SECONDS, name: REFERENCE_SECONDS * ratios[number]}
            costs = {arm: cost * math.exp(rng.gauss(0, PROCESS_SPREAD)) for arm, cost in costs.items()}
            times = visit(machine, costs, responses)
            shared[number].append(log_ratio(times[name], times["reference"]))
            undisturbed[number].append(undisturbed_log_ratio(times[name], times["reference"]))
    rows = []
    intervals = zip(ratios, estimates_of(shared), quiet_estimates_of(undisturbed), strict=True)
    for ratio, by_all, by_quiet in intervals:
        truth = math.log(ratio)
        rows.append(
            {
                "is undisturbed": by_quiet.has_interval,
                "covered": by_quiet.lower <= truth <= by_quiet.upper if by_quiet.has_interval else math.nan,
                "half-width": (by_quiet.upper - by_quiet.lower) / 2,
                "error": by_quiet.value - truth,
                "covered by all blocks": by_all.lower <= truth <= by_all.upper,
                "half-width of all blocks": (by_all.upper - by_all.lower) / 2,
            }
        )
    return pd.DataFrame(rows)


def coverage(runs: int, replicates: tuple[int, ...] = (2, 3, 6)) -> pd.DataFrame:
    """A row for each way of sharing and number of replicates: how often intervals hold the ratio of a quiet core."""
    rows = []
    for name, sharing in SHARINGS.items():
        for count in replicates:
            rng = random.Random(f"shared {name} {count}")
            cases = pd.concat([one_run(sharing, count, rng) for _ in range(runs)])
            rows.append(
                {
                    "the core is": name,
                    "replicates": count,
                    "cases": len(cases),
                    "undisturbed": cases["is undisturbed"].mean(),
                    "covered": cases["covered"].mean(),
                    "half-width": median(cases["half-width"].dropna()) if cases["is undisturbed"].any() else math.nan,
                    "bias": cases["error"].mean(),
                    "covered by all blocks": cases["covered by all blocks"].mean(),
                    "half-width of all blocks": cases["half-width of all blocks"].median(),
                }
            )
    return pd.DataFrame(rows)
