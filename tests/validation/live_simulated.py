"""Live modules on a simulated core that is shared, with the real turns, pulses and rounds.

The machine is that of `shared_simulated`: sharing slows each call by a factor of its own. How often the core is shared
differs from round to round, or from process to process. All rounds are of one process, so beside that each call wanders
from round to round as `rounds_simulated` lets it. The truth is the ratio on a quiet core.
"""

import math
import random
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from rnnbench.analysis.quiet_rounds import RoundTimes
from rnnbench.analysis.rounds import compare
from rnnbench.analysis.summary import UNDISTURBED
from rnnbench.harness.devices import Cpu
from rnnbench.harness.live.loop import LiveTurns
from rnnbench.harness.live.stops import Precision
from rnnbench.harness.machine.pulse import Pulses
from rnnbench.harness.machine.quiet_core import QuietCore
from rnnbench.suite.file import Settings
from rnnbench.workloads.phases import TimedCall
from tests.validation.shared_simulated import PULSE_SECONDS, RATIOS, REFERENCE_SECONDS, SHARINGS, Machine, Sharing

ROUNDS = (6, 20)
CORRELATIONS = (0.0, 0.5)  # of neighbouring rounds
WANDERING = 0.01  # standard deviation of the logarithm of a call's own speed from round to round
REFERENCE = "reference"


@dataclass
class Process:
    """A process whose calls take turns on a shared core."""

    rng: random.Random
    sharing: Sharing
    correlation: float
    costs: Mapping[str, float]  # seconds of each call on a quiet core
    responses: Mapping[str, float]  # how many times as long each takes on a shared one

    def __post_init__(self) -> None:
        self.machine = Machine(self.rng, self.rng.uniform(*self.sharing.quiet), self.sharing.bout)
        self._states = {name: self.rng.gauss(0, 1) for name in self.costs}
        self._slowness = dict.fromkeys(self.costs, 1.0)

    def turns(self) -> LiveTurns:
        """The turns of all calls; before those of a round, the first call draws what the round is like."""
        first = next(iter(self.costs))
        calls = {
            name: TimedCall(partial(self._call, name), nullcontext, restart=self._begin if name == first else _nothing)
            for name in self.costs
        }
        core = QuietCore(Pulses(PULSE_SECONDS, take=self.machine.pulse), now=self.machine)
        return LiveTurns(Cpu(now=self.machine), calls, core, now=self.machine, seed=self.rng.randrange(1 << 30))

    def _call(self, name: str) -> None:
        self.machine.call(self.costs[name] * self._slowness[name], self.responses[name])

    def _begin(self) -> None:
        if self.sharing.by == "visit":
            self.machine.quiet = self.rng.uniform(*self.sharing.quiet)
        for name, state in self._states.items():
            fresh = math.sqrt(1 - self.correlation**2) * self.rng.gauss(0, 1)
            self._states[name] = self.correlation * state + fresh
            self._slowness[name] = math.exp(WANDERING / math.sqrt(2) * self._states[name])


def _nothing() -> None:
    """Draw nothing."""


def coverage(processes: int, rounds: tuple[int, ...] = ROUNDS) -> pd.DataFrame:
    """A row for each way of sharing, correlation and number of rounds: how often intervals hold the quiet ratio."""
    rows = []
    for name, sharing in SHARINGS.items():
        for correlation in CORRELATIONS:
            rng = random.Random(f"live {name} {correlation}")
            taken = [measured(sharing, correlation, max(rounds), rng) for _ in range(processes)]
            for count in rounds:
                cases = pd.concat([covered(times, count) for times in taken])
                rows.append({"the core is": name, "correlation of rounds": correlation, "rounds": count, **told(cases)})
    return pd.DataFrame(rows)


def measured(sharing: Sharing, correlation: float, rounds: int, rng: random.Random) -> dict[str, list[RoundTimes]]:
    """The rounds of one process, whose cases have the `RATIOS`."""
    ratios = {f"case {number}": ratio for number, ratio in enumerate(RATIOS)}
    costs = {REFERENCE: REFERENCE_SECONDS} | {name: REFERENCE_SECONDS * ratio for name, ratio in ratios.items()}
    responses = {name: rng.uniform(*sharing.response) for name in costs}
    turns = Process(rng, sharing, correlation, costs, responses).turns()
    turns.until(Precision(list(costs), REFERENCE, Settings(replicates=rounds, max_replicates=rounds, precision=None)))
    return turns.times


def covered(times: Mapping[str, Sequence[RoundTimes]], rounds: int) -> pd.DataFrame:
    """A row for each case of a process after so many rounds: its interval by quiet blocks and by all, and the truth."""
    first = {name: windows[:rounds] for name, windows in times.items()}
    blind = {name: [replace(each, quiet=None) for each in windows] for name, windows in first.items()}
    truth = pd.Series({f"case {number}": ratio for number, ratio in enumerate(RATIOS)})
    frame, by_all = (compare(windows, REFERENCE).loc[truth.index] for windows in (first, blind))
    is_undisturbed = frame["state"].eq(UNDISTURBED)
    return pd.DataFrame(
        {
            "undisturbed": is_undisturbed,
            "covered": _holds(frame, truth).where(is_undisturbed),
            "half-width": _half(frame).where(is_undisturbed),
            "error": np.log(frame["ratio"] / truth).where(is_undisturbed),
            "covered by all blocks": _holds(by_all, truth),
            "half-width of all blocks": _half(by_all),
        }
    )


def _holds(frame: pd.DataFrame, truth: "pd.Series[float]") -> "pd.Series[float]":
    return (frame["ratio_low"].le(truth) & frame["ratio_high"].ge(truth)).astype(float)


def _half(frame: pd.DataFrame) -> "pd.Series[float]":
    logs: pd.Series[float] = np.log(frame["ratio_high"] / frame["ratio_low"]) / 2  # type: ignore[assignment]
    return logs


def told(cases: pd.DataFrame) -> dict[str, float]:
    """What is said of all cases together."""
    return {
        "cases": len(cases),
        "undisturbed": cases["undisturbed"].mean(),
        "covered": cases["covered"].mean(),
        "half-width": cases["half-width"].median(),
        "bias": cases["error"].mean(),
        "covered by all blocks": cases["covered by all blocks"].mean(),
        "half-width of all blocks": cases["half-width of all blocks"].median(),
    }
