"""Which of several ways is fastest: rounds of turns, after which those that are surely slower are left out."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

from rnnbench.analysis.estimate import Estimate, as_ratio, estimate
from rnnbench.analysis.replicate import Times
from rnnbench.harness.devices import Device
from rnnbench.harness.live.rounds import LiveRounds
from rnnbench.harness.turns.progress import Progress
from rnnbench.suite_file import Settings
from rnnbench.workloads.phases import TimedCall

STAGES = (4, 6, 10, 20)  # rounds, after each of which the slower ways are left out
GOOD_ENOUGH = 0.01  # ways that differ by no more than this are equally fast
CONFIDENCE = 0.99  # that a way is slower, before it is left out
WINDOW_SECONDS = 0.01

TakeRounds = Callable[[Mapping[str, TimedCall], int, float], Mapping[str, list[Times]]]


@dataclass(frozen=True)
class WayComparison:
    """The times of all ways, and the fastest of them."""

    fastest: str
    seconds: dict[str, float]  # per call
    ratios: dict[str, Estimate]  # to the reference
    rounds: dict[str, int]
    is_sure: bool  # whether no other way is faster by more than `GOOD_ENOUGH`, with 95% confidence each


def select(
    calls: Mapping[str, TimedCall],
    reference: str,
    take: TakeRounds,
    deadline: float,
    now: Callable[[], float] = time.monotonic,
) -> WayComparison:
    """Compare the calls until the fastest is known, or until `deadline` on the clock `now`; at least one stage is made.

    Of calls that are about equally fast, the first one counts as the fastest: the simplest comes first.

    `take` makes a number of rounds of calls that take turns, and ends early at a deadline.
    """
    times: dict[str, list[Times]] = {name: [] for name in calls}
    left = list(calls)
    for stage, rounds in enumerate(STAGES):
        if stage and (len(left) == 1 or now() >= deadline or _is_sure(times, left)):
            break
        until = deadline if stage else math.inf  # compiling may have taken all the time
        for name, taken in take({name: calls[name] for name in left}, rounds, until).items():
            times[name] += taken
        left = _without_slower(times, left)
    best = _best(times, left)
    good = [name for name in left if _log_ratio(times[name], times[best]).value <= math.log1p(GOOD_ENOUGH)]
    return WayComparison(
        good[0],
        {name: _seconds(taken) for name, taken in times.items()},
        {name: as_ratio(_log_ratio(taken, times[reference])) for name, taken in times.items()},
        {name: len(taken) for name, taken in times.items()},
        len(left) == 1 or _is_sure(times, left),
    )


def rounds_on(device: Device, on_progress: Callable[[Progress], None]) -> TakeRounds:
    """A function that makes rounds on a device."""

    def take(calls: Mapping[str, TimedCall], rounds: int, deadline: float) -> Mapping[str, list[Times]]:
        settings = Settings(replicates=rounds, max_replicates=rounds, precision=None, window_seconds=WINDOW_SECONDS)
        live = LiveRounds(device, calls, next(iter(calls)), settings, deadline=deadline, on_progress=on_progress)
        return live.run().times

    return take


def _without_slower(times: Mapping[str, list[Times]], left: list[str]) -> list[str]:
    """The ways that may be the fastest: not surely slower than the best one."""
    best = _best(times, left)
    slower = {name: _log_ratio(times[name], times[best], CONFIDENCE).lower for name in left}
    return [name for name in left if not slower[name] > math.log1p(GOOD_ENOUGH)]


def _best(times: Mapping[str, list[Times]], left: list[str]) -> str:
    """The way with the least time, within the rounds that all of them were in."""
    return min(left, key=lambda name: _log_ratio(times[name], times[left[0]]).value)


def _is_sure(times: Mapping[str, list[Times]], left: list[str]) -> bool:
    best = _best(times, left)
    others = [name for name in left if name != best]
    return all(_log_ratio(times[best], times[name]).upper <= math.log1p(GOOD_ENOUGH) for name in others)


def _log_ratio(own: list[Times], others: list[Times], confidence: float = 0.95) -> Estimate:
    """The logarithm of the ratio of two ways' times, in the rounds that both were in: the first ones."""
    return estimate([math.log(mine.low / other.low) for mine, other in zip(own, others, strict=False)], confidence)


def _seconds(taken: list[Times]) -> float:
    return median(times.low for times in taken)
