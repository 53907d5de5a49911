"""What enough is for calls that are timed live: every ratio is precise, a question is answered, the fastest is known.

`wanted()` gives the calls that need another replicate and how many replicates are expected, 0 if enough is known;
`add(times, seconds)` learns the times of a replicate.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.quiet_rounds import (
    RoundLogs,
    RoundTimes,
    are_quiet_together,
    estimate_of_rounds,
    of_one_kind,
    ratio_logs,
    seconds_logs,
    state_of,
)
from rnnbench.analysis.rounds import Question, widening
from rnnbench.analysis.summary import SHARED
from rnnbench.harness.turns.planner import GroupRecord, estimate_spreads, visits_to_come
from rnnbench.suite.file import Settings

STAGES = (4, 10, 20, 40)  # replicates, after each of which the slower cases are left out
GOOD_ENOUGH = 0.01  # cases that differ by no more than this are equally fast
SURE_OF_SLOWER = 0.99  # that a case is slower, before it is left out
SHARING = 0.3  # of a logarithm, by which a shared core may change the ratio of unlike calls: 2.1 over 1.6 times as long
CLEARLY = 0.2  # less of a logarithm of a time than the noise of one or two replicates is


class Precision:
    """Enough is known when every ratio to the reference is as precise as asked: `measure`, `sweep`, `explain`."""

    def __init__(self, names: Sequence[str], reference: str, settings: Settings) -> None:
        self._names = list(names)
        self._reference = reference
        self._settings = settings
        self._record = GroupRecord()

    def wanted(self) -> tuple[Sequence[str], int]:
        """Return all names, and the replicates that the spread seen so far calls for."""
        return self._names, visits_to_come(self._record, self._settings)

    def add(self, times: Mapping[str, RoundTimes], seconds: float) -> None:
        """Add a ratio for each call; the spread counts for more where replicates resemble their neighbours."""
        base = times[self._reference]
        others = {name: of_case for name, of_case in times.items() if of_case is not base}
        self._record.add(seconds, others, base)
        estimate_spreads([self._record])
        logs = (
            of_one_kind(self._record.log_ratios[name], self._record.undisturbed[name])
            for name in self._record.log_ratios
        )
        self._record.spread *= max((widening(each.values) for each in logs), default=1.0)

    def needed(self) -> float:
        """Return how many more seconds would be enough, at least."""
        return visits_to_come(self._record, self._settings) * self._record.cost


class Fastest:
    """Enough is known when no other case is faster than the best one by more than `GOOD_ENOUGH`: `fastest`.

    Of cases that are about equally fast, the first one counts as the fastest: the simplest comes first. Cases are
    compared by their quiet blocks if all that may be the fastest have enough of them in the same rounds, and otherwise
    by all blocks.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.times: dict[str, list[RoundTimes]] = {name: [] for name in names}
        self.candidates = list(names)  # those that may be the fastest

    @property
    def is_sure(self) -> bool:
        """Whether all others are slower, or not faster by more than `GOOD_ENOUGH`, with 95% confidence each."""
        best = self._best()
        others = [name for name in self.candidates if name != best]
        return all(self.log_ratio(best, name).upper <= math.log1p(GOOD_ENOUGH) for name in others)

    def wanted(self) -> tuple[Sequence[str], int]:
        """Return the names of what may be the fastest, and the replicates of this stage."""
        replicates = len(self.times[self.candidates[0]])
        if replicates == STAGES[-1] or (replicates in STAGES and self.is_sure):
            return self.candidates, 0
        return self.candidates, next(stage for stage in STAGES if stage > replicates) - replicates

    def add(self, times: Mapping[str, RoundTimes], seconds: float) -> None:
        """Add a replicate, and leave out what is surely slower if it is the last of a stage."""
        for name, of_case in times.items():
            self.times[name].append(of_case)
        if len(self.times[self.candidates[0]]) in STAGES:
            self.leave_out_slower()

    def leave_out_slower(self) -> None:
        """Leave out what is surely slower than the best, on a shared core by more than sharing may change a ratio."""
        best = self._best()
        candidates = list(self.candidates)
        for name in candidates:
            logs = self._logs(name, best, candidates)
            is_shared = state_of(logs, self.times[name], self.times[best]) == SHARED
            least = math.log1p(GOOD_ENOUGH) + (SHARING if is_shared else 0.0)
            if estimate_of_rounds(logs, SURE_OF_SLOWER).lower > least:
                self.candidates.remove(name)

    def fastest(self) -> str:
        """Return the first case that is as fast as the best one, when the search has ended.

        It is the first of all unless another one is shown to be no slower: nobody wants to get something slower.
        """
        self.leave_out_slower()
        best = self._best()
        first = next(iter(self.times))
        chosen = next(name for name in self.candidates if self.log_ratio(name, best).value <= math.log1p(GOOD_ENOUGH))
        if first not in self.candidates or chosen == first:
            return chosen
        ratio = self.log_ratio(chosen, first)
        is_no_slower = ratio.value <= -CLEARLY or (ratio.has_interval and ratio.upper <= math.log1p(GOOD_ENOUGH))
        return chosen if is_no_slower else first

    def log_ratio(self, name: str, other: str, confidence: float = 0.95) -> Estimate:
        """Estimate the logarithm of the ratio of the times of two, in the replicates that both were in: the first."""
        return estimate_of_rounds(self._logs(name, other, self.candidates), confidence)

    def _logs(self, name: str, other: str, candidates: Sequence[str]) -> RoundLogs:
        of_case = self.times[name]
        its = self.times[other]
        is_undisturbed = are_quiet_together(of_case, its, *(self.times[each] for each in candidates))
        return ratio_logs(of_case, its, may_be_undisturbed=is_undisturbed)

    def told(self, name: str, other: str) -> "Told":
        """Compare a case with another one, by their quiet blocks if there are enough in both."""
        of_case = self.times[name]
        its = self.times[other]
        logs = ratio_logs(of_case, its)
        seconds = seconds_logs(of_case, is_undisturbed=logs.is_undisturbed).values
        return Told(math.exp(median(seconds)), estimate_of_rounds(logs), state_of(logs, of_case, its))

    def _best(self) -> str:
        return min(self.candidates, key=lambda name: self.log_ratio(name, self.candidates[0]).value)


@dataclass(frozen=True)
class Told:
    """What is known of a case of a search."""

    seconds: float  # per call
    log_ratio: Estimate  # of its time over that of another case
    state: str  # of the core: `undisturbed`, `on a shared core`, or empty


Stop = Precision | Question | Fastest
