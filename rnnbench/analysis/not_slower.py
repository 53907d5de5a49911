"""Is one arm at most `factor` times as slow as another? Asked again as rounds come in, until the interval answers.

Two ratios are looked at, as in `rnnbench.analysis.verdict`: that of the typical call, which is precise, and
that of their mean, which also shows what slows only some of them. `slower`: one of the two intervals lies above the
factor. `not slower`: both lie at or below it. Anything else is no answer yet.

How the error rate is split. 1% (`CONFIDENCE`) is the rate of both wrong answers together, over all looks. Half of it
goes to each ratio, and half of that to each side, so either wrong answer is given at most once in 200 times, even if
the true ratio is the factor itself. The k-th look spends 1 / (k (k + 1)) of it: the sum of these shares never exceeds
one, however many looks there are (Bonferroni), so the rounds may end at any time, for any reason.

Rounds of one process resemble their neighbours, which the first looks can't show: eight rounds say little of their
correlation. It is therefore assumed to be `ASSUMED_CORRELATION`, which gives way to what the rounds show as they come
in, and is taken from the rounds where they show more (`rnnbench.analysis.rounds`).

The ratio also differs from process to process, for example with the layout of memory, which the rounds of one process
can't show. `PROCESS_SPREAD` is therefore added to the errors. The rates hold if processes differ by no more than that,
and rounds are correlated by no more than 0.5: `results/validation/rounds-simulated.md` shows what more does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rnnbench.analysis.estimate import UNKNOWN, Estimate, as_ratio
from rnnbench.analysis.location import Location, locations
from rnnbench.analysis.rounds import worth
from rnnbench.analysis.verdict import share_of_look

Answer = Literal["slower", "not slower"]
CONFIDENCE = 0.99
FIRST_LOOK = 8  # rounds; with fewer, so little is left of the trimmed sample that its interval is very wide
GROWTH = 1.5  # of the number of rounds from look to look
ASSUMED_CORRELATION = 0.5  # of neighbouring rounds; 0.3 to 0.5 was seen in most processes of a hand-written LSTM
ASSUMED_ROUNDS = 20  # rounds that the assumption counts for: it rules the first looks and is a sixth at the hundredth
PROCESS_SPREAD = 0.01  # standard deviation of a log-ratio from process to process; 0.9% was seen in `quick`


@dataclass
class Question:
    """The result of the looks so far; `low` and `mean` are the last look's ratios with intervals for any process.

    Rounds of one process cost little, so there are more of them between looks than a check has pairs.
    """

    factor: float
    answer: Answer | None = None
    low: Estimate = UNKNOWN
    mean: Estimate = UNKNOWN
    within: tuple[Estimate, ...] = (UNKNOWN, UNKNOWN)  # both ratios with intervals for this process alone
    looks: int = 0
    next_look: int = FIRST_LOOK  # rounds

    def look(self, low: Sequence[float], mean: Sequence[float]) -> None:
        """Look at the log-ratios of all rounds so far: one value for each round, at least one."""
        self.looks += 1
        self.next_look = math.ceil(GROWTH * len(low))
        confidence = 1 - (1 - CONFIDENCE) / 2 * share_of_look(self.looks)
        located = [_located(logs) for logs in (low, mean)]
        self.within = tuple(as_ratio(location.interval(confidence)) for location in located)
        self.low, self.mean = (as_ratio(location.plus(PROCESS_SPREAD**2).interval(confidence)) for location in located)
        if max(self.low.lower, self.mean.lower) > self.factor:
            self.answer = "slower"
        elif max(self.low.upper, self.mean.upper) <= self.factor:
            self.answer = "not slower"

    @property
    def by_the_mean(self) -> bool:
        """Whether only the mean speaks against `not slower`, and the typical call does not."""
        if self.answer == "slower":
            return self.low.lower <= self.factor
        return self.answer is None and self.low.upper <= self.factor

    def is_within(self, precision: float | None) -> bool:
        """Whether both ratios of this process are known within `precision` (0.01: 1%), so that rounds tell little."""
        return precision is not None and all(ratio.upper / ratio.lower <= (1 + precision) ** 2 for ratio in self.within)


def _located(logs: Sequence[float]) -> Location:
    """The centre of the log-ratios of rounds, for rounds that resemble their neighbours."""
    [location], n = locations([logs]), len(logs)
    shown = n / worth(logs)  # the variance of the mean over that of independent rounds; (1 + r) / (1 - r) for AR(1)
    correlation = (shown - 1) / (shown + 1)
    mixed = (n * correlation + ASSUMED_ROUNDS * ASSUMED_CORRELATION) / (n + ASSUMED_ROUNDS)
    error = location.error * math.sqrt(max(shown, (1 + mixed) / (1 - mixed)))
    return Location(location.value, error, min(location.freedom, n / shown - 1))
