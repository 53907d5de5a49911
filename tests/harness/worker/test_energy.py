"""Energy of one call, on fake counters and clocks."""

from collections.abc import Callable
from typing import Any

import pytest

from rnnbench.harness.devices.device import Counters
from rnnbench.harness.turns.engine import Plan, calibrate
from rnnbench.harness.worker.energy import per_call
from tests.doubles.fake_cuda import FakeCuda, FakeLine, kernels
from tests.doubles.fakes import fake_cpu


class Counter:
    """An energy counter that returns the test's joules."""

    least_seconds, scope = 2.0, "all"

    def __init__(self, joules: Callable[[], float]) -> None:
        self._joules = joules

    def read(self) -> dict[str, float]:
        return {"all": self._joules()}

    def joules(self, before: Counters, after: Counters) -> float:
        return after["all"] - before["all"]


def test_a_calls_energy_is_the_counters_growth_over_all_calls_of_a_long_enough_window() -> None:
    calls: list[int] = []

    def cost(number: int) -> float:
        calls.append(number)
        return 0.01

    device, call = fake_cpu(cost)
    clock = device._now
    meter: Any = Counter(lambda: 50 * 0.01 * len(calls))  # 50 W
    assert per_call(meter, device, call, Plan(3, 2, 0.06), clock) == pytest.approx(0.5)
    assert clock() >= Counter.least_seconds


@pytest.mark.parametrize("seconds", [1e-3, 30e-3, 0.3])
def test_a_call_on_a_gpu_takes_its_own_energy_and_not_that_of_the_call_before_it_too(seconds: float) -> None:
    line = FakeLine()
    device, call = FakeCuda(line), kernels(line, 1, 5e-6, seconds)
    plan = calibrate(device, call, 0.01)
    meter: Any = Counter(lambda: 400 * line.busy_seconds)
    joules = per_call(meter, device, call, plan, line.host)
    assert joules == pytest.approx(400 * seconds, rel=1e-6)
