"""Error rates of `assert_not_slower` by simulation: the real engine, rounds and looks on a machine with known truth.

The machine comes from `simulation`: it drifts, has bursts and slow spells. One process is simulated from start to end,
so its rounds are not independent of each other, like real ones; and its ratio is not quite that of other processes.
"""

import math
import random
from contextlib import nullcontext
from functools import partial
from statistics import median

import pandas as pd

from rnnbench.analysis.not_slower import Answer, Question
from rnnbench.harness.devices import Cpu
from rnnbench.harness.live.not_slower import MINE, SETTINGS, THAN, ask
from rnnbench.harness.live.rounds import LiveRounds
from rnnbench.workloads.phases import TimedCall
from tests.validation.simulation import CALL_SECONDS, Machine

FACTOR = 1.2
RATIOS = (1.0, 1.1, 1.15, 1.18, 1.2, 1.22, 1.25, 1.3, 1.5)
BUDGET_SECONDS = 10.0
PROCESS_SPREAD = 0.009  # standard deviation of the logarithm of a process's own ratio


def error_rates(runs: int, ratios: tuple[float, ...] = RATIOS) -> pd.DataFrame:
    """One row for each true ratio: how often it is called slower than 1.2, not slower, or neither."""
    rows = []
    for ratio in ratios:
        trials = [_one(ratio, random.Random(f"not slower {ratio} {run}")) for run in range(runs)]
        answers = [answer for answer, _, _ in trials]
        rows.append(
            {
                "true ratio": ratio,
                "factor": FACTOR,
                "runs": runs,
                "slower": answers.count("slower") / runs,
                "not slower": answers.count("not slower") / runs,
                "undecided": answers.count(None) / runs,
                "median rounds": median(rounds for _, rounds, _ in trials),
                "median seconds": median(seconds for _, _, seconds in trials),
            }
        )
    return pd.DataFrame(rows)


def _one(ratio: float, rng: random.Random) -> tuple[Answer | None, int, float]:
    """The answer, its rounds, and their seconds on the simulated machine."""
    machine, question = Machine(rng), Question(FACTOR)
    costs = {MINE: CALL_SECONDS * ratio * math.exp(rng.gauss(0, PROCESS_SPREAD)), THAN: CALL_SECONDS}
    arms = {arm: TimedCall(partial(machine.spend, cost), nullcontext) for arm, cost in costs.items()}
    rounds = LiveRounds(Cpu(now=machine), arms, THAN, SETTINGS, now=machine, seed=rng.randrange(1 << 30))
    seconds = ask(question, rounds, BUDGET_SECONDS, None, machine)
    return question.answer, len(rounds.times[MINE]), seconds
