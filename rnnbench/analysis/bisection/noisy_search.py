"""Find where in a row of commits a score rises from 0 to 1, from noisy scores of some of them.

A bisection that believes each measurement goes wrong for good after the first one that misleads. Here every place keeps
a probability (Horstein 1963, doi:10.1109/TIT.1963.1057832; Waeber, Frazier & Henderson 2013, doi:10.1137/120861898): a
measurement moves probability to one side, later ones may move it back, and the next is taken at the median. Scores are
taken as Student's t with the few degrees of freedom that their number allows, so that a stall does not decide.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

MAX_FREEDOM = 5.0  # of the likelihood, whose tails stay heavy however many scores there are
SURE = 0.99
LOG_REFUTED = math.log(1e-3)  # what a comparison without a rise leaves of a place's probability
MIXED = (0.25, 0.75)  # a score whose interval lies between these is neither before nor after a single rise
MIXED_ERRORS = 3.0  # half-width of that interval, in standard errors
MIN_TO_BE_MIXED = 6  # scores


@dataclass
class NoisySearch:
    """The place of one rise among places 1 to `count`, with the scores that are known so far."""

    count: int
    end_scores: Sequence[float]  # of the last place, which show how scores scatter
    scores: dict[int, list[float]] = field(default_factory=dict)  # place -> its scores
    left_out: set[int] = field(default_factory=set)  # places that can't be measured
    refuted: set[int] = field(default_factory=set)  # places that were compared with the one before, without a rise

    def add(self, place: int, scores: Sequence[float]) -> None:
        """Add scores of a place."""
        self.scores.setdefault(place, []).extend(scores)

    @property
    def probabilities(self) -> np.ndarray:
        """For each place from 1 on, the probability that the score rises there."""
        spread, freedom = self._spread()
        logs = np.zeros(self.count)
        places = np.arange(1, self.count + 1)
        for place, scores in self.scores.items():
            error = spread / math.sqrt(len(scores))
            mean = float(np.mean(scores))
            after, before = (stats.t.logpdf((mean - level) / error, freedom) for level in (1.0, 0.0))
            logs += np.where(places <= place, after, before)
        logs[[place - 1 for place in self.refuted]] += LOG_REFUTED
        weights = np.exp(logs - logs.max())
        return np.asarray(weights / weights.sum())

    def neighbours(self) -> tuple[int, int]:
        """The most likely step: a place that can be measured (0 always can), and the next one that can.

        The rise is at the second, or at one between them.
        """
        best = int(np.argmax(self.probabilities)) + 1
        low = max(place for place in range(best) if place not in self.left_out)
        high = min(place for place in range(best, self.count + 1) if place not in self.left_out)
        return low, high

    @property
    def likely(self) -> list[int]:
        """The places that together have a probability of SURE, the most likely first."""
        probabilities = self.probabilities
        order = np.argsort(-probabilities, kind="stable")
        enough = int(np.searchsorted(np.cumsum(probabilities[order]), SURE)) + 1
        return [int(index) + 1 for index in order[:enough]]

    def next_place(self) -> int | None:
        """The place to measure next: nearest to the median; None if the answer is sure, or nothing is left to measure.

        A place and the ones before it that can't be measured are one answer.
        """
        measurable = [place for place in range(1, self.count) if place not in self.left_out]
        if not measurable:
            return None
        cumulated = np.cumsum(self.probabilities)
        place = min(measurable, key=lambda place: abs(float(cumulated[place - 1]) - 0.5))
        # Below `place` the rise is at or before it, above it is after: if either is sure, nothing divides the rest.
        if min(float(cumulated[place - 1]), 1 - float(cumulated[place - 1])) < 1 - SURE:
            return None
        return place

    def is_mixed(self, place: int) -> bool:
        """Whether a place's score lies between 0 and 1: then the score rises both before and after it."""
        scores = self.scores.get(place, [])
        if len(scores) < MIN_TO_BE_MIXED:
            return False
        half = MIXED_ERRORS * self._spread()[0] / math.sqrt(len(scores))
        mean = float(np.mean(scores))
        return MIXED[0] < mean - half and mean + half < MIXED[1]

    def _spread(self) -> tuple[float, float]:
        """The standard deviation of scores around the mean of their place, and its degrees of freedom, limited."""
        samples = [self.end_scores, *self.scores.values()]
        squares = sum(float(np.sum((np.array(each) - np.mean(each)) ** 2)) for each in samples if len(each) > 1)
        freedom = sum(len(each) - 1 for each in samples if len(each) > 1)
        if not freedom:
            return 1.0, 1.0
        return max(math.sqrt(squares / freedom), 1e-6), min(float(freedom), MAX_FREEDOM)
