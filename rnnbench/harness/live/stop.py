"""What "enough" means for the loop: every ratio is precise, a factor is answered, or the fastest case is known."""

import math
from collections.abc import Mapping, Sequence

from rnnbench.analysis.estimate import Estimate, estimate
from rnnbench.analysis.replicate import Times, log_ratio
from rnnbench.analysis.rounds import Question, widening
from rnnbench.harness.turns.planner import GroupRecord, estimate_spreads, visits_to_come
from rnnbench.suite.file import Settings


class Precision:
    """Enough is known when every ratio to the reference is as precise as asked: `measure`, `sweep`, `explain`."""

    def __init__(self, names: Sequence[str], reference: str, settings: Settings) -> None:
        self._names, self._reference, self._settings = list(names), reference, settings
        self._record = GroupRecord()

    def wanted(self) -> Sequence[str]:
        """Return all names, or none."""
        return self._names if self.to_come() else ()

    def to_come(self) -> int:
        """Return the replicates that the spread seen so far calls for."""
        return visits_to_come(self._record, self._settings)

    def add(self, times: Mapping[str, Times], seconds: float) -> None:
        """Add a ratio for each call; the spread counts for more where replicates resemble their neighbours."""
        base = times[self._reference]
        self._record.add(seconds, {name: log_ratio(own, base) for name, own in times.items() if own is not base})
        estimate_spreads([self._record])
        self._record.spread *= max(map(widening, self._record.log_ratios.values()), default=1.0)

    def needed(self) -> float:
        """Return how many more seconds would be enough, at least."""
        return self.to_come() * self._record.cost


MINE, THAN = "mine", "than"  # the names of the two in inputs and in messages


class Factor:
    """Enough is known when it is answered whether `mine` is slower than `factor` times `than`: `assert_not_slower`.

    Without an answer it is also enough to know both ratios within `precision`.
    """

    def __init__(self, factor: float, precision: float | None = None) -> None:
        self.question, self._precision = Question(factor), precision
        self._ratios: list[tuple[float, float]] = []  # of each replicate, typical and of the means, as logarithms
        self._looked = 0

    @property
    def is_precise(self) -> bool:
        """Return True if more replicates would tell little, though there is no answer."""
        return self.question.answer is None and self.question.is_within(self._precision)

    def wanted(self) -> Sequence[str]:
        """Return both names, or none."""
        return () if self.question.answer is not None or self.is_precise else (MINE, THAN)

    def to_come(self) -> int:
        """Return the replicates until the next look."""
        return self.question.next_look - len(self._ratios)

    def add(self, times: Mapping[str, Times], seconds: float) -> None:
        """Add the two ratios of a replicate, and look at all of them if it is time."""
        mine, than = times[MINE], times[THAN]
        self._ratios.append((log_ratio(mine, than), math.log(mine.mean / than.mean)))
        if len(self._ratios) == self.question.next_look:
            self.look()

    def look(self) -> None:
        """Look at all replicates, if there are new ones; also to be called when the budget has ended them."""
        if len(self._ratios) > self._looked:
            self._looked = len(self._ratios)
            self.question.look(*zip(*self._ratios, strict=True))


STAGES = (4, 10, 20, 40)  # replicates, after each of which the slower cases are left out
GOOD_ENOUGH = 0.01  # cases that differ by no more than this are equally fast
CONFIDENCE = 0.99  # that a case is slower, before it is left out


class Fastest:
    """Enough is known when no other case is faster than the best one by more than `GOOD_ENOUGH`: `fastest`.

    Of cases that are about equally fast, the first one counts as the fastest: the simplest comes first.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.times: dict[str, list[Times]] = {name: [] for name in names}
        self.left = list(names)  # those that may be the fastest

    @property
    def is_sure(self) -> bool:
        """Whether all others are slower, or not faster by more than `GOOD_ENOUGH`, with 95% confidence each."""
        best = self._best()
        others = [name for name in self.left if name != best]
        return all(self.log_ratio(best, name).upper <= math.log1p(GOOD_ENOUGH) for name in others)

    def wanted(self) -> Sequence[str]:
        """Return the names of what may be the fastest, or none."""
        made = len(self.times[self.left[0]])
        return () if made in STAGES and (made == STAGES[-1] or self.is_sure) else self.left

    def to_come(self) -> int:
        """Return the replicates of this stage."""
        made = len(self.times[self.left[0]])
        return next((stage for stage in STAGES if stage > made), made) - made

    def add(self, times: Mapping[str, Times], seconds: float) -> None:
        """Add a replicate, and leave out what is surely slower if it is the last of a stage."""
        for name, own in times.items():
            self.times[name].append(own)
        if len(self.times[self.left[0]]) in STAGES:
            self.leave_out_slower()

    def leave_out_slower(self) -> None:
        """Leave out what is surely slower than the best; also to be called when the budget has ended the search."""
        best = self._best()
        slower = {name: self.log_ratio(name, best, CONFIDENCE).lower for name in self.left}
        self.left = [name for name in self.left if not slower[name] > math.log1p(GOOD_ENOUGH)]

    def fastest(self) -> str:
        """Return the first way that is as fast as the best one."""
        best = self._best()
        return next(name for name in self.left if self.log_ratio(name, best).value <= math.log1p(GOOD_ENOUGH))

    def log_ratio(self, name: str, other: str, confidence: float = 0.95) -> Estimate:
        """Estimate the logarithm of the ratio of the times of two, in the replicates that both were in: the first."""
        return estimate(list(map(log_ratio, self.times[name], self.times[other])), confidence)

    def _best(self) -> str:
        return min(self.left, key=lambda name: self.log_ratio(name, self.left[0]).value)


# `wanted()`: the calls that need another replicate, none if enough is known; `to_come()`: how many replicates are
# expected until then; `add(times, seconds)`: learn the times of a replicate.
Stop = Precision | Factor | Fastest
