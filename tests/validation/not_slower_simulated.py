"""Error rates of `assert_not_slower` by simulation: the real engine, rounds and looks on a machine with known truth.

The machine comes from `simulation`: it drifts, has bursts and slow spells. One process is simulated from start to end,
so its rounds are not independent of each other, like real ones; and its ratio is not quite that of other processes.
In some rows the ratio also wanders from round to round, as it does in most processes of a hand-written LSTM.

`intervals` is about the statistics alone, on invented rounds: how often the 95% interval of `rnnbench.measure` holds
the truth, and how often a ratio that is the factor itself is decided.
"""

import math
import random
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from statistics import median

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import Estimate, estimate
from rnnbench.analysis.pairs import PairRatio
from rnnbench.analysis.rounds import MINE, THAN, Answer, Question, widened, widening
from rnnbench.harness.devices import Cpu
from rnnbench.harness.live.loop import LiveTurns
from rnnbench.workloads.phases import TimedCall
from tests.validation.simulation import CALL_SECONDS, Machine

FACTOR = 1.2
RATIOS = (1.0, 1.1, 1.15, 1.18, 1.2, 1.22, 1.25, 1.3, 1.5)
BUDGET_SECONDS = 10.0
PROCESS_SPREAD = 0.009  # standard deviation of the logarithm of a process's own ratio
WANDERING = 0.035  # standard deviation of the logarithm of a round's own ratio, in rows whose rounds are correlated
CORRELATED = ((1.1, 0.5), (1.2, 0.5), (1.2, 0.8), (1.3, 0.5))  # true ratio and correlation of neighbouring rounds
ROUNDS = (6, 10, 20, 60, 200)
OWN_NOISE = "0.8, and noise of its own"  # half of the variance: neighbours correlate by 0.4, the next by 0.32
HEAVY = "0.5, heavy tails"  # steps from Student's t with three degrees of freedom
MODES = "two modes, drawn in each round"
LASTING_MODES = "two modes that last four rounds"  # on average
CORRELATIONS: tuple[float | str, ...] = (0.0, 0.3, 0.5, 0.8, OWN_NOISE, HEAVY, MODES, LASTING_MODES)
LONGEST = 200  # rounds of a question, about as many as fit the budget


def wandering(rng: np.random.Generator, correlation: float, shape: tuple[int, int], spread: float) -> np.ndarray:
    """Rows of values with this spread and correlation from column to column: AR(1)."""
    values = spread * rng.standard_normal(shape)
    for column in range(1, shape[1]):
        values[:, column] = correlation * values[:, column - 1] + math.sqrt(1 - correlation**2) * values[:, column]
    return values


def error_rates(
    runs: int, ratios: tuple[float, ...] = RATIOS, correlated: tuple[tuple[float, float], ...] = CORRELATED
) -> pd.DataFrame:
    """One row for each true ratio: how often it is called slower than 1.2, not slower, or neither."""
    rows = []
    for ratio, correlation in (*((ratio, 0.0) for ratio in ratios), *correlated):
        seeds = [f"not slower {ratio}{f' {correlation}' if correlation else ''} {run}" for run in range(runs)]
        trials = [_one(ratio, random.Random(seed), correlation) for seed in seeds]
        answers = [answer for answer, _, _ in trials]
        rows.append(
            {
                "true ratio": ratio,
                "correlation of rounds": correlation,
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


def intervals(series: int) -> pd.DataFrame:
    """One row for each correlation and number of rounds: coverage and width of intervals, and wrong answers."""
    rows = []
    for correlation in CORRELATIONS:
        rng = np.random.default_rng(1)
        log_ratios = WANDERING * noise(rng, correlation, (series, LONGEST))
        elsewhere = PROCESS_SPREAD * rng.standard_normal((series, 1))
        answers = [_answer(logs) for logs in log_ratios + elsewhere + math.log(FACTOR)]
        for rounds in ROUNDS:
            estimates = [(estimate(logs), logs.tolist()) for logs in log_ratios[:, :rounds]]
            wider = [widened(independent, logs) for independent, logs in estimates]
            widths = [widening(logs) for _, logs in estimates]
            rows.append(
                {
                    "correlation of rounds": correlation,
                    "rounds": rounds,
                    "series": series,
                    "for independent rounds, covered": _covered([independent for independent, _ in estimates]),
                    "covered": _covered(wider),
                    "wider, median": float(np.median(widths)),
                    "wider, mean": float(np.mean(widths)),
                    "called slower at the factor, to the end": answers.count("slower") / series,
                    "called not slower": answers.count("not slower") / series,
                }
            )
    return pd.DataFrame(rows)


def noise(rng: np.random.Generator, correlation: float | str, shape: tuple[int, int]) -> np.ndarray:
    """Rows of values with a standard deviation of 1 and a centre of 0 that resemble their neighbours."""
    if correlation == HEAVY:
        steps = rng.standard_t(3, shape) / math.sqrt(3)
        values = steps.copy()
        for place in range(1, shape[1]):
            values[:, place] = 0.5 * values[:, place - 1] + math.sqrt(0.75) * steps[:, place]
        return values
    if correlation in (MODES, LASTING_MODES):
        return _modes(rng, 0.5 if correlation == MODES else 0.25, shape)
    if isinstance(correlation, str):
        return (wandering(rng, 0.8, shape, 1.0) + rng.standard_normal(shape)) / math.sqrt(2)
    return wandering(rng, correlation, shape, 1.0)


def _modes(rng: np.random.Generator, change: float, shape: tuple[int, int]) -> np.ndarray:
    """Rows that are in one of two modes, with this chance of the other one in the next round, and a little noise."""
    changes = rng.random(shape) < change
    changes[:, 0] = rng.random(shape[0]) < 0.5
    modes = np.where(np.cumsum(changes, axis=1) % 2 == 1, 1.0, -1.0)
    return (modes + 0.3 * rng.standard_normal(shape)) / math.sqrt(1.09)


def _covered(intervals: Sequence[Estimate]) -> float:
    """The share of the intervals that hold the truth, 0."""
    return float(np.mean([interval.lower <= 0 <= interval.upper for interval in intervals]))


def _answer(logs: np.ndarray) -> Answer | None:
    """The answer after the looks at these rounds."""
    question, taken = Question(FACTOR), 0
    while question.answer is None and taken < len(logs):
        taken = min(question.next_look, len(logs))
        question.ratios = [PairRatio(number, log, log) for number, log in enumerate(logs[:taken].tolist())]
        question.look()
    return question.answer


def _one(ratio: float, rng: random.Random, correlation: float = 0.0) -> tuple[Answer | None, int, float]:
    """The answer, its rounds, and their seconds on the simulated machine."""
    machine, question = Machine(rng), Question(FACTOR)
    cost = CALL_SECONDS * ratio * math.exp(rng.gauss(0, PROCESS_SPREAD))
    state, slowness = rng.gauss(0, 1), 1.0

    def wander() -> None:
        """Draw how slow `mine` is in the next round."""
        nonlocal state, slowness
        state = correlation * state + math.sqrt(1 - correlation**2) * rng.gauss(0, 1)
        slowness = math.exp(WANDERING * state) if correlation else 1.0

    arms = {
        MINE: TimedCall(lambda: machine.spend(cost * slowness), nullcontext, restart=wander),
        THAN: TimedCall(partial(machine.spend, CALL_SECONDS), nullcontext),
    }
    turns = LiveTurns(Cpu(now=machine), arms, now=machine, seed=rng.randrange(1 << 30))
    turns.until(question, machine() + BUDGET_SECONDS)
    question.look()
    return question.answer, len(turns.times[MINE]), turns.seconds
