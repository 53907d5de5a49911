"""A suite's cases under pytest: their workers, rounds and extra info."""

import json

import pytest

from rnnbench.pytest_plugin.cases import planned, told
from rnnbench.store.metrics import OBSERVED
from rnnbench.store.records import Measurement
from tests.doubles import workload as small


@pytest.mark.parametrize(
    ("seconds", "wanted", "blocks", "calls", "visits"),
    [
        (1e-3, (5, 1.0, 5e-6), 49, 1, 10),  # a second, in whole visits
        (1e-3, (250, 0.0, 5e-6), 1, 1, 125),  # at least 250 rounds
        (0.5, (5, 1.0, 5e-6), 1, 1, 3),
        (1e-4, (5, 0.1, 9.995e-4), 49, 10, 1),  # rounds of 1 ms
        (1e-3, (5, 0.1, 0.05), 1, 50, 3),  # longer than a turn
    ],
)
def test_rounds_are_as_many_and_as_long_as_pytest_benchmark_is_told(
    seconds: float, wanted: tuple[float, float, float], blocks: int, calls: int, visits: int
) -> None:
    min_rounds, max_time, min_time = wanted
    turns, number = planned(small.case("gru"), seconds, min_rounds=min_rounds, max_time=max_time, min_time=min_time)
    assert (turns.turns, turns.blocks, turns.calls, number) == (2, blocks, calls, visits)
    turns, _ = planned(small.case("gru", caches="cold"), seconds, min_rounds=5, max_time=0.1, min_time=0.05)
    assert turns.calls == 1  # calls that are clocked alone stay alone


def test_what_is_told_has_every_axis_and_every_metric_that_is_known_and_is_plain_json() -> None:
    case = small.case("gru", phase="training")
    metrics: dict[str, float] = {
        metric.name: 10 + index for index, metric in enumerate(OBSERVED) if metric.unit != "joules"
    }
    missing = {"reserved_bytes": "no GPU"}
    measurement = Measurement(case, "measured", parity="agrees", backend="aten", metrics=metrics, missing=missing)
    extra_info = told(measurement, 5, [0.1 + 0.002 * index for index in range(21)])
    assert case.axes().items() <= extra_info.items()
    assert metrics.items() <= extra_info.items()
    assert extra_info["seconds"] == pytest.approx(0.12)
    assert extra_info["sequences_per_second"] == pytest.approx(3 / extra_info["seconds"])
    assert extra_info["missing"] == {**missing, "energy_joules": "not measured under pytest"}
    assert (extra_info["calls_per_round"], extra_info["case"]) == (5, case.key)
    assert json.loads(json.dumps(extra_info)) == extra_info
