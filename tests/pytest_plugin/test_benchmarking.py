"""How many rounds a case gets, and what is told of it."""

import json
import math

import pytest

from rnnbench.harness.turns.engine import Plan
from rnnbench.pytest_plugin.benchmarking import Wanted, planned, told
from rnnbench.store.metrics import METRICS, OBSERVED
from rnnbench.store.records import AXES, Measurement
from tests import workload as small


@pytest.mark.parametrize(
    ("plan", "asked", "blocks", "rounds"),
    [
        (Plan(10, 1, 0.01), Wanted(5, 1.0, 5e-6), (10, 1), 1000),  # a second, in whole windows
        (Plan(10, 1, 0.01), Wanted(5, 0.0, 5e-6), (10, 1), 10),
        (Plan(10, 1, 0.01), Wanted(25, 0.0, 5e-6), (10, 1), 30),  # at least so many
        (Plan(1, 1, 0.5), Wanted(5, 1.0, 5e-6), (1, 1), 5),
        (Plan(100, 100, 0.01), Wanted(5, 0.1, 5e-6), (100, 100), 1000),  # calls of 1 us
        (Plan(100, 100, 0.01), Wanted(5, 0.1, 9.995e-4), (10, 1000), 100),  # rounds of 1 ms
        (Plan(1, 1, 1e-3), Wanted(5, 0.1, 0.05), (1, 50), 5),  # longer than a window
        (Plan(5, 1, 1e-3, cold=True), Wanted(5, 0.1, 0.05), (5, 1), 500),  # a flush before each call
        (Plan(1, 1, 0.0), Wanted(5, 1.0, 5e-6), (1, 1), 5),
    ],
)
def test_rounds_are_as_many_and_as_long_as_pytest_benchmark_is_told(
    plan: Plan, asked: Wanted, blocks: tuple[int, int], rounds: int
) -> None:
    made, number = planned(plan, asked)
    assert ((made.batches, made.batch), number) == (blocks, rounds)
    assert made.cold == plan.cold
    assert made.seconds / made.calls == pytest.approx(plan.seconds / plan.calls)


def test_what_is_told_has_every_axis_and_every_metric_that_is_known_and_is_plain_json() -> None:
    case = small.case("gru", phase="training")
    metrics = {metric.name: 10 + place for place, metric in enumerate(OBSERVED) if metric.unit != "joules"}
    missing = {"reserved_bytes": "no GPU"}
    measurement = Measurement(case, "measured", parity="agrees", backend="aten", metrics=metrics, missing=missing)
    found = told(measurement, Plan(2, 5, 0.1), [0.5 + 0.01 * place for place in range(20)])
    assert {axis: found[axis] for axis in AXES} == case.axes()
    assert metrics.items() <= found.items()
    assert found["seconds"] == pytest.approx(0.51 / 5)  # the 10% quantile
    assert found["sequences_per_second"] == pytest.approx(3 / found["seconds"])
    known = {metric.name for metric in METRICS} & found.keys()
    assert all(isinstance(found[name], int | float) and math.isfinite(found[name]) for name in known)
    assert isinstance(found["parameters"], int)
    assert found["missing"] == {**missing, "energy_joules": "not measured under pytest"}
    assert (found["calls_per_round"], found["cold_cache"], found["case"]) == (5, False, case.key)
    assert json.loads(json.dumps(found)) == found
