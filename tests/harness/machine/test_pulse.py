"""Pulses: which are quiet, which blocks lie between two quiet ones, which core is chosen."""

import os
import random
from collections.abc import Callable, Iterable
from itertools import count

import pytest

from rnnbench.harness.machine import pulse
from rnnbench.harness.machine.pulse import LEVEL_PULSES, MAX_WAIT_SECONDS, Pulses

BEST = 5e-6
SHARED = 1.7 * BEST


@pytest.fixture(autouse=True)
def whole_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks as long as those of a run; those of other tests are short."""
    monkeypatch.setattr(pulse, "LEVEL_PULSES", LEVEL_PULSES)


def taking(seconds: Iterable[float], best: float = BEST) -> Pulses:
    """Pulses that take these seconds, one after the other."""
    return Pulses(best, take=iter(seconds).__next__)


def test_a_real_pulse_takes_some_microseconds() -> None:
    assert 0 < min(pulse.pulse() for _ in range(100)) < 1e-3


def test_what_the_first_pass_takes_in_cold_caches_does_not_count() -> None:
    readings = iter([0.0, 4.2 * BEST, 4.3 * BEST, 5.3 * BEST])
    assert pulse.pulse(readings.__next__) == pytest.approx(BEST)


def test_a_faster_pulse_is_the_best_one_from_then_on() -> None:
    pulses = taking([BEST, SHARED, 0.9 * BEST], best=SHARED)
    assert [pulses.take() for _ in range(3)] == [BEST, SHARED, 0.9 * BEST]
    assert pulses.best == 0.9 * BEST


def test_a_core_that_is_always_shared_is_not_quiet_if_a_better_pulse_is_known() -> None:
    pulses = taking([SHARED] * 5)
    assert pulses.quiet_blocks([pulses.take() for _ in range(5)]) == [False] * 4


@pytest.mark.parametrize(
    ("taken", "quiet"),
    [
        ([1.0, 1.0, 1.0], [True, True]),
        ([1.0, 1.7, 1.0], [False, False]),  # a block is quiet between two quiet pulses
        ([1.7, 1.0, 1.0], [False, True]),
        ([1.0, 1.3, 1.0], [True, False]),  # colder caches after a block, but not before the next one
        ([1.0, 1.4, 1.4], [False, False]),
        ([1.0], []),
    ],
)
def test_a_block_is_quiet_if_the_pulses_before_and_after_it_are(taken: list[float], quiet: list[bool]) -> None:
    assert Pulses(1.0).quiet_blocks(taken) == quiet


@pytest.mark.parametrize(
    ("clock", "shared", "quiet"),
    [
        (1.0, 0.5, True),
        (1.22, 0.5, True),  # the clock is slower than it was at the best pulse
        (1.22, 0.85, True),
        (1.0, 1.0, False),
        (1.22, 1.0, False),
        (1.0, 0.97, True),  # a few quiet moments at the full clock rate
    ],
)
def test_a_pulse_is_quiet_by_the_clock_rate_of_now_and_never_on_a_core_that_is_always_shared(
    clock: float, shared: float, quiet: bool
) -> None:
    rng = random.Random(1)

    def take() -> float:
        sharing = 1.6 if rng.random() < shared else 1.0
        return BEST * clock * sharing * rng.uniform(1.0, 1.1)

    pulses = Pulses(BEST, take=take)
    taken = [pulses.take() for _ in range(1000)]
    are_quiet = [pulses.is_quiet(each) for each in taken]
    assert are_quiet == [quiet and each < 1.2 * BEST * clock for each in taken]


@pytest.mark.parametrize(("shared", "taken"), [(0, 1), (3, 4)])
def test_a_turn_waits_for_a_quiet_pulse(shared: int, taken: int) -> None:
    seconds = iter([SHARED] * shared + [BEST] * 3)
    Pulses(BEST, take=lambda: next(seconds)).wait(now=lambda: 0.0)
    assert len(list(seconds)) == shared + 3 - taken


def test_a_turn_does_not_wait_for_ever() -> None:
    clock = iter(step * MAX_WAIT_SECONDS / 10 for step in range(100))
    shared = iter([SHARED] * 100)
    Pulses(BEST, take=lambda: next(shared)).wait(now=lambda: next(clock))
    assert 85 < len(list(shared)) < 95


def test_on_a_core_that_is_always_shared_few_turns_wait() -> None:
    times = [step * MAX_WAIT_SECONDS / 10 for step in range(10_000)]
    clock = iter(times)
    taken: list[float] = []

    def take() -> float:
        taken.append(SHARED)
        return SHARED

    pulses = Pulses(BEST, take=take)
    waited = []
    for _ in range(100):
        before = len(taken)
        pulses.wait(now=lambda: next(clock))
        waited.append(len(taken) > before)
    assert all(waited[:5])
    assert 8 < sum(waited[5:]) < 16


def test_a_quiet_pulse_makes_each_turn_wait_again() -> None:
    seconds = iter([*[SHARED] * 5, BEST, *[SHARED] * 5])
    clock = iter(range(100))
    pulses = Pulses(BEST, take=lambda: next(seconds))
    for _ in range(11):
        pulses.wait(now=lambda: next(clock) * MAX_WAIT_SECONDS * 0.6)
    assert len(list(seconds)) == 2  # the eighth turn met the quiet pulse, and the next three waited


def on_cores(
    monkeypatch: pytest.MonkeyPatch, seconds: Callable[[set[int], int], float]
) -> tuple[Pulses, list[set[int]]]:
    """Pulses that take so many seconds on a set of cores in the n-th look; and the cores that were asked for."""
    asked: list[set[int]] = []
    taken = 0

    def take() -> float:
        nonlocal taken
        taken += 1
        return seconds(asked[-1], taken)

    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2})
    monkeypatch.setattr(os, "sched_setaffinity", lambda process, cores: asked.append(set(cores)))
    return Pulses(BEST, take=take), asked


def ticks() -> Callable[[], float]:
    """A clock of which each reading is a second later."""
    return map(float, count()).__next__


def test_the_core_that_is_quiet_most_often_is_chosen_and_the_thread_is_put_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    often = {0: 9, 1: 2, 2: 5}  # every n-th pulse is a quiet one
    pulses, asked = on_cores(monkeypatch, lambda cores, look: SHARED if look % often[min(cores)] else BEST)
    assert pulses.quietest([[0], [1], [2]], ticks()) == [1]
    assert asked == [{0}, {1}, {2}, {0, 1, 2}]


def test_a_core_that_another_process_uses_is_not_chosen_though_its_pulses_are_quiet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pulses, _ = on_cores(monkeypatch, lambda cores, look: BEST)
    moments = iter([0.0, 0.008, 0.008, 0.012, 0.012, 0.019])  # before and after the look at each core
    assert pulses.quietest([[0], [1], [2]], lambda: next(moments)) == [1]


def test_the_only_choice_costs_no_pulse(monkeypatch: pytest.MonkeyPatch) -> None:
    pulses, asked = on_cores(monkeypatch, lambda cores, look: BEST)
    assert pulses.quietest([[1, 2]]) == [1, 2]
    assert not asked


def test_the_thread_is_put_back_if_it_is_interrupted_while_it_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(cores: set[int], look: int) -> float:
        if look == LEVEL_PULSES // 2:
            raise KeyboardInterrupt
        return BEST

    pulses, asked = on_cores(monkeypatch, interrupted)
    with pytest.raises(KeyboardInterrupt):
        pulses.quietest([[0], [1]])
    assert asked[-1] == {0, 1, 2}
