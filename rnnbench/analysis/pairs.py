"""The ratios of head to base in pairs of workers, as logarithms: of one case, or of the cases of a changed definition.

A case has two kinds of them: by its quiet blocks (`rnnbench.analysis.quiet`), and by all its blocks. They estimate
different ratios, so one look uses one kind: the quiet ones if enough pairs have them, which their number alone decides.

The cases of a definition have one value in each pair: the mean of their log-ratios. Its spread is smaller than theirs,
but few pairs tell little of it. It is therefore raised towards what follows from the spreads of the cases, if these
have a fifth of their variance in common in each pair, which is more than was measured (`tests/validation/noise.py`).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from statistics import fmean, variance

from rnnbench.analysis.environments import clock_difference
from rnnbench.analysis.estimate import ALWAYS_QUIET, Location, locations
from rnnbench.analysis.replicate_times import Times, log_ratio, undisturbed_log_ratio
from rnnbench.analysis.run_times import SLOWER_BEST
from rnnbench.analysis.summary import SHARED, UNDISTURBED
from rnnbench.store.records import Window

QUIET_SHARE = 0.75  # of the pairs of a case, which need quiet blocks on both sides so that these are used
IN_COMMON = 0.2  # of the variance of a case, which all cases of a pair share
MIN_TOGETHER = 2  # cases of a definition


@dataclass(frozen=True)
class PairRatio:
    """What one pair of workers shows of a case; logarithms of head over base."""

    pair: int  # its number: cases of the same pair are compared together
    low: float  # shift of the times of all blocks
    mean: float  # of the mean of all blocks
    quiet_low: float = math.nan  # of the low quantiles of quiet blocks; NaN if a side has too few
    quiet_mean: float = math.nan  # of the means of quiet blocks
    pulses: int = 0  # on both sides; none where pulses can't tell whether the core is quiet
    quiet_pulses: int = 0
    best_pulses: tuple[float, ...] = ()  # seconds of the best pulse that each side knew; base, then head
    unlike_clocks: str = ""  # at which clock rates a GPU ran on the sides, if they are too far apart

    @property
    def is_quiet(self) -> bool:
        """Return True if both sides have enough quiet blocks."""
        return math.isfinite(self.quiet_low)


@dataclass(frozen=True)
class CaseLocations:
    """Where the log-ratios of a case lie."""

    low: Location
    mean: Location


@dataclass(frozen=True)
class Logs:
    """The log-ratios of one kind, of a case or of several together, one from each pair that has some."""

    low: Sequence[float]
    mean: Sequence[float]
    state: str = ""  # that of the core: `undisturbed`, `on a shared core`, or empty if it was quiet or nobody knows


def pair_ratio(
    pair: int, base: Times, head: Times, base_windows: Sequence[Window], head_windows: Sequence[Window]
) -> PairRatio:
    """Return the ratio of a case in a pair, from its times and its windows on both sides."""
    unlike = clock_difference(_clock_rate(base_windows), _clock_rate(head_windows))
    ratio = PairRatio(pair, log_ratio(head, base), math.log(head.mean / base.mean), unlike_clocks=unlike)
    windows = [*base_windows, *head_windows]
    best = [
        [each.best_pulse for each in windows_of_side if each.best_pulse is not None]
        for windows_of_side in (base_windows, head_windows)
    ]
    if not all(best):
        return ratio
    ratio = replace(
        ratio,
        pulses=sum(each.pulses for each in windows),
        quiet_pulses=sum(each.quiet_pulses for each in windows),
        best_pulses=tuple(map(min, best)),
    )
    low, counted = undisturbed_log_ratio(head, base)
    if not counted or head.quiet is None or base.quiet is None:
        return ratio
    return replace(ratio, quiet_low=low, quiet_mean=math.log(head.quiet.mean / base.quiet.mean))


def _clock_rate(windows: Iterable[Window]) -> float | None:
    """Return the rate at which the clock of a GPU ran, in MHz; None if it is not known."""
    rates = [window.sm_clock_mhz for window in windows if window.sm_clock_mhz is not None]
    return fmean(rates) if rates else None


def without_blind(ratios: Mapping[str, Sequence[PairRatio]]) -> dict[str, list[PairRatio]]:
    """Return the ratios of all cases, without quiet blocks where a side had never seen a quiet core.

    Such a side's best pulse was slower than that of the same side in another pair.
    """
    pulses = [each.best_pulses for each in chain(*ratios.values()) if each.best_pulses]
    best = tuple(map(min, zip(*pulses, strict=True)))

    def checked(ratio: PairRatio) -> PairRatio:
        both = zip(ratio.best_pulses, best, strict=False)
        if any(of_pair > SLOWER_BEST * fastest for of_pair, fastest in both):
            return replace(ratio, quiet_low=math.nan, quiet_mean=math.nan, quiet_pulses=0)
        return ratio

    return {case: list(map(checked, of_case)) for case, of_case in ratios.items()}


def has_quiet_pairs(ratios: Sequence[PairRatio], least: int) -> bool:
    """Return True if a case is judged by its quiet blocks: `least` pairs have them, and three quarters of all."""
    return sum(ratio.is_quiet for ratio in ratios) >= max(least, QUIET_SHARE * len(ratios))


def logs_of(ratios: Sequence[PairRatio], least: int) -> Logs:
    """Return the log-ratios by which a case is judged: of its quiet blocks if `least` pairs have them, or of all."""
    return _quiet_logs(ratios) if has_quiet_pairs(ratios, least) else _all_logs(ratios)


def _quiet_logs(ratios: Sequence[PairRatio]) -> Logs:
    quiet = [ratio for ratio in ratios if ratio.is_quiet]
    return Logs([ratio.quiet_low for ratio in quiet], [ratio.quiet_mean for ratio in quiet], UNDISTURBED)


def _all_logs(ratios: Sequence[PairRatio]) -> Logs:
    return Logs([ratio.low for ratio in ratios], [ratio.mean for ratio in ratios], state_of(ratios))


def state_of(ratios: Sequence[PairRatio]) -> str:
    """Return `on a shared core` if too few pulses were quiet for ratios of all blocks to be those of a quiet core."""
    pulses = sum(ratio.pulses for ratio in ratios)
    return SHARED if sum(ratio.quiet_pulses for ratio in ratios) < ALWAYS_QUIET * pulses else ""


def locations_of(logs: Mapping[str, Logs]) -> dict[str, CaseLocations]:
    """Return where the log-ratios of each case lie; only cases of the same kind help to estimate the errors."""
    result: dict[str, CaseLocations] = {}
    for is_undisturbed in (False, True):
        keys = [key for key, logs_of_case in logs.items() if (logs_of_case.state == UNDISTURBED) == is_undisturbed]
        low = locations([logs[key].low for key in keys])
        mean = locations([logs[key].mean for key in keys])
        result |= dict(zip(keys, map(CaseLocations, low, mean), strict=True))
    return result


@dataclass(frozen=True)
class CasesTogether:
    """The cases of a changed definition at one look."""

    low: Location  # of the mean of their log-ratios
    mean: Location
    members: Mapping[str, Logs]  # by case: those that take part
    state: str
    pairs: int


def pairs_together(members: Mapping[str, Sequence[PairRatio]], least: int) -> CasesTogether | None:
    """Return where the log-ratios of several cases lie together; None if they have fewer than `least` pairs in common.

    By quiet blocks, if at least half of the cases are judged by these: then only these take part. A pair counts if it
    has at least half of the cases that take part.
    """
    quiet = {key: ratios for key, ratios in members.items() if has_quiet_pairs(ratios, least)}
    by_quiet = len(quiet) >= max(MIN_TOGETHER, len(members) / 2)
    members_judged = quiet if by_quiet else dict(members)
    pairs: dict[int, list[PairRatio]] = {}
    for ratios in members_judged.values():
        for ratio in ratios:
            if ratio.is_quiet or not by_quiet:
                pairs.setdefault(ratio.pair, []).append(ratio)
    whole_pairs = [of_pair for of_pair in pairs.values() if len(of_pair) >= max(MIN_TOGETHER, len(members_judged) / 2)]
    if len(whole_pairs) < least:
        return None
    logs_by = _quiet_logs if by_quiet else _all_logs
    of_cases = {key: logs_by(ratios) for key, ratios in members_judged.items()}
    of_pairs = list(map(logs_by, whole_pairs))
    low = _located([fmean(each.low) for each in of_pairs], [each.low for each in of_cases.values()])
    mean = _located([fmean(each.mean) for each in of_pairs], [each.mean for each in of_cases.values()])
    state = UNDISTURBED if by_quiet else state_of([*chain(*whole_pairs)])
    return CasesTogether(low, mean, of_cases, state, len(whole_pairs))


def _located(values: Sequence[float], members: Sequence[Sequence[float]]) -> Location:
    """Return where the means of the members' log-ratios lie: their error is raised towards what the members' say."""
    [where] = locations([values])
    spreads = [variance(values_of_member) for values_of_member in members if len(values_of_member) > 1]
    if not where.freedom or not spreads:
        return where
    expected = fmean(spreads) * (IN_COMMON + (1 - IN_COMMON) / len(members)) / len(values)
    mixed = (where.error**2 + expected) / 2
    return Location(where.value, math.sqrt(max(where.error**2, mixed)), 2 * where.freedom)
