"""Energy of one call, on a counter and a clock that the test winds."""

import pytest

from rnnbench.measure.devices.meters import Counters
from rnnbench.measure.energy import per_call
from rnnbench.measure.engine import Plan
from tests.measure.fakes import fake_cpu


def test_a_calls_energy_is_the_counters_growth_over_all_calls_of_a_long_enough_window() -> None:
    device, call = fake_cpu(lambda number: 0.01)
    clock = device._now

    class Fifty:
        least_seconds, scope = 2.0, "50 W"

        def read(self) -> dict[str, float]:
            return {"all": 50 * clock()}

        def joules(self, before: Counters, after: Counters) -> float:
            return after["all"] - before["all"]

    assert per_call(Fifty(), device, call, Plan(3, 2, 0.06), clock) == pytest.approx(0.5)
    assert clock() >= Fifty.least_seconds
