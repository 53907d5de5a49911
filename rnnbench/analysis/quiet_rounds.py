"""What rounds of turns in one process show by their quiet blocks, as far as pulses have told which blocks are quiet.

Each round is a replicate. It counts if both sides of a ratio have enough quiet blocks in it; two such rounds make a
ratio undisturbed, as in a run. Otherwise all blocks of all rounds count.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from statistics import fmean

import numpy as np

from rnnbench.analysis.estimate import (
    ALWAYS_QUIET,
    CONFIDENCE,
    MIN_QUIET_REPLICATES,
    Estimate,
    drift,
    estimates,
    estimates_of,
    with_runs,
)
from rnnbench.analysis.pairs import PairRatio
from rnnbench.analysis.quiet import BINS, MIN_QUIET_BLOCKS, counted_blocks, low_quantiles
from rnnbench.analysis.replicate_times import Times, log_ratio, undisturbed_log_ratio
from rnnbench.analysis.run_times import SLOWER_BEST
from rnnbench.analysis.summary import SHARED, UNDISTURBED


@dataclass(frozen=True)
class RoundTimes(Times):
    """The times of a call in one round, and what the pulses beside its turns have shown, if there were any."""

    pulses: int = 0
    quiet_pulses: int = 0
    best_pulse: float = math.inf  # seconds of the best one that was known at the end of the round


def judged_again(rounds: Sequence[RoundTimes]) -> list[RoundTimes]:
    """Return the rounds, without quiet blocks where the core had never been quiet so far, as a later pulse shows."""
    best = min((each.best_pulse for each in rounds), default=math.inf)
    return [
        replace(each, quiet=None, quiet_pulses=0) if each.best_pulse > SLOWER_BEST * best else each for each in rounds
    ]


@dataclass(frozen=True)
class RoundLogs:
    """Logarithms of times or ratios, one of each round that counts: all by quiet blocks, or all by all blocks."""

    values: list[float]
    blocks: list[int] = field(default_factory=list)  # as how many quiet blocks each counts; empty: all blocks count

    @property
    def is_undisturbed(self) -> bool:
        """Return True if the logarithms are those of quiet blocks."""
        return bool(self.blocks)


def undisturbed_logs(rounds: Sequence[RoundTimes], other: Sequence[RoundTimes]) -> list[tuple[float, int]]:
    """Return the log-ratio by quiet blocks of each round that both were in, and of how many; NaN and 0 if too few."""
    return [undisturbed_log_ratio(*both) for both in zip(judged_again(rounds), judged_again(other), strict=False)]


def has_quiet_rounds(logs: Sequence[tuple[float, int]]) -> bool:
    """Return True if enough rounds have enough quiet blocks for an undisturbed value."""
    return sum(blocks > 0 for _, blocks in logs) >= MIN_QUIET_REPLICATES


def ratio_logs(
    rounds: Sequence[RoundTimes], other: Sequence[RoundTimes], *, may_be_undisturbed: bool = True
) -> RoundLogs:
    """Return the log-ratios of two calls in the rounds that both were in."""
    logs = list(map(log_ratio, rounds, other))
    return of_one_kind(logs, undisturbed_logs(rounds, other)) if may_be_undisturbed else RoundLogs(logs)


def of_one_kind(logs: Sequence[float], quiet: Sequence[tuple[float, int]]) -> RoundLogs:
    """Return the values by quiet blocks if enough rounds have these, and otherwise those by all blocks."""
    return _counted(quiet) if has_quiet_rounds(quiet) else RoundLogs(list(logs))


def are_quiet_together(*sides: Sequence[RoundTimes]) -> bool:
    """Return True if enough rounds have quiet blocks of all sides: each pair then has an undisturbed ratio."""
    rounds = zip(*map(judged_again, sides), strict=False)
    quiet = [
        all(each.quiet is not None and each.quiet.blocks >= MIN_QUIET_BLOCKS for each in sides_of_round)
        for sides_of_round in rounds
    ]
    return sum(quiet) >= MIN_QUIET_REPLICATES


def seconds_logs(rounds: Sequence[RoundTimes], *, is_undisturbed: bool) -> RoundLogs:
    """Return the logarithms of a call's seconds: its low quantile in rounds with enough quiet blocks, or its median."""
    if not is_undisturbed:
        return RoundLogs([math.log(each.median) for each in rounds])
    blocks = np.array([each.quiet.blocks if each.quiet else 0 for each in rounds])
    logs = np.array([each.quiet.logs if each.quiet else np.full(BINS, math.nan) for each in rounds])
    counted = counted_blocks(blocks, blocks)
    return _counted(zip(low_quantiles(logs, counted).tolist(), counted.tolist(), strict=True))


def seconds_together(times: Mapping[str, Sequence[RoundTimes]]) -> dict[str, dict[int, float]]:
    """Return the seconds of calls that are to be subtracted from each other: of each call, by the number of the round.

    By equally many quiet blocks of all calls if enough rounds have these, and otherwise by all blocks of all rounds.
    """
    if not are_quiet_together(*times.values()):
        return {name: {number: each.median for number, each in enumerate(rounds)} for name, rounds in times.items()}
    judged = {name: judged_again(rounds) for name, rounds in times.items()}
    blocks = np.array([[each.quiet.blocks if each.quiet else 0 for each in rounds] for rounds in judged.values()])
    fewest = blocks.min(axis=0)
    counted = counted_blocks(fewest, fewest)
    result = dict[str, dict[int, float]]()
    for name, rounds in judged.items():
        logs = np.array([each.quiet.logs if each.quiet else np.full(BINS, math.nan) for each in rounds])
        seconds = np.exp(low_quantiles(logs, counted))
        result[name] = {number: float(seconds[number]) for number in np.flatnonzero(counted).tolist()}
    return result


def _counted(logs: Iterable[tuple[float, int]]) -> RoundLogs:
    """Return the values that count as one block or more."""
    usable = [each for each in logs if each[1]]
    return RoundLogs([value for value, _ in usable], [blocks for _, blocks in usable])


def estimates_of_rounds(samples: Sequence[RoundLogs]) -> list[Estimate]:
    """Return the estimate of each sample, with the interval of independent rounds.

    Only samples of one kind borrow from each other.
    """
    undisturbed = iter(estimates_of([each.values for each in samples if each.is_undisturbed]))
    shared = iter(estimates_of([each.values for each in samples if not each.is_undisturbed]))
    return [next(undisturbed if each.is_undisturbed else shared) for each in samples]


def estimate_of_rounds(logs: RoundLogs, confidence: float = CONFIDENCE) -> Estimate:
    """Return the estimate of one log-ratio, with the interval of independent rounds and what runs differ by."""
    alone = estimates(np.zeros(len(logs.values), dtype=int), np.array(logs.values), confidence)
    return Estimate(*with_runs(alone)[0].tolist())


def state_of(logs: RoundLogs, *sides: Sequence[RoundTimes]) -> str:
    """Return `undisturbed`, or `on a shared core` if too few pulses beside the sides' calls were quiet.

    It is empty if the core was always quiet, or if pulses tell nothing.
    """
    if logs.is_undisturbed:
        return UNDISTURBED
    return SHARED if _quiet_share(*sides) < ALWAYS_QUIET else ""


def _quiet_share(*sides: Sequence[RoundTimes]) -> float:
    """Return the share of the pulses beside the sides' calls that were quiet; NaN if there were none."""
    rounds = [*chain(*map(judged_again, sides))]
    pulses = sum(each.pulses for each in rounds)
    return sum(each.quiet_pulses for each in rounds) / pulses if pulses else math.nan


def drift_of_rounds(logs: RoundLogs, *sides: Sequence[RoundTimes]) -> float:
    """Return the half-width of `estimate.drift` of a log-ratio; all rounds count as one minute.

    0 unless it was measured on a shared core.
    """
    share = _quiet_share(*sides)
    if logs.is_undisturbed or not share < ALWAYS_QUIET:
        return 0.0
    return float(drift(fmean(logs.values), share, 1.0))


def round_ratio(number: int, mine: RoundTimes, than: RoundTimes) -> PairRatio:
    """Return the ratio of two calls in a round, as in a pair of workers for two commits."""
    ratio = PairRatio(number, log_ratio(mine, than), math.log(mine.mean / than.mean))
    if not (mine.pulses and than.pulses):
        return ratio
    ratio = replace(
        ratio,
        pulses=mine.pulses + than.pulses,
        quiet_pulses=mine.quiet_pulses + than.quiet_pulses,
        best_pulses=(min(mine.best_pulse, than.best_pulse),),
    )
    low, counted = undisturbed_log_ratio(mine, than)
    if not counted or mine.quiet is None or than.quiet is None:
        return ratio
    return replace(ratio, quiet_low=low, quiet_mean=math.log(mine.quiet.mean / than.quiet.mean))
