"""The functions that times come from are noticed when they are replaced."""

import time

import pytest

from rnnbench.harness.devices import Cpu
from rnnbench.harness.turns.clocks import Clocks


def test_nothing_is_told_while_nothing_is_replaced() -> None:
    assert Clocks().put_back() == ""


@pytest.mark.parametrize(
    ("owner", "name", "told"), [(time, "perf_counter", "time.perf_counter"), (Cpu, "clock", "Cpu.clock")]
)
def test_a_clock_that_is_replaced_is_named_and_put_back(
    owner: object, name: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks, before = Clocks(), getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *_: 0.0)
    assert clocks.put_back() == f"it replaces {told}, which times come from"
    assert getattr(owner, name) is before
    assert clocks.put_back() == ""
