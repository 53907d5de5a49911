"""Rounds of modules in one process: the time of each, and whether one is slower than another by more than a factor.

The rounds of one process come one after the other, so whatever slows one arm for a second slows several rounds. Values
that resemble their neighbours tell less of their centre than independent ones do: an error for independent values is
too small, by the root of `len(values) / worth(values)`.

If the correlation of neighbours is r, and that of values that are one more apart is smaller by the factor f, n values
are worth n / (1 + 2 r / (1 - f)). Both come from the values themselves: r is the correlation of neighbours, and f is r
too, or the correlation of next but one neighbours over r if that is larger, as it is if values also have noise of their
own. Few values show their correlation badly: what they show counts only above its own standard error, and no series is
worth fewer than `LEAST_WORTH` values.

Few rounds can't show a correlation at all: of six rounds with one of 0.5, 80 of 100 intervals hold the truth if what
they show is believed. It is therefore assumed to be `ASSUMED_CORRELATION`, which gives way to what the rounds show as
they come in, and is taken from the rounds where they show more. Intervals of independent rounds are then too wide: 1.9
times after six rounds, 1.4 after 20, 1.05 after 200. How often intervals hold the truth, also with noise of other
kinds, is in `results/validation/rounds-simulated.md`.

Ratios of unlike modules depend on how often another hyperthread uses the core. Where pulses tell when it does, a ratio
is therefore **undisturbed** (`rnnbench.analysis.quiet`) if at least two rounds have enough quiet blocks on both sides,
and otherwise that of all blocks, **on a shared core**. These are two estimands: one value, one interval and one look of
a question use one of them. What is said above of rounds that resemble their neighbours holds for both.

A module that keeps something from each call (a list that grows, a graph that is never freed) has no time of its own:
it depends on how often the module was called. Modules that are timed in turns share the states of the machine, so a
module's turns are compared with those of the others beside them. Medians of blocks of turns bridge states that last
for some turns; an order that has at most two pairs of blocks the wrong way round comes about by chance once in 1,100
times, whatever the noise is like, as long as blocks don't depend on each other.

A question (`Question`) is whether one module is at most `factor` times as slow as another. It is asked again as rounds
come in, until the interval answers.

Two ratios are looked at, as in `rnnbench.analysis.verdict`: that of the typical call, which is precise, and
that of their mean, which also shows what slows only some of them. Both are of quiet blocks if three quarters of the
rounds have enough of them, as in a check (`rnnbench.analysis.pairs`); the number of blocks alone decides that.
`slower`: one of the two intervals lies above the factor. `not slower`: both lie at or below it. Anything else is no
answer yet.

How the error rate is split. 1% (`ROUNDS_CONFIDENCE`) is the rate of both wrong answers together, over all looks. Half
of it goes to each ratio, and half of that to each side, so either wrong answer is given at most once in 200 times, even
if the true ratio is the factor itself. The k-th look spends 1 / (k (k + 1)) of it: the sum of these shares never
exceeds one, however many looks there are (Bonferroni), so the rounds may end at any time, for any reason.

The ratio also differs from process to process, for example with the layout of memory. Each round has the weights at
other places in memory, which shows a part of that. For the rest, `PROCESS_SPREAD` is added to the errors, here and in
`compare`. What pulses miss is added to the error of a mean over quiet blocks (`MISSED_SHARE`). The rates hold if
processes differ by no more than that, and rounds are correlated by no more than 0.5:
`results/validation/rounds-simulated.md` shows what more does.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from statistics import fmean, median
from typing import Literal

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import (
    CONFIDENCE,
    UNKNOWN,
    Estimate,
    Location,
    as_ratio,
    estimate_columns,
    locations,
    run_to_run,
    with_runs,
)
from rnnbench.analysis.pairs import PairRatio, logs_of, without_blind
from rnnbench.analysis.quiet_rounds import (
    RoundLogs,
    RoundTimes,
    drift_of_rounds,
    estimates_of_rounds,
    ratio_logs,
    round_ratio,
    seconds_logs,
    state_of,
    undisturbed_logs,
)
from rnnbench.analysis.replicate_times import log_ratio
from rnnbench.analysis.summary import UNDISTURBED
from rnnbench.analysis.variances import t_quantile, t_quantiles
from rnnbench.analysis.verdict import share_of_look

# Values; with fewer, Student's quantiles are so large that noise in the correlation would rule the interval.
LEAST_WORTH = 5.0
MAX_CORRELATION = 0.9  # a series that wanders longer than ten values can't be told from a drift
CLIPPED_ROUNDS = 0.1  # of the values, at each end: a stall hides how alike the others are
NO_SPREAD = 1e-9  # of logarithms: below it there is only rounding
BIAS_TERMS = 4  # the correlation r of n values comes out too small by about (1 + 4 r) / n (Kendall 1954)
BLOCKS = 8
TURNS = 3  # of a block
MAX_FALLS = 2, 6  # pairs of the 28 blocks: of the time compared with the others, and of the time itself
LEAST_GROWTH = 0.03  # growth that matters
Answer = Literal["slower", "not slower"]
ROUNDS_CONFIDENCE = 0.99
FIRST_LOOK = 8  # rounds; with fewer, Student's interval is very wide
ROUNDS_GROWTH = 1.5  # of the number of rounds from look to look
ASSUMED_CORRELATION = 0.5  # of neighbouring rounds; 0.3 to 0.5 was seen in most processes of a hand-written LSTM
ASSUMED_ROUNDS = 20  # rounds that the assumption counts for: it rules the first looks and is a sixth at the hundredth
# The spread of n values that resemble their neighbours comes out too small: intervals are wider by this over n.
SHORT_SERIES = 1.5
PROCESS_SPREAD = 0.01  # standard deviation of a log-ratio from process to process; 0.9% was seen in `quick`
BETWEEN_PROCESSES = t_quantile((1 + CONFIDENCE) / 2, math.inf) * PROCESS_SPREAD  # a half-width
# Short moments of sharing fall between two quiet pulses. Where sharing slows two calls unequally, the ratio of their
# means over quiet blocks moves towards that over all blocks: in simulation by a sixth of what these are apart.
MISSED_SHARE = 0.1  # of that, in a standard deviation
ROUND_COLUMNS = ["module", "replicate", "seconds", "mean_seconds", "ratio", "quiet_blocks", "quiet_ratio"]
LEAST_QUIET = 6  # rounds of a question with enough quiet blocks, so that these are looked at
# the names of the two in inputs and in messages
MINE = "mine"
THAN = "than"


def worth(values: Sequence[float]) -> float:
    """Return how many independent values have a mean as uncertain as these: from `LEAST_WORTH` to their number."""
    n = len(values)
    if n <= LEAST_WORTH:
        return float(n)
    ordered = np.asarray(values, dtype=float)
    apart = ordered.clip(*np.quantile(ordered, (CLIPPED_ROUNDS, 1 - CLIPPED_ROUNDS)))
    apart = apart - apart.mean()
    neighbours = _correlation(apart, 1)
    further = _correlation(apart, 2)
    if neighbours <= 1 / math.sqrt(n):
        return float(n)
    decay = min(max(neighbours, further / neighbours), MAX_CORRELATION)
    return max(LEAST_WORTH, n / (1 + 2 * min(neighbours, MAX_CORRELATION) / (1 - decay)))


def widening(logs: Sequence[float]) -> float:
    """Return the width of the 95% interval of a series' centre over that of the interval for independent values.

    That which the values show, or that of the assumed correlation if it is larger.
    """
    n = len(logs)
    independent = worth(logs)
    factor = 1.0
    if independent < n:
        correlated, plain = t_quantiles(0.975, np.array([independent - 1, n - 1])).tolist()
        factor = math.sqrt(n / independent) * correlated / plain
    assumed = math.sqrt(_assumed_variance(n, n / independent)) * (1 + SHORT_SERIES / n)
    return float(max(factor, assumed))


def _assumed_variance(n: int, ratio: float) -> float:
    """Return the variance of the mean of n values over that of independent ones, from what they show and the assumed.

    `ratio`: this variance as the values show it, (1 + r) / (1 - r) for values whose neighbours correlate by r.
    """
    correlation = (ratio - 1) / (ratio + 1)
    mixed = (n * correlation + ASSUMED_ROUNDS * ASSUMED_CORRELATION) / (n + ASSUMED_ROUNDS)
    return (1 + mixed) / (1 - mixed)


def widened(interval: Estimate, logs: Sequence[float]) -> Estimate:
    """Return the 95% interval of a series' centre, from the interval for independent values."""
    half = widening(logs) * (interval.upper - interval.value)
    return Estimate(interval.value, interval.value - half, interval.value + half)


def _correlation(apart: np.ndarray, lag: int) -> float:
    """Return the correlation of values `lag` places apart, from distances from the mean; 0 without any spread."""
    n = len(apart)
    whole = float(apart @ apart)
    if whole < NO_SPREAD**2:
        return 0.0
    correlation = float(apart[lag:] @ apart[:-lag]) / whole
    return (n * correlation + 1) / max(n - BIAS_TERMS, 3)  # 3: for six values the correction would double the noise


def growing(turns: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return by what share the time of each module grows that surely grows, from the first block to the last.

    `turns`: each module's seconds per call, turn by turn; the modules take their n-th turns about the same time.
    """
    logs = {name: np.log(np.maximum(seconds, 1e-12)) for name, seconds in turns.items()}
    shares = {}
    for name, of_module in logs.items():
        others = [of_other for other, of_other in logs.items() if other != name]
        if not others or len(of_module) < TURNS * BLOCKS:
            continue
        blocks = _medians_of_blocks(of_module - np.median(others, axis=0))
        alone = _medians_of_blocks(of_module)
        share = float(np.expm1(blocks[-1] - blocks[0]))
        if _falls(blocks) <= MAX_FALLS[0] and _falls(alone) <= MAX_FALLS[1] and share > LEAST_GROWTH:
            shares[name] = share
    return shares


def _medians_of_blocks(series: np.ndarray) -> np.ndarray:
    return np.array([np.median(block) for block in np.array_split(series, BLOCKS)])


def _falls(blocks: np.ndarray) -> int:
    """Count the pairs of blocks of which the later one is not larger."""
    return int(np.triu(blocks[None, :] <= blocks[:, None], 1).sum())


def compare(times: Mapping[str, Sequence[RoundTimes]], reference: str) -> pd.DataFrame:
    """Return a row for each arm: `seconds`, `ratio` with 95% intervals, `state`, `mean_seconds`, `replicates`.

    Estimated as in `summarize`, on logarithms and a ratio within each round, the rounds being the replicates. Rounds of
    one process resemble their neighbours more than replicates do, so intervals are wider where they do (`neighbours`).
    Intervals of ratios also allow for the differences between processes. The reference's own ratio is 1. `state`:
    `undisturbed`, `on a shared core`, or empty if it was always quiet, or if nobody knows.
    """
    base = times[reference]
    others = [arm for arm in times if arm != reference]
    ratios = {arm: ratio_logs(rounds, base) for arm, rounds in times.items()}
    logs = {arm: seconds_logs(rounds, is_undisturbed=ratios[arm].is_undisturbed) for arm, rounds in times.items()}
    seconds = _estimated(logs)
    within = _estimated({arm: ratios[arm] for arm in others}) | {reference: Estimate(0.0, 0.0, 0.0)}
    drifts = np.array([drift_of_rounds(ratios[arm], times[arm], base) for arm in within])
    logs_of_ratios = np.array([astuple(each) for each in within.values()])
    compared = dict(zip(within, with_runs(logs_of_ratios, np.hypot(drifts, BETWEEN_PROCESSES)).tolist(), strict=True))
    rows = {
        arm: {
            **estimate_columns("seconds", as_ratio(seconds[arm])),
            **estimate_columns("ratio", as_ratio(Estimate(*compared[arm]))),
            "state": state_of(ratios[arm], rounds, base),
            "mean_seconds": fmean(round_times.mean for round_times in rounds),
            "replicates": len(rounds),
        }
        for arm, rounds in times.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").astype({"replicates": int})


def _estimated(logs: Mapping[str, RoundLogs]) -> dict[str, Estimate]:
    pairs = zip(logs.items(), estimates_of_rounds([*logs.values()]), strict=True)
    return {arm: widened(interval, logs_of_arm.values) for (arm, logs_of_arm), interval in pairs}


def rounds_of(times: Mapping[str, Sequence[RoundTimes]], reference: str) -> pd.DataFrame:
    """Return a row for each arm (`module`) and round: `seconds`, `mean_seconds`, `ratio` to the reference's time.

    These are of all blocks; `quiet_blocks` is the number of the quiet ones, and `quiet_ratio` the ratio by these.
    """
    quiet = {arm: undisturbed_logs(rounds, times[reference]) for arm, rounds in times.items()}
    rows = []
    for arm, rounds in times.items():
        for number, (round_times, others) in enumerate(zip(rounds, times[reference], strict=True)):
            row = {
                "module": arm,
                "replicate": number,
                "seconds": round_times.median,
                "mean_seconds": round_times.mean,
                "ratio": math.exp(log_ratio(round_times, others)),
                "quiet_blocks": round_times.quiet.blocks if round_times.quiet else 0,
                "quiet_ratio": math.exp(quiet[arm][number][0]),
            }
            rows.append(row)
    return pd.DataFrame(rows, columns=ROUND_COLUMNS)


def wider_than(frame: pd.DataFrame, precision: float) -> list[str]:
    """Return the arms of `compare` whose rounds know the ratio less precisely than `precision`, or without interval."""
    between = run_to_run(np.log(frame["ratio"].to_numpy(dtype=float)))
    half_widths = np.log((frame["ratio_high"] / frame["ratio_low"]).to_numpy(dtype=float)) / 2
    is_precise = half_widths <= np.hypot(math.log1p(precision), np.hypot(between, BETWEEN_PROCESSES))
    return [str(arm) for arm in frame.index[~is_precise]]


@dataclass
class Question:
    """Whether `mine` takes more than `factor` times as long as `than`: the rounds, and what looks have shown.

    Without an answer it is also enough to know both ratios within `precision` (0.01: 1%). `low` and `mean` are the last
    look's ratios with intervals for any process. Rounds of one process cost little, so there are more of them between
    looks than a check has pairs.
    """

    factor: float
    precision: float | None = None
    answer: Answer | None = None
    low: Estimate = UNKNOWN
    mean: Estimate = UNKNOWN
    within: tuple[Estimate, ...] = (UNKNOWN, UNKNOWN)  # both ratios with intervals for this process alone
    looks: int = 0
    looked: int = 0  # rounds at the last look
    state: str = ""  # of the core, at the last look: `undisturbed`, `on a shared core`, or empty
    ratios: list[PairRatio] = field(default_factory=list)  # of each round, as of a pair of a check

    @property
    def next_look(self) -> int:
        """The number of rounds at the next look."""
        return max(FIRST_LOOK, math.ceil(ROUNDS_GROWTH * self.looked))

    def wanted(self) -> tuple[tuple[str, str], int]:
        """Return both names, and the rounds until the next look; 0 if enough is known."""
        is_enough = self.answer is not None or self.is_precise
        return (MINE, THAN), 0 if is_enough else self.next_look - len(self.ratios)

    def add(self, times: Mapping[str, RoundTimes], seconds: float) -> None:
        """Add the ratios of a round, and look at all of them if it is time."""
        self.ratios.append(round_ratio(len(self.ratios), times[MINE], times[THAN]))
        if len(self.ratios) == self.next_look:
            self.look()

    def look(self) -> None:
        """Look at all rounds, if there are new ones; also to be called when the budget has ended them."""
        if len(self.ratios) == self.looked:
            return
        self.looks = self.looks + 1
        self.looked = len(self.ratios)
        confidence = 1 - (1 - ROUNDS_CONFIDENCE) / 2 * share_of_look(self.looks)
        ratios = without_blind({MINE: self.ratios})[MINE]
        logs = logs_of(ratios, LEAST_QUIET)
        self.state = logs.state
        # What all blocks differ by from the quiet ones is what sharing does to the two.
        apart = [each.mean - each.quiet_low for each in ratios if each.is_quiet]
        missed = MISSED_SHARE * abs(median(apart)) if logs.state == UNDISTURBED else 0.0
        low = _located(logs.low)
        mean = _located(logs.mean)
        self.within = (as_ratio(low.interval(confidence)), as_ratio(mean.interval(confidence)))
        self.low = as_ratio(low.plus(PROCESS_SPREAD**2).interval(confidence))
        self.mean = as_ratio(mean.plus(PROCESS_SPREAD**2 + missed**2).interval(confidence))
        if max(self.low.lower, self.mean.lower) > self.factor:
            self.answer = "slower"
        elif max(self.low.upper, self.mean.upper) <= self.factor:
            self.answer = "not slower"

    @property
    def by_the_mean(self) -> bool:
        """Return True if only the mean speaks against `not slower`, and the typical call does not."""
        if self.answer == "slower":
            return self.low.lower <= self.factor
        return self.answer is None and self.low.upper <= self.factor

    @property
    def is_precise(self) -> bool:
        """Return True if both ratios of this process are known within the precision, and still give no answer."""
        if self.answer is not None or self.precision is None:
            return False
        return all(ratio.upper / ratio.lower <= (1 + self.precision) ** 2 for ratio in self.within)


def _located(logs: Sequence[float]) -> Location:
    """Return the centre of the log-ratios of rounds, for rounds that resemble their neighbours."""
    [location] = locations([logs])
    n = len(logs)
    ratio = n / worth(logs)  # the variance of the mean over that of independent rounds
    error = location.error * math.sqrt(max(ratio, _assumed_variance(n, ratio)))
    return Location(location.value, error, min(location.freedom, n / ratio - 1))
