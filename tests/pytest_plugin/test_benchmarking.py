"""How many rounds a case gets, and what its extra info holds."""

import json
import math

import pytest

from rnnbench.harness.turns.engine import Plan
from rnnbench.pytest_plugin.benchmarking import Wanted, planned, told
from rnnbench.store.metrics import METRICS, OBSERVED
from rnnbench.store.records import AXES, Measurement
from tests.doubles import workload as small


@pytest.mark.parametrize(
    ("plan", "wanted", "blocks", "rounds"),
    [
        (Plan(10, 1, 0.01), Wanted(5, 1.0, 5e-6), (10, 1), 1000),  # a second, in whole windows
        (Plan(10, 1, 0.01), Wanted(5, 0.0, 5e-6), (10, 1), 10),
        (Plan(10, 1, 0.01), Wanted(25, 0.0, 5e-6), (10, 1), 30),  # at least 25 rounds
        (Plan(1, 1, 0.5), Wanted(5, 1.0, 5e-6), (1, 1), 5),
        (Plan(100, 100, 0.01), Wanted(5, 0.1, 5e-6), (100, 100), 1000),  # calls of 1 us
        (Plan(100, 100, 0.01), Wanted(5, 0.1, 9.995e-4), (10, 1000), 100),  # rounds of 1 ms
        (Plan(1, 1, 1e-3), Wanted(5, 0.1, 0.05), (1, 50), 5),  # longer than a window
        (Plan(1, 1, 0.0), Wanted(5, 1.0, 5e-6), (1, 1), 5),
    ],
)
def test_rounds_are_as_many_and_as_long_as_pytest_benchmark_is_told(
    plan: Plan, wanted: Wanted, blocks: tuple[int, int], rounds: int
) -> None:
    adapted, number = planned(plan, wanted)
    assert ((adapted.batches, adapted.batch), number) == (blocks, rounds)
    assert adapted.seconds / adapted.calls == pytest.approx(plan.seconds / plan.calls)


def test_calls_that_are_clocked_alone_stay_alone() -> None:
    adapted, rounds = planned(Plan(5, 1, 1e-3), Wanted(5, 0.1, 0.05), single_calls=True)
    assert ((adapted.batches, adapted.batch), rounds) == ((5, 1), 500)


def test_what_is_told_has_every_axis_and_every_metric_that_is_known_and_is_plain_json() -> None:
    case = small.case("gru", phase="training")
    metrics = {metric.name: 10 + index for index, metric in enumerate(OBSERVED) if metric.unit != "joules"}
    missing = {"reserved_bytes": "no GPU"}
    measurement = Measurement(case, "measured", parity="agrees", backend="aten", metrics=metrics, missing=missing)
    extra_info = told(measurement, Plan(2, 5, 0.1), [0.5 + 0.01 * index for index in range(20)])
    assert {axis: extra_info[axis] for axis in AXES} == case.axes()
    assert metrics.items() <= extra_info.items()
    assert extra_info["seconds"] == pytest.approx(0.59 / 5)  # the median: the lower of the two in the middle
    assert extra_info["sequences_per_second"] == pytest.approx(3 / extra_info["seconds"])
    known = {metric.name for metric in METRICS} & extra_info.keys()
    assert all(isinstance(extra_info[name], int | float) and math.isfinite(extra_info[name]) for name in known)
    assert isinstance(extra_info["parameters"], int)
    assert extra_info["missing"] == {**missing, "energy_joules": "not measured under pytest"}
    assert (extra_info["calls_per_round"], extra_info["case"]) == (5, case.key)
    assert json.loads(json.dumps(extra_info)) == extra_info
