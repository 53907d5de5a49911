"""The coordinator's clock against the worker's."""

from dataclasses import replace

import pytest

from rnnbench.harness.turns.waits import Wait, clock_fault
from tests.doubles import workload as small
from tests.doubles.stored import window

WINDOW = replace(window(small.case("gru"), 0, [0.001], turns=1), calls=10, seconds=0.01, host_seconds=0.01)


def waits(*seconds: float) -> list[Wait]:
    """Windows that claim 10 ms each, and how long the coordinator waited for each."""
    return [Wait(WINDOW, value) for value in seconds]


@pytest.mark.parametrize(
    "seconds",
    [
        (0.012, 0.013, 0.012, 0.012),
        (0.06, 0.06, 0.06, 0.06),  # a busy machine, on which a worker takes long between two windows
        (0.012, 3.0, 5.0, 0.012),  # the coordinator was stopped twice
    ],
)
def test_a_machine_that_is_slow_or_stops_trips_nothing(seconds: tuple[float, ...]) -> None:
    assert clock_fault(waits(*seconds)) == ""


def test_a_clock_that_says_less_than_passed_is_a_fault() -> None:
    assert clock_fault(waits(0.1, 0.1, 0.1, 0.012)) == "its clock says 0.04 s where 0.31 s passed"


def test_a_busy_machine_stretches_what_a_worker_claims_as_well() -> None:
    slow = replace(WINDOW, seconds=1.0, host_seconds=1.0)
    assert clock_fault([Wait(slow, 1.9)] * 4) == ""


def test_a_window_of_one_long_call_has_another_that_is_not_clocked() -> None:
    long = replace(WINDOW, calls=1, batch=1, seconds=5.0, host_seconds=5.0)
    assert clock_fault([Wait(long, 10.5)] * 4) == ""
