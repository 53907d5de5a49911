"""Replicates on a fake clock, with calls whose cost is known."""

import gc
import math
import random
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rnnbench.analysis.rounds import FIRST_LOOK, MINE, THAN, Question, compare, wider_than
from rnnbench.harness.devices import Cpu
from rnnbench.harness.live.loop import LiveTurns, undisturbed
from rnnbench.harness.live.stops import Precision
from rnnbench.harness.turns.schedule import Progress
from rnnbench.suite.file import Settings
from rnnbench.workloads.phases import TimedCall
from tests.doubles.fakes import FakeClock, noisy
from tests.doubles.stored import steady
from tests.validation.live_simulated import Process
from tests.validation.shared_simulated import SHARINGS

UNIT = 1e-4  # seconds; a case's call takes several, each with its own noise
SETTINGS = Settings(replicates=6, max_replicates=12, precision=0.02)
ROUND_SECONDS = 0.11  # about, of two cases of some 50 ms each


class Machine:
    """A clock and cases that spend time on it."""

    def __init__(self, spread: float = 0.1, seed: int = 0) -> None:
        self.clock = FakeClock()
        self.unit = noisy(UNIT, spread, seed)
        self.slowness: Callable[[float], float] = lambda now: 1.0

    def case(self, units: int) -> TimedCall:
        def call() -> None:
            self.clock.seconds += self.slowness(self.clock.seconds) * sum(self.unit(0) for _ in range(units))

        return TimedCall(call, nullcontext)

    def turns(self, cases: Mapping[str, TimedCall]) -> LiveTurns:
        return LiveTurns(Cpu(now=self.clock), cases, now=self.clock, seed=1)

    def run(self, settings: Settings = SETTINGS, mine: Callable[[], None] | None = None, **options: Any) -> "Taken":
        cases = {"base": self.case(4), "mine": self.case(10) if mine is None else TimedCall(mine, nullcontext)}
        turns, stop = self.turns(cases), Precision(list(cases), "base", settings)
        turns.until(stop, **options)
        return turns, stop.needed()


Taken = tuple[LiveTurns, float]


def test_the_known_ratio_lies_in_nearly_all_intervals() -> None:
    rows = pd.concat([compare(Machine(seed=seed).run()[0].times, "base").loc[["mine"]] for seed in range(40)])
    assert ((rows["ratio_low"] <= 2.5) & (rows["ratio_high"] >= 2.5)).sum() >= 37
    halves = np.log(rows["ratio_high"] / rows["ratio_low"]) / 2
    squares = (np.log(rows["ratio"] / 2.5) / halves) ** 2
    assert 1.96 * math.sqrt(squares.mean()) < 1  # of normal errors: 1 at 95%, and 1.2 if the intervals held 90%
    assert rows["ratio"].median() == pytest.approx(2.5, rel=0.005)


@pytest.mark.parametrize("slowness", [lambda now: 1 + now / 10, lambda now: 1.3 if int(10 * now) % 2 else 1.0])
def test_a_machine_that_changes_its_speed_shifts_times_and_not_the_ratio(slowness: Callable[[float], float]) -> None:
    machine = Machine(spread=0.0)
    machine.slowness = slowness
    row = compare(machine.run()[0].times, "base").loc["mine"]
    assert row["ratio"] == pytest.approx(2.5, rel=0.005)
    assert row["seconds_high"] > row["seconds_low"]


def test_steady_cases_get_the_fewest_rounds_and_unsteady_ones_the_most() -> None:
    assert len(Machine(spread=0.01).run()[0].times["mine"]) == 6
    assert len(Machine(spread=1.0).run(Settings(precision=None))[0].times["mine"]) == 6  # only as many as replicates
    machine, rng = Machine(), random.Random(1)
    machine.slowness = lambda now: math.exp(rng.gauss(0, 3))
    taken, _ = machine.run()
    assert len(taken.times["mine"]) == 12
    assert not taken.cut
    assert wider_than(compare(taken.times, "base"), 0.02) == ["mine"]


def test_a_machine_that_becomes_slow_in_a_round_does_not_stretch_the_budget_by_this_round() -> None:
    machine = Machine(spread=0.0)
    machine.slowness = lambda now: 1.0 if now < 0.4 else 50.0
    taken, _ = machine.run(Settings(replicates=100), deadline=0.5)
    assert taken.cut
    assert machine.clock.seconds <= 0.5 + 50 * 0.003  # the turn that had begun
    assert len({len(times) for times in taken.times.values()}) == 1


def test_a_case_whose_work_grows_with_each_call_is_named() -> None:
    machine, calls = Machine(spread=0.05), 0
    mine = machine.case(10)

    def growing() -> None:
        nonlocal calls
        calls += 1
        before = machine.clock.seconds
        mine.call()
        machine.clock.seconds += calls / 1000 * (machine.clock.seconds - before)

    taken, _ = machine.run(mine=growing)
    assert [note.partition(": its last")[0] for note in taken.notes()] == ["Times of mine grow from call to call"]
    assert machine.run()[0].notes() == []


@pytest.mark.parametrize("budget", [0.0, 0.2, 1.0])
def test_the_budget_ends_the_rounds_after_one_at_least(budget: float) -> None:
    machine = Machine(spread=0.0)
    taken, _ = machine.run(Settings(replicates=1000, max_replicates=1000), deadline=budget)
    assert taken.cut
    assert len(taken.times["mine"]) >= 1
    assert budget == 0.0 or machine.clock.seconds <= budget + 0.01


def test_progress_goes_forward_to_its_end_and_tells_the_time_left() -> None:
    steps: list[Progress] = []
    Machine(spread=0.01).run(on_progress=steps.append)
    assert [step.replicate for step in steps if not step.replicate] == [0] * 2  # calibration and warm-up
    timed = [step for step in steps if step.replicate]
    assert all(before.visits_done < after.visits_done for before, after in pairwise(timed))
    assert all(step.visits_done < step.visits for step in timed)
    lefts = [step.seconds_left for step in timed if step.seconds_left is not None]
    assert len(lefts) == len(timed)
    assert lefts[0] == pytest.approx(6 * ROUND_SECONDS, rel=0.3)
    assert lefts[-1] < lefts[0] / 10


@pytest.mark.parametrize(
    ("raised", "comes", "message"),
    [
        (ValueError("bad"), ValueError, "mine: bad"),
        (RuntimeError("bad"), RuntimeError, "mine: bad"),
        (KeyError("bad"), RuntimeError, "mine: KeyError: 'bad'"),
    ],
)
def test_what_a_case_raises_in_the_middle_ends_the_rounds_with_its_name(raised, comes, message: str) -> None:
    machine = Machine(spread=0.0)
    case = machine.case(4)

    def call() -> None:
        case.call()
        if machine.clock.seconds > 0.3:
            raise raised

    with pytest.raises(comes, match=f"^{message}$"):
        machine.run(mine=call)
    assert gc.isenabled()


def test_ctrl_c_keeps_the_rounds_that_are_finished_and_ends_before_the_first() -> None:
    machine = Machine(spread=0.0)
    case, until = machine.case(4), 0.3

    def call() -> None:
        case.call()
        if machine.clock.seconds > until:
            signal.raise_signal(signal.SIGINT)

    taken, _ = machine.run(mine=call)
    assert taken.interrupted
    assert not taken.cut
    assert 1 <= len(taken.times["mine"]) == len(taken.times["base"]) < 6
    until = 0.0
    with pytest.raises(KeyboardInterrupt):
        machine.run(mine=call)
    assert gc.isenabled()


def test_rounds_that_resemble_their_neighbours_tell_less_so_that_more_are_wanted() -> None:
    """The same ratios in another order: the spread alone is that of independent rounds."""
    logs = [0.002 * (7 * number % 20 - 9.5) for number in range(20)]
    wanted = []
    for order in (logs, sorted(logs)):
        stop = Precision(["base", "mine"], "base", Settings(replicates=4, max_replicates=1000, precision=0.004))
        for log in order:
            stop.add({"base": steady(1.0), "mine": steady(math.exp(log))}, 0.5)
        wanted.append(stop.wanted()[1])
    assert wanted[1] > 2 * wanted[0] > 0
    assert stop.needed() == pytest.approx(0.5 * wanted[1])


# On a core that is shared


def taken_on(sharing: str, rounds: int = 4, long: float = 1.0) -> LiveTurns:
    """Rounds of two calls, of which `mine` takes twice as long, and suffers more from a shared core."""
    costs, responses = {"base": long * 1e-4, "mine": long * 2e-4}, {"base": 1.5, "mine": 2.2}
    turns = Process(random.Random(1), SHARINGS[sharing], 0.0, costs, responses).turns()
    turns.until(Precision(list(costs), "base", Settings(replicates=rounds, max_replicates=rounds, precision=None)))
    return turns


def test_the_ratio_is_that_of_a_quiet_core_though_the_core_is_shared_most_of_the_time() -> None:
    turns = taken_on("quiet 20-50% of a visit")
    row = compare(turns.times, "base").loc["mine"]
    assert row["state"] == "undisturbed"
    assert row["ratio"] == pytest.approx(2.0, rel=0.04)
    blind = {name: [replace(each, quiet=None) for each in own] for name, own in turns.times.items()}
    by_all = compare(blind, "base").loc["mine"]
    assert by_all["state"] == "on a shared core"
    assert by_all["ratio"] > 2.2


@pytest.mark.parametrize(("sharing", "long"), [("always shared", 1.0), ("quiet 20-50% of a visit", 40.0)])
def test_calls_that_meet_no_quiet_moment_are_said_to_be_on_a_shared_core(sharing: str, long: float) -> None:
    frame = compare(taken_on(sharing, 2, long).times, "base")
    assert frame["state"].tolist() == ["on a shared core"] * 2


def test_without_pulses_nothing_is_said_of_the_core() -> None:
    turns, _ = Machine().run()
    assert {each.pulses for own in turns.times.values() for each in own} == {0}
    assert compare(turns.times, "base")["state"].tolist() == ["", ""]


def test_rounds_become_shorter_where_turns_wait_so_that_the_budget_holds_as_many_as_are_needed() -> None:
    machine = Machine(spread=0.0)
    machine.slowness = lambda now: 1.0 if now < 0.05 else 4.0  # from the first round on, and not while it is planned
    question = Question(1.2)
    turns = machine.turns({MINE: machine.case(30), THAN: machine.case(20)})
    turns.until(question, 1.5)
    assert len(question.ratios) >= FIRST_LOOK
    assert question.answer == "slower"


def test_long_calls_leave_time_for_what_comes_afterwards_and_have_fewer_blocks_where_the_budget_is_small() -> None:
    machine = Machine(spread=0.0)
    calls = {name: machine.case(2000) for name in ("base", "mine")}  # 0.2 s each
    turns = LiveTurns(Cpu(now=machine.clock), calls, calls_afterwards=10, now=machine.clock, seed=1)
    turns.until(Precision(list(calls), "base", Settings(replicates=6, precision=1e-9)), 12.0)
    assert 5.0 <= machine.clock.seconds <= 12.0 - 10 * 0.4
    assert len(turns.times["mine"]) >= 6


# Nothing disturbs a timed call


@pytest.mark.parametrize("was_on", [True, False])
def test_no_turn_sees_garbage_collection_a_tracer_or_a_profiler(was_on: bool) -> None:
    def watch(frame: object, event: str, argument: object) -> None:
        """Do nothing, in place of a debugger or coverage."""

    with ExitStack() as put_back:
        put_back.callback(gc.enable)
        put_back.callback(sys.settrace, sys.gettrace())
        put_back.callback(sys.setprofile, sys.getprofile())
        (gc.enable if was_on else gc.disable)()
        sys.settrace(watch)
        sys.setprofile(watch)
        with undisturbed():
            seen = gc.isenabled(), sys.gettrace(), sys.getprofile()
        afterwards = gc.isenabled(), sys.gettrace(), sys.getprofile()
    assert seen == (False, None, None)
    assert afterwards == (was_on, watch, watch)


@pytest.mark.skipif(not hasattr(sys, "monitoring"), reason="Python has sys.monitoring since 3.12")
def test_a_tool_that_monitors_is_paused_and_goes_on_afterwards() -> None:
    monitoring, tool = sys.monitoring, 4  # type: ignore[attr-defined, unused-ignore]
    wanted = monitoring.events.PY_START
    monitoring.use_tool_id(tool, "a test")
    try:
        monitoring.set_events(tool, wanted)
        with undisturbed():
            paused = monitoring.get_events(tool)
        assert (paused, monitoring.get_events(tool)) == (0, wanted)
        monitoring.set_events(tool, 0)
    finally:
        monitoring.free_tool_id(tool)
