"""A clock that can't be trusted is found before a worker or a live function times anything."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

import rnnbench
from rnnbench.harness import devices
from rnnbench.harness.devices import Clocked, Cpu, self_test
from rnnbench.harness.worker.answers import answer
from tests.doubles.visits import worker_here


class Lying(Cpu):
    """A device whose clock does not wait for the work."""

    has_known_clock = False
    opened = 0

    def __init__(self, name: str = "cpu") -> None:
        super().__init__()
        Lying.opened += 1

    def clock(self, call: Any, batches: int, batch: int, **_: Any) -> Clocked:
        return Clocked([1e-3] * batches, 1e-3 * batches, 1e-3, 1e-3, batches * batch)


pytestmark = pytest.mark.usefixtures("short_turns")


@pytest.fixture(autouse=True)
def lying(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    self_test._fault_of.cache_clear()
    monkeypatch.setattr(Lying, "opened", 0)
    monkeypatch.setattr(devices, "BACKENDS", {"cpu": Lying})
    monkeypatch.setattr(self_test, "product", lambda name, times: lambda: None)
    yield
    self_test._fault_of.cache_clear()


FAULT = "the clock of cpu can't be trusted: twice the work took 1.00 times as long"


def test_no_live_function_times_on_a_device_whose_clock_is_wrong_and_it_is_tried_once() -> None:
    modules = {"a": torch.nn.RNN(2, 2), "b": torch.nn.RNN(2, 2)}
    given = torch.zeros(3, 1, 2)
    with pytest.raises(ValueError, match=FAULT):
        rnnbench.measure(modules, given)
    with pytest.raises(ValueError, match=FAULT):
        rnnbench.explain(modules, given)
    with pytest.raises(ValueError, match=f"input: {FAULT}"):
        rnnbench.fastest(modules["a"], given)
    with pytest.raises(RuntimeError, match=f"outputs are on cpu: {FAULT}"):
        rnnbench.sweep(modules, lambda seq_len: torch.zeros(seq_len, 1, 2), seq_len=[3])
    assert Lying.opened == 1


def test_a_worker_says_that_the_clock_is_wrong_and_trusts_a_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    request = {"op": "device", "device": "cpu"}
    assert answer(worker_here(), dict(request))["reason"] == FAULT
    monkeypatch.setattr(Lying, "has_known_clock", True)
    assert answer(worker_here(), dict(request))["reason"] == ""
