"""Cases that a worker prepares and times, in this process."""

from typing import Any

import pytest

from rnnbench.harness.devices import Call, Device, caches
from rnnbench.harness.turns import engine
from rnnbench.harness.turns.engine import Reading
from rnnbench.harness.worker import timing
from tests.doubles import workload as small
from tests.harness.worker.test_operations import PLAN, operations, prepare, take_window


def test_a_prepared_case_can_be_timed_and_is_forgotten_on_release() -> None:
    worker, case = operations(), small.case("gru")
    reply = prepare(worker, case)
    assert reply["ok"]
    assert reply["warmup_windows"] >= 1
    window = take_window(worker, case, reply["plan"])
    assert window["ok"]
    assert window["calls"] == reply["plan"]["batches"] * reply["plan"]["batch"]
    assert worker.handle({"op": "release"})["ok"]
    assert not take_window(worker, case)["ok"]


def test_a_plan_that_is_given_is_kept() -> None:
    assert prepare(operations(), small.case("gru"), plan=PLAN)["plan"] == PLAN


def test_a_case_is_timed_cold_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    flushes: list[int] = []
    monkeypatch.setattr(caches, "flush", lambda: flushes.append(1))
    worker, case = operations(), small.case("gru", caches="cold")
    plan = prepare(worker, case)["plan"]
    assert plan["batch"] == 1
    before = len(flushes)
    window = take_window(worker, case, plan)
    assert window["calls"] == plan["batches"]
    assert len(flushes) - before == 1 + plan["batches"]  # one flush is for the call that is not clocked


@pytest.mark.parametrize("is_warm", [False, True])
def test_a_window_right_after_another_one_begins_without_an_unclocked_call(
    monkeypatch: pytest.MonkeyPatch, is_warm: bool
) -> None:
    calls: list[int] = []

    def counted(device: Device, call: Call, *arguments: Any, **options: Any) -> Reading:
        def counted_call() -> object:
            calls.append(1)
            return call()

        return engine.take_window(device, counted_call, *arguments, **options)

    worker, case = operations(), small.case("gru")
    prepare(worker, case)
    monkeypatch.setattr(timing, "take_window", counted)
    assert take_window(worker, case, is_warm=is_warm)["ok"]
    assert len(calls) == PLAN["batches"] * PLAN["batch"] + (not is_warm)
