"""Rounds on a fake clock, with arms whose cost is known."""

import gc
import math
import random
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from itertools import pairwise

import pandas as pd
import pytest

from rnnbench.analysis.rounds import compare, wider_than
from rnnbench.harness.devices import Cpu
from rnnbench.harness.live.rounds import LiveRounds, Taken
from rnnbench.harness.turns.progress import Progress
from rnnbench.suite_file import Settings
from rnnbench.workloads.phases import TimedCall
from tests.doubles.fakes import FakeClock, noisy

UNIT = 1e-4  # seconds; an arm's call takes several, each with its own noise
SETTINGS = Settings(replicates=6, max_replicates=12, precision=0.02)


class Machine:
    """A clock and arms that spend time on it."""

    def __init__(self, spread: float = 0.1, seed: int = 0) -> None:
        self.clock = FakeClock()
        self.unit = noisy(UNIT, spread, seed)
        self.slowness: Callable[[float], float] = lambda now: 1.0

    def arm(self, units: int) -> TimedCall:
        def call() -> None:
            self.clock.seconds += self.slowness(self.clock.seconds) * sum(self.unit(0) for _ in range(units))

        return TimedCall(call, nullcontext)

    def rounds(self, arms: dict[str, TimedCall], settings: Settings = SETTINGS, **options: object) -> LiveRounds:
        device = Cpu(now=self.clock)
        return LiveRounds(device, arms, "base", settings, now=self.clock, seed=1, **options)  # type: ignore[arg-type]

    def run(self, settings: Settings = SETTINGS, **options: object) -> Taken:
        return self.rounds({"base": self.arm(4), "mine": self.arm(10)}, settings, **options).run()


def test_the_known_ratio_lies_in_nearly_all_intervals() -> None:
    rows = pd.concat([compare(Machine(seed=seed).run().times, "base").loc[["mine"]] for seed in range(40)])
    assert ((rows["ratio_low"] <= 2.5) & (rows["ratio_high"] >= 2.5)).sum() >= 35
    assert rows["ratio"].median() == pytest.approx(2.5, rel=0.005)


def test_a_machine_that_slows_down_steadily_shifts_times_and_not_the_ratio() -> None:
    machine = Machine(spread=0.0)
    machine.slowness = lambda now: 1 + now / 10
    row = compare(machine.run().times, "base").loc["mine"]
    assert row["seconds_high"] > 1.01 * row["seconds_low"]
    assert row["ratio"] == pytest.approx(2.5, rel=0.005)


def test_steady_arms_get_the_fewest_rounds_and_unsteady_ones_the_most() -> None:
    assert len(Machine(spread=0.01).run().times["mine"]) == 6
    machine, rng = Machine(), random.Random(1)
    machine.slowness = lambda now: math.exp(rng.gauss(0, 1))
    rounds = machine.run()
    assert len(rounds.times["mine"]) == 12
    assert not rounds.cut
    assert wider_than(compare(rounds.times, "base"), 0.02) == ["mine"]


def test_without_a_precision_there_are_as_many_rounds_as_replicates() -> None:
    assert len(Machine(spread=1.0).run(Settings(precision=None)).times["mine"]) == 6


def test_without_a_limit_rounds_go_on_until_the_ratio_is_precise_or_the_budget_is_spent() -> None:
    def run(budget: float | None) -> Taken:
        machine, rng = Machine(), random.Random(1)
        machine.slowness = lambda now: math.exp(rng.gauss(0, 0.7))
        return machine.run(Settings(max_replicates=1_000_000), deadline=budget)

    whole, cut = run(None), run(12.0)
    assert len(whole.times["mine"]) > Settings().max_replicates
    assert cut.cut
    assert len(whole.times["mine"]) > len(cut.times["mine"])
    assert wider_than(compare(whole.times, "base"), 0.021) == []


def test_a_machine_that_becomes_slow_in_a_round_does_not_stretch_the_budget_by_this_round() -> None:
    machine = Machine(spread=0.0)
    machine.slowness = lambda now: 1.0 if now < 0.4 else 50.0
    taken = machine.run(Settings(replicates=100), deadline=0.5)
    assert taken.cut
    assert machine.clock.seconds <= 0.5 + 50 * 0.012  # the turn that had begun
    assert len({len(times) for times in taken.times.values()}) == 1


def test_an_arm_whose_work_grows_with_each_call_is_named() -> None:
    machine, calls = Machine(spread=0.05), 0
    mine = machine.arm(10)

    def growing() -> None:
        nonlocal calls
        calls += 1
        before = machine.clock.seconds
        mine.call()
        machine.clock.seconds += calls / 1000 * (machine.clock.seconds - before)

    taken = machine.rounds({"base": machine.arm(4), "mine": TimedCall(growing, nullcontext)}).run()
    assert [note.partition(": its last")[0] for note in taken.notes] == ["Times of mine grow from call to call"]


@pytest.mark.parametrize("budget", [0.0, 0.2, 1.0])
def test_the_budget_ends_the_rounds_after_one_at_least(budget: float) -> None:
    machine = Machine(spread=0.0)
    rounds = machine.run(Settings(replicates=1000, max_replicates=1000), deadline=budget)
    assert rounds.cut
    assert len(rounds.times["mine"]) >= 1
    assert budget == 0.0 or machine.clock.seconds <= budget


def test_a_budget_too_small_for_full_rounds_gets_shorter_ones() -> None:
    machine = Machine(spread=0.0)
    deadline = 0.5  # seconds: calibration takes some 0.15, and full rounds some 0.08 each
    assert len(machine.run(deadline=deadline).times["mine"]) == 6
    assert machine.clock.seconds <= deadline


def test_one_round_says_nothing_of_the_spread() -> None:
    table = compare(Machine().run(deadline=0.0).times, "base")
    assert table["ratio"]["mine"] > 1
    assert table["ratio_low"].isna()["mine"]
    assert table["seconds_high"].isna().all()


def test_progress_goes_forward_to_its_end_and_tells_the_time_left() -> None:
    steps: list[Progress] = []
    machine = Machine(spread=0.01)
    machine.run(on_progress=steps.append)
    assert [step.replicate for step in steps if not step.replicate] == [0] * 4  # calibration and warm-up
    timed = [step for step in steps if step.replicate]
    assert all(before.visits_done < after.visits_done for before, after in pairwise(timed))
    assert all(step.visits_done < step.visits for step in timed)
    lefts = [step.seconds_left for step in timed if step.seconds_left is not None]
    assert len(lefts) == len(timed)
    assert lefts[0] == pytest.approx(6 * 8 * 0.011, rel=0.2)
    assert lefts[-1] < lefts[0] / 10


@pytest.mark.parametrize("was_on", [True, False])
def test_no_garbage_is_collected_within_a_turn_and_collection_is_as_before_afterwards(was_on: bool) -> None:
    machine, states = Machine(spread=0.0), set()
    arm = machine.arm(4)

    def call() -> None:
        states.add(gc.isenabled())
        arm.call()

    if not was_on:
        gc.disable()
    try:
        machine.rounds({"base": arm, "mine": TimedCall(call, nullcontext)}).run()
        assert gc.isenabled() is was_on
    finally:
        gc.enable()
    assert states == {False}


def test_no_tracer_or_profiler_sees_a_turn_and_both_are_there_again_afterwards() -> None:
    machine, hooks = Machine(spread=0.0), set()
    arm = machine.arm(4)

    def call() -> None:
        hooks.add((sys.gettrace(), sys.getprofile()))
        arm.call()

    def watch(frame: object, event: str, argument: object) -> None:
        """Do nothing, in place of a debugger or coverage."""

    before = sys.gettrace(), sys.getprofile()
    sys.settrace(watch)
    sys.setprofile(watch)
    try:
        machine.rounds({"base": arm, "mine": TimedCall(call, nullcontext)}).run()
        afterwards = sys.gettrace(), sys.getprofile()
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
    assert hooks == {(None, None)}
    assert afterwards == (watch, watch)


@pytest.mark.parametrize(
    ("raised", "comes", "message"),
    [
        (ValueError("bad"), ValueError, "mine: bad"),
        (RuntimeError("bad"), RuntimeError, "mine: bad"),
        (KeyError("bad"), RuntimeError, "mine: KeyError: 'bad'"),
    ],
)
def test_what_an_arm_raises_in_the_middle_ends_the_rounds_with_its_name(raised, comes, message: str) -> None:
    machine = Machine(spread=0.0)
    arm = machine.arm(4)

    def call() -> None:
        arm.call()
        if machine.clock.seconds > 0.3:
            raise raised

    with pytest.raises(comes) as error:
        machine.rounds({"base": machine.arm(4), "mine": TimedCall(call, nullcontext)}).run()
    assert str(error.value) == message
    assert gc.isenabled()


def test_the_time_that_rounds_lack_is_what_they_would_take() -> None:
    settings = SETTINGS.model_copy(update={"precision": None, "replicates": 20})
    whole, cut = Machine().run(settings), Machine().run(settings, deadline=0.5)
    assert whole.needed is None
    assert cut.needed is not None
    assert not cut.needed.is_least
    assert cut.seconds + cut.needed.seconds == pytest.approx(cut.seconds * 20 / len(cut.times["mine"]), rel=0.3)


def test_before_three_rounds_only_the_least_is_known_where_precision_is_the_aim() -> None:
    cut = Machine().run(SETTINGS, deadline=0.0)
    assert cut.needed is not None
    assert cut.needed.is_least


def test_ctrl_c_keeps_the_rounds_that_are_finished_and_ends_before_the_first() -> None:
    machine = Machine(spread=0.0)
    arm, until = machine.arm(4), math.inf

    def call() -> None:
        arm.call()
        if machine.clock.seconds > until:
            signal.raise_signal(signal.SIGINT)

    arms = {"base": machine.arm(4), "mine": TimedCall(call, nullcontext)}
    until = 0.3
    taken = machine.rounds(arms).run()
    assert taken.interrupted
    assert not taken.cut
    assert 1 <= len(taken.times["mine"]) == len(taken.times["base"]) < 6
    until = 0.0
    with pytest.raises(KeyboardInterrupt):
        machine.rounds(arms).run()
    assert gc.isenabled()


@pytest.mark.parametrize(("deadline", "is_told"), [(0.01, True), (1.0, False), (None, False)])
def test_a_round_that_is_longer_than_the_budget_is_told_before_it_begins(deadline: float | None, is_told: bool) -> None:
    told: list[float] = []
    machine = Machine(spread=0.0)
    machine.run(deadline=deadline, on_overrun=lambda seconds: told.append(machine.clock.seconds + seconds))
    assert len(told) == is_told
    assert all(machine.clock.seconds == pytest.approx(expected, rel=0.2) for expected in told)


def test_rounds_that_resemble_their_neighbours_go_on_until_their_wider_intervals_are_precise() -> None:
    settings = Settings(replicates=6, max_replicates=40, precision=0.02)
    ended = 0
    for seed in range(12):
        machine = Machine(spread=0.02, seed=seed)
        mine = machine.arm(10)

        def wandering(machine: Machine = machine, mine: TimedCall = mine) -> None:
            """Slower by up to 4% for half a second, then faster."""
            before = machine.clock.seconds
            mine.call()
            machine.clock.seconds += (0.04 + 0.04 * math.sin(2 * math.pi * before)) * (machine.clock.seconds - before)

        rounds = machine.rounds({"base": machine.arm(4), "mine": TimedCall(wandering, nullcontext)}, settings)
        taken = rounds.run()
        if len(taken.times["mine"]) < settings.max_replicates:
            ended += 1
            assert wider_than(compare(taken.times, "base"), 0.0201) == []
    assert ended >= 6
