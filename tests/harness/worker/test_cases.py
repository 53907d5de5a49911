"""Cases that a worker prepares and times, in this process."""

import os
import threading
from typing import Any

import pytest

from rnnbench.harness import protocol
from rnnbench.harness.devices import Clocked, Cpu
from rnnbench.harness.turns.schedule import Turns
from rnnbench.harness.worker.cases import NUMBER, Relay
from rnnbench.store.records import Case
from tests.doubles import workload as small
from tests.doubles.visits import TURNS, operations, visit
from tests.harness.worker.test_operations import prepare, take_turns


def test_a_prepared_case_can_be_timed_and_is_forgotten_on_release() -> None:
    worker, case = operations(), small.case("gru")
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
    assert worker.handle({"op": "release"})["ok"]
    assert not take_turns(worker, case)["ok"]


@pytest.mark.parametrize("is_warm", [False, True])
def test_both_halves_of_the_turns_see_a_drift_alike(monkeypatch: pytest.MonkeyPatch, is_warm: bool) -> None:
    worker, case, made = operations(), small.case("gru"), list[int]()
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
    worker, case = operations(), small.case("gru", caches="cold")
    reply = prepare(worker, case)
    assert reply["wall_seconds"] >= reply["call_seconds"] > 0
    before = len(flushes)
    window, _ = take_turns(worker, case, Turns(turns=2, blocks=4, calls=1, is_warm=False))["windows"]
    assert window["calls"] == 4
    assert len(flushes) - before == 2 * (1 + 4)  # one flush in each turn is for the call that is not clocked


class Side:
    """A worker in a thread, with pipes to the other one and marks that the test reads."""

    def __init__(self, name: str, cases: list[Case], marks: int, token_from: int, token_to: int) -> None:
        self.name, self._cases = name, cases
        self._worker = operations(relay=Relay(marks, token_from, token_to))
        for case in cases:
            assert prepare(self._worker, case)["ok"]
        self.reply: dict[str, Any] = {}

    def visit(self, order: list[tuple[str, int]]) -> threading.Thread:
        request = protocol.visit(self._cases, [TURNS] * len(self._cases), order, self.name, 1.0)
        thread = threading.Thread(target=lambda: self.reply.update(self._worker.handle({**request})), daemon=True)
        thread.start()
        return thread


def test_two_sides_take_turns_in_the_given_order_and_show_which_case_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cases = [small.case("gru"), small.case("vanilla")]
    pipes = [os.pipe(), os.pipe()]
    marks = {name: os.memfd_create(name) for name in ("base", "head")}
    for descriptor in marks.values():
        os.pwrite(descriptor, NUMBER.pack(-1), 0)
    base = Side("base", cases, marks["base"], pipes[0][0], pipes[1][1])
    head = Side("head", cases, marks["head"], pipes[1][0], pipes[0][1])
    seen: list[tuple[str, int]] = []
    clock = Cpu.clock

    def watched(*arguments: Any, **options: Any) -> Any:
        numbers = {name: NUMBER.unpack(os.pread(mark, NUMBER.size, 0))[0] for name, mark in marks.items()}
        [(name, number)] = [(name, number) for name, number in numbers.items() if number >= 0]
        seen.append((name, number))
        return clock(*arguments, **options)

    monkeypatch.setattr(Cpu, "clock", watched)
    order = [("head", 0), ("base", 0), ("base", 0), ("head", 0), ("base", 1), ("head", 1), ("head", 1), ("base", 1)]
    threads = [side.visit(order) for side in (base, head)]
    for thread in threads:
        thread.join(60)
    assert base.reply["ok"], base.reply
    assert head.reply["ok"], head.reply
    assert seen == order


def test_a_case_that_raises_in_its_turn_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [small.case("gru"), small.case("vanilla")]
    mark = os.memfd_create("mark")
    os.pwrite(mark, NUMBER.pack(-1), 0)
    worker = operations(relay=Relay(mark))
    for case in cases:
        prepare(worker, case)
    clocked = 0
    clock = Cpu.clock

    def raising(*arguments: Any, **options: Any) -> Any:
        nonlocal clocked
        clocked += 1
        if clocked == 3:
            raise RuntimeError("not now")
        return clock(*arguments, **options)

    monkeypatch.setattr(Cpu, "clock", raising)
    reply = worker.handle(visit(*cases))
    assert reply["reason"].startswith("RuntimeError: not now")
    assert NUMBER.unpack(os.pread(mark, NUMBER.size, 0)) == (1,)
