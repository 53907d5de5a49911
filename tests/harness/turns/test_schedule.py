"""Calibration, warm-up and windows on a fake clock; turns and their order."""

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.harness.devices import Counters, Cpu, Meter, backend
from rnnbench.harness.machine.pulse import Pulses
from rnnbench.harness.turns.schedule import (
    MAX_WARMUP_WINDOWS,
    MIN_COLD_CALLS,
    Plan,
    Turns,
    balanced_order,
    calibrate,
    clock_turn,
    joules_per_call,
    plan_turns,
    sweeps_in_turn,
    warm_up,
)
from rnnbench.store.metrics import Unavailable
from rnnbench.store.records import Group
from tests.doubles import workload as small
from tests.doubles.fake_cuda import FakeCuda, FakeLine, kernels
from tests.doubles.fakes import fake_cpu, fake_cpu_with_cache

arms = st.lists(st.text(min_size=1), max_size=6, unique=True)
even = st.integers(0, 4).map(lambda pairs: 2 * pairs)


@given(arms, even, st.integers())
def test_every_arm_takes_just_its_turns_and_a_linear_drift_shifts_all_alike(
    names: list[str], turns: int, seed: int
) -> None:
    order = balanced_order(names, turns, random.Random(seed))
    assert {name: order.count(name) for name in names} == dict.fromkeys(names, turns)
    assert len(order) == turns * len(names)
    assert len({sum(index for index, arm in enumerate(order) if arm == name) for name in names}) <= 1


@pytest.mark.parametrize(("longest", "is_warm"), [(0.0009, False), (0.004, True)])
def test_cases_that_are_compared_begin_their_turns_alike(longest: float, is_warm: bool) -> None:
    """The long one alone would be charged for filling the caches: its ratio was 0.3% too high."""
    plans = plan_turns({"short": 0.0002, "long": longest}, 0.1, backend("cpu").blocks)
    assert {plan.is_warm for plan in plans.values()} == {is_warm}
    assert len({plan.blocks for plan in plans.values()}) == 1


@pytest.mark.parametrize(("is_warm", "calls"), [(False, 7), (True, 6)])
def test_a_turn_waits_for_a_quiet_pulse_and_has_one_beside_each_block(is_warm: bool, calls: int) -> None:
    device, call = fake_cpu(lambda number: 1e-3)
    made = list[int]()

    def noted() -> None:
        made.append(1)
        call()

    taken = iter([9e-6, 9e-6, *[5e-6] * 5])  # shared twice, then quiet
    pulses = Pulses(5e-6, take=lambda: next(taken))
    plan = Turns(turns=2, blocks=3, calls=2, is_warm=is_warm)
    clocked = clock_turn(device, noted, plan, wait=lambda: pulses.wait(now=lambda: 0.0), pulse=pulses.take)
    assert len(made) == calls
    assert list(clocked.pulses) == [5e-6] * 4
    assert clocked.batch_seconds == pytest.approx([2e-3] * 3)


@pytest.mark.parametrize(("longest", "least", "turns"), [(0.001, 8, 10), (0.1, 8, 8), (0.1, 24, 24), (0.5, 8, 2)])
def test_a_visit_has_enough_calls_for_an_undisturbed_time_however_long_they_are_up_to_a_limit(
    longest: float, least: int, turns: int
) -> None:
    plan = plan_turns({"case": longest}, 0.01, replace(backend("cpu").blocks, turn_seconds=0.0), least_blocks=least)
    assert plan["case"].turns * plan["case"].blocks == turns


@given(st.lists(st.integers(0, 4), max_size=20))
def test_wherever_groups_in_turn_are_cut_each_sweep_has_its_share(sweeps: list[int]) -> None:
    groups = [Group(small.workload(batch_size=size), (), sweep) for size, sweep in enumerate(sweeps, 1)]
    order = sweeps_in_turn(groups)
    assert sorted(group.workload.batch_size for group in order) == list(range(1, len(sweeps) + 1))
    for cut in range(len(order)):
        done, whole = Counter(group.sweep for group in order[:cut]), Counter(sweeps)
        unfinished = [done[sweep] for sweep in whole if done[sweep] < whole[sweep]]
        assert max(done.values(), default=0) <= min(unfinished, default=0) + 1
    for sweep in set(sweeps):  # the order within a sweep does not change
        sizes = [group.workload.batch_size for group in order if group.sweep == sweep]
        assert sizes == sorted(sizes)


@given(seconds=st.floats(1e-7, 1.0), window_seconds=st.floats(0.005, 0.05))
def test_a_window_lasts_as_long_as_asked_and_at_least_one_call(seconds: float, window_seconds: float) -> None:
    device, call = fake_cpu(lambda _: seconds)
    plan = calibrate(device, call, window_seconds)
    lasts = device.clock(call, plan.batches, plan.batch).seconds
    assert lasts == pytest.approx(plan.seconds)
    assert plan.calls == 1 or 0.7 * window_seconds <= lasts <= 1.4 * window_seconds


@pytest.mark.parametrize(
    ("cost", "calls"), [(lambda n: 0.5 if n == 0 else 1e-3, range(10, 11)), (lambda n: 0.0, range(1, 10**9))]
)
def test_a_slow_first_call_does_not_shorten_the_windows_and_one_of_no_time_ends_them(
    cost: Callable[[int], float], calls: range
) -> None:
    device, call = fake_cpu(cost)
    assert calibrate(device, call, 0.01).calls in calls


@pytest.mark.parametrize(
    ("seconds", "single"), [(Cpu.blocks.shortest_call * 1.01, True), (Cpu.blocks.shortest_call * 0.99, False)]
)
def test_calls_below_the_limit_are_clocked_in_batches(seconds: float, single: bool) -> None:
    device, call = fake_cpu(lambda _: seconds)
    assert (calibrate(device, call, 0.01).batch == 1) is single


@pytest.mark.parametrize("seconds", [1e-4, 1e-6])
def test_calibration_looks_at_short_calls_for_a_quarter_of_a_window_or_more(seconds: float) -> None:
    device, call = fake_cpu(lambda _: seconds)
    calibrate(device, call, 0.02)
    assert 0.005 <= device._now() <= 0.01


def test_only_the_first_window_of_a_warm_up_begins_with_a_call_that_is_not_clocked() -> None:
    device, call = fake_cpu(lambda number: 1e-3 * max(1.0, 2.0 - 0.1 * number))
    assert warm_up(device, call, Plan(20, 1, 0.02)) == 4
    made = round(sum(max(1.0, 2.0 - 0.1 * number) for number in range(4 * 5 + 1)))
    assert device._now() == pytest.approx(1e-3 * made, abs=1e-3)


def test_calls_that_are_clocked_alone_are_alone_however_short_they_are() -> None:
    device, call = fake_cpu(lambda _: 1e-6)
    plan = calibrate(device, call, 0.01, single_calls=True)
    assert (plan.batch, plan.batches) == (1, 10_000)
    assert calibrate(device, call, 0.01).batch > 1


def test_turns_of_calls_that_are_clocked_alone_have_one_call_in_each_block_however_long_it_is() -> None:
    seconds, pace = {"short": 1e-6, "long": 0.05}, replace(Cpu.blocks, turn_seconds=0.2)
    alone, together = (plan_turns(seconds, 1.0, pace, single_calls=single) for single in (True, False))
    assert {name: (plan.blocks, plan.calls) for name, plan in alone.items()} == {"short": (4, 1), "long": (4, 1)}
    assert {name: (plan.blocks, plan.calls) for name, plan in together.items()} == {
        "short": (20, 10_000),
        "long": (20, 1),
    }


def test_batches_keep_the_cost_of_reading_the_clock_out_of_short_calls() -> None:
    device, call = fake_cpu(lambda _: 1e-6, look_seconds=50e-9)
    plan = calibrate(device, call, 0.01)
    reading = device.clock(call, plan.batches, plan.batch)
    assert reading.seconds / reading.calls == pytest.approx(1e-6, rel=1e-3)


@pytest.mark.parametrize(
    ("cost", "windows"),
    [
        (lambda n: 1e-3, [2]),
        (lambda n: 1e-3 * max(1.0, 2.0 - 0.02 * n), [10, 11, 12]),  # constant after 50 calls: 10 windows of 5
        (lambda n: 1e-3 * 0.98**n, [MAX_WARMUP_WINDOWS]),  # faster for ever
    ],
)
def test_warm_up_goes_on_while_windows_get_faster(cost: Callable[[int], float], windows: list[int]) -> None:
    device, call = fake_cpu(cost)
    assert warm_up(device, call, Plan(20, 1, 0.02)) in windows


@pytest.mark.parametrize(("seconds", "calls"), [(1.0, 2), (0.02, 3)])  # the first call does not count
def test_of_long_calls_no_more_are_made_than_are_needed(seconds: float, calls: int) -> None:
    device, call = fake_cpu(lambda _: seconds)
    plan = calibrate(device, call, 0.01)
    assert device._now() == pytest.approx(calls * seconds)
    warm_up(device, call, plan)
    assert device._now() == pytest.approx((calls + 1) * seconds)


def test_a_stall_in_the_first_calls_does_not_make_a_short_call_look_long() -> None:
    device, call = fake_cpu(lambda number: 0.03 if number < 2 else 1e-4)
    assert calibrate(device, call, 0.01).calls == 100


@given(
    cold=st.floats(1e-6, 1.0), flush_seconds=st.floats(0.0, 0.1), window_seconds=st.sampled_from([0.005, 0.01, 0.05])
)
def test_the_time_of_a_flush_is_never_that_of_a_call(cold: float, flush_seconds: float, window_seconds: float) -> None:
    device, call, flushes = fake_cpu_with_cache(cold, cold / 3, flush_seconds)
    plan = calibrate(device, call, window_seconds, cold=True)
    warm_up(device, call, plan, cold=True)
    before = len(flushes)
    reading = device.clock_cold(call, plan.batches)
    assert plan.batch == 1
    assert len(flushes) - before == plan.calls + 1  # the first flush is for the call that is not clocked
    assert list(reading.batch_seconds) == pytest.approx([cold] * plan.calls, rel=1e-3)
    assert reading.seconds == pytest.approx(plan.calls * cold, rel=1e-3)
    assert reading.host_seconds == pytest.approx(plan.calls * (cold + flush_seconds), rel=1e-3)
    assert reading.submit_seconds == reading.host_seconds  # otherwise it would look like a device that waits


@pytest.mark.parametrize(
    ("cold", "flush_seconds", "calls"),
    [(100e-6, 100e-6, 50), (10e-6, 10e-3, MIN_COLD_CALLS), (4.2e-3, 10e-3, 2), (1.0, 10e-3, 1)],
)
def test_a_cold_window_counts_its_flushes_but_short_calls_are_never_few(
    cold: float, flush_seconds: float, calls: int
) -> None:
    device, call, _ = fake_cpu_with_cache(cold, cold / 3, flush_seconds)
    assert calibrate(device, call, 0.01, cold=True).calls == calls


@given(
    seconds=st.floats(1e-6, 5e-3),
    slices=st.lists(st.floats(1e-3, 6e-3), min_size=1, max_size=9),
    pauses=st.lists(st.floats(1e-3, 12e-3), min_size=1, max_size=7),
)
def test_other_processes_on_the_core_do_not_make_a_call_look_long(
    seconds: float, slices: list[float], pauses: list[float]
) -> None:
    """The process runs for a slice of time, pauses while others run, runs for the next slice, and so on."""
    run_seconds = 0.0
    ends = itertools.accumulate(itertools.cycle(slices))
    end, lengths = next(ends), itertools.cycle(pauses)

    def lasts(_: int) -> float:
        nonlocal run_seconds, end
        run_seconds, paused = run_seconds + seconds, 0.0
        while run_seconds > end:
            end, paused = next(ends), paused + next(lengths)
        return seconds + paused

    device, call = fake_cpu(lasts)
    plan = calibrate(device, call, 0.01)
    least_paused = min(pauses) * max(0, int(seconds // max(slices)))
    assert plan.seconds / plan.calls <= 1.5 * (seconds + least_paused) or seconds > 0.3e-3


class EnergyMeter:
    """An energy counter that returns the test's joules."""

    least_seconds = 2.0
    load_seconds = 0.0

    def __init__(self, joules: Callable[[], float]) -> None:
        self._joules = joules

    def read(self) -> dict[str, float]:
        return {"all": self._joules()}

    def joules(self, before: Counters, after: Counters) -> float:
        return after["all"] - before["all"]


@pytest.mark.parametrize("seconds", [1e-3, 30e-3, 0.3])
def test_a_call_on_a_gpu_takes_its_own_energy_and_not_that_of_the_call_before_it_too(seconds: float) -> None:
    line = FakeLine()
    device, call = FakeCuda(line), kernels(line, 1, 5e-6, seconds)
    plan = calibrate(device, call, 0.01)
    meter: Any = EnergyMeter(lambda: 400 * line.busy_seconds)
    joules = joules_per_call(meter, device, call, plan, line.host)
    assert joules == pytest.approx(400 * seconds, rel=1e-6)


@pytest.mark.parametrize("phase", [0.0, 0.03, 0.09])
@pytest.mark.parametrize("seconds", [1e-3, 30e-3, 0.3])
def test_energy_is_that_between_two_steps_of_the_counter_and_of_a_card_under_load(seconds: float, phase: float) -> None:
    """The counter steps every 0.1 s, and the card takes half as much until it has worked for 0.8 s."""
    line = FakeLine()
    device = FakeCuda(line)
    call = kernels(line, 1, 5e-6, seconds)
    plan = calibrate(device, call, 0.01)
    begun = line.host.seconds
    at_first = 0.8

    def taken() -> dict[str, float]:
        stepped = math.floor((line.host.seconds + phase) / 0.1) * 0.1 - phase
        return {"gpu": 400 * (max(stepped, begun) - begun) - 200 * min(max(stepped - begun, 0.0), at_first)}

    joules = joules_per_call(Meter(2.0, taken, load_seconds=1.0), device, call, plan, line.host)
    assert joules == pytest.approx(400 * seconds, rel=0.035 if seconds > 0.1 else 0.016)


def test_a_counter_that_stands_under_load_tells_no_energy() -> None:
    line = FakeLine()
    device = FakeCuda(line)
    call = kernels(line, 1, 5e-6, 1e-3)
    with pytest.raises(Unavailable, match=r"no energy counter moved within 2 s of calls"):
        joules_per_call(Meter(2.0, lambda: {"gpu": 7.0}), device, call, calibrate(device, call, 0.01), line.host)
