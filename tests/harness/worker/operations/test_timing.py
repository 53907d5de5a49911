"""Cases that a worker prepares and times in turns."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, ClassVar
from unittest.mock import Mock

import pytest

from rnnbench.harness import devices, protocol
from rnnbench.harness.coordinator.process import MARK
from rnnbench.harness.devices import Clocked, Cpu
from rnnbench.harness.machine.pulse import Pulses
from rnnbench.harness.turns.schedule import ENOUGH_QUIET_BLOCKS, LEAST_BLOCKS, MOST_BLOCKS, Turns
from rnnbench.harness.worker.answers import answer
from rnnbench.harness.worker.operations import timing
from rnnbench.harness.worker.prepared_case import PreparedCase
from tests.doubles import workload as small
from tests.doubles.visits import TURNS, visit, worker_here
from tests.harness.worker.test_answers import prepare, take_turns

BEST = 5e-6  # seconds of a pulse


def test_a_prepared_case_can_be_timed_and_is_forgotten_on_release() -> None:
    worker, case = worker_here(), small.case("gru")
    reply = prepare(worker, case)
    assert reply["ok"]
    assert reply["warmup_windows"] >= 1
    assert reply["wall_seconds"] == reply["call_seconds"] > 0
    first, second = take_turns(worker, case, Turns(turns=6, blocks=3, calls=2, is_warm=False))["windows"]
    assert first["case"] == second["case"] == case.key
    assert first["calls"] == second["calls"] == 18
    assert first["waits"] == 3
    assert len(first["quantiles"]) == 9
    assert sorted(first["quantiles"]) == list(first["quantiles"])
    assert answer(worker, {"op": "release"})["ok"]
    assert not take_turns(worker, case)["ok"]


@pytest.mark.parametrize("is_warm", [False, True])
def test_both_halves_of_the_turns_see_a_drift_alike(monkeypatch: pytest.MonkeyPatch, is_warm: bool) -> None:
    worker, case, made = worker_here(), small.case("gru"), list[int]()
    assert prepare(worker, case, call_seconds=0.125)["call_seconds"] == 0.125  # which is known, so not calibrated
    clock = Cpu.clock

    def drifting(*arguments: Any, **options: Any) -> Any:
        made.append(clock(*arguments, **options).calls)
        number = len(made)
        return Clocked([float(number)], float(number), number, number, made[-1])

    monkeypatch.setattr(Cpu, "clock", drifting)
    first, second = take_turns(worker, case, Turns(turns=8, blocks=1, calls=1, is_warm=is_warm))["windows"]
    assert made == [1 + (not is_warm)] * 8  # a turn of short calls begins with one that is not clocked
    assert list(first["quantiles"]) == [1, 4, 5, 8]
    assert list(second["quantiles"]) == [2, 3, 6, 7]


def test_a_case_is_timed_cold_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    flushes: list[int] = []
    monkeypatch.setattr(Cpu, "flush", lambda _: flushes.append(1))
    worker, case = worker_here(), small.case("gru", caches="cold")
    reply = prepare(worker, case)
    assert reply["wall_seconds"] >= reply["call_seconds"] > 0
    before = len(flushes)
    window, _ = take_turns(worker, case, Turns(turns=2, blocks=4, calls=1, is_warm=False))["windows"]
    assert window["calls"] == 4
    assert len(flushes) - before == 2 * (1 + 4)  # one flush in each turn is for the call that is not clocked


class Tells(Cpu):
    """A device that tells the rate of its clock, and shows ranges to a profiler."""

    shown: ClassVar[list[str]] = []
    hertz: ClassVar[list[float]] = []

    def clock_hertz(self) -> float | None:
        self.shown.append("clock")
        return self.hertz.pop(0)

    @contextmanager
    def range(self, name: str) -> Iterator[None]:
        self.shown.append(name)
        yield
        self.shown.append("end")


def test_each_turn_is_a_range_of_the_cases_name_and_tells_the_rate_of_the_clock_after_its_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "BACKENDS", {"cpu": Tells})
    worker = worker_here()
    case = small.case("gru")
    assert prepare(worker, case)["ok"]
    Tells.shown.clear()
    Tells.hertz[:] = [1.7e9, 1.1e9, 1.2e9, 1.5e9, 1.9e9, 1.3e9]
    windows = take_turns(worker, case, Turns(turns=6, blocks=1, calls=1, is_warm=False))["windows"]
    assert Tells.shown == [case.key, "clock", "end"] * 6
    assert [window["sm_clock_mhz"] for window in windows] == pytest.approx([1700.0, 1200.0])


def test_a_device_is_heated_by_turns_of_all_cases_that_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = worker_here()
    made = [small.case("gru"), small.case("vanilla")]
    for case in made:
        assert prepare(worker, case)["ok"]
    clock = Mock(side_effect=[float(second) for second in range(7)])
    monkeypatch.setattr(timing, "time", Mock(monotonic=clock))
    taken: list[str] = []

    def take_turn(self: PreparedCase, plan: Turns, pulses: Any) -> Clocked:
        taken.append(self.built.case.cell)
        return Clocked([1.0] * 3, 3.0, 3.0, 3.0, 3)

    monkeypatch.setattr(PreparedCase, "take_turn", take_turn)
    request = visit(*made) | {"preheat_seconds": 5.0}
    assert answer(worker, request)["ok"]
    assert taken == ["gru", "vanilla"] * 2 + ["gru"] * 2 + ["vanilla"] * 2  # four before the turns that count


@pytest.mark.parametrize(
    ("quiet_share", "turns"),
    [(1.0, ENOUGH_QUIET_BLOCKS), (0.5, 2 * ENOUGH_QUIET_BLOCKS), (0.0, MOST_BLOCKS), (None, ENOUGH_QUIET_BLOCKS)],
)
def test_a_visit_goes_on_until_each_case_has_enough_quiet_blocks_and_moves_between_pairs_of_rounds(
    monkeypatch: pytest.MonkeyPatch, quiet_share: float | None, turns: int
) -> None:
    worker = worker_here()
    made = [small.case("gru"), small.case("vanilla")]
    for case in made:
        assert prepare(worker, case)["ok"]
    happened: list[str] = []

    def take_turn(self: PreparedCase, plan: Turns, pulses: Pulses) -> Clocked:
        happened.append(self.built.case.cell)
        number = happened.count(self.built.case.cell)
        is_quiet = bool(quiet_share and number * quiet_share % 1 == 0)
        taken = [] if quiet_share is None else [BEST if is_quiet else 2 * BEST] * 2
        return Clocked([1.0], 1.0, 1.0, 1.0, 1, taken)

    monkeypatch.setattr(PreparedCase, "take_turn", take_turn)

    def quietest(self: Pulses, choices: Sequence[Sequence[int]]) -> Sequence[int]:
        happened.append("choice")
        return choices[0]

    monkeypatch.setattr(Pulses, "quietest", quietest)
    monkeypatch.setattr(os, "sched_setaffinity", lambda process, cores: None)
    plan = Turns(turns=MOST_BLOCKS, blocks=1, calls=1, is_warm=True)
    order = [("run", 0), ("run", 1), ("run", 1), ("run", 0)] * (MOST_BLOCKS // 2)
    request = protocol.visit(made, [plan] * 2, order, "run", 1.0, BEST, least_turns=LEAST_BLOCKS, choices=[[0], [1]])
    windows = answer(worker, request)["windows"]
    assert [window["calls"] for window in windows] == [turns / 2] * 4
    assert happened.count("gru") == happened.count("vanilla") == turns
    assert happened[0] == "choice"
    for number, name in enumerate(happened):
        before = [each for each in happened[:number] if each != "choice"]
        assert name != "choice" or len(before) % 4 == 0


def shared_mark() -> int:
    """Return memory that shows the number of the case in turn."""
    mark = os.memfd_create("mark")
    os.pwrite(mark, MARK.pack(-1), 0)
    return mark


def test_two_sides_take_turns_in_the_given_order_and_show_which_case_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cases, names = [small.case("gru"), small.case("vanilla")], ("base", "head")
    marks, (to_base, to_head) = {name: shared_mark() for name in names}, (os.pipe(), os.pipe())
    relays = (
        {"marks": marks["base"], "token_from": to_base[0], "token_to": to_head[1]},
        {"marks": marks["head"], "token_from": to_head[0], "token_to": to_base[1]},
    )
    workers = {name: worker_here(relay=relay) for name, relay in zip(names, relays, strict=True)}
    for worker in workers.values():
        assert all(prepare(worker, case)["ok"] for case in cases)
    seen: list[tuple[str, int]] = []
    clock = Cpu.clock

    def watched(*arguments: Any, **options: Any) -> Any:
        numbers = {name: MARK.unpack(os.pread(mark, MARK.size, 0))[0] for name, mark in marks.items()}
        [(name, number)] = [(name, number) for name, number in numbers.items() if number >= 0]
        seen.append((name, number))
        return clock(*arguments, **options)

    monkeypatch.setattr(Cpu, "clock", watched)
    order = [("head", 0), ("base", 0), ("base", 0), ("head", 0), ("base", 1), ("head", 1), ("head", 1), ("base", 1)]
    requests = {name: protocol.visit(cases, [TURNS] * 2, order, name, 1.0) for name in names}
    with ThreadPoolExecutor(2) as pool:
        replies = list(pool.map(lambda name: answer(workers[name], {**requests[name]}), names))
    assert all(reply["ok"] for reply in replies), replies
    assert seen == order


def test_a_case_that_raises_in_its_turn_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    cases, mark = [small.case("gru"), small.case("vanilla")], shared_mark()
    worker = worker_here(relay={"marks": mark})
    for case in cases:
        prepare(worker, case)
    clock, good = Cpu.clock, iter(range(2))

    def raising(*arguments: Any, **options: Any) -> Any:
        next(good)
        return clock(*arguments, **options)

    monkeypatch.setattr(Cpu, "clock", raising)
    assert answer(worker, visit(*cases))["reason"].startswith("StopIteration")
    assert MARK.unpack(os.pread(mark, MARK.size, 0)) == (1,)
