"""Intervals and answers about live modules by simulation, on rounds that resemble their neighbours.

All rounds of a question come from one process. The ratio wanders from round to round, as it does in most processes of a
hand-written LSTM, and the process's ratio is not quite that of other processes. The table tells how often the 95%
interval of `rnnbench.measure` holds the truth, and what `assert_not_slower` says of a ratio that is its factor.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import Estimate, estimate
from rnnbench.analysis.pairs import PairRatio
from rnnbench.analysis.rounds import Answer, Question, widened, widening

FACTOR = 1.2
PROCESS_SPREAD = 0.009  # standard deviation of the logarithm of a process's own ratio
WANDERING = 0.035  # standard deviation of the logarithm of a round's own ratio
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
