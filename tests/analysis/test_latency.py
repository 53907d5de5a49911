import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench import load, summarize
from rnnbench.analysis.latency import MIN_BEYOND, MIN_REPLICATES, measured_streams, quantile, quantile_name, share_of
from tests.doubles import workload as small
from tests.doubles.stored import folder
from tests.validation import latency_simulated

STREAM = small.case("gru", task="streaming", seq_len=1)
TORCH = small.reference_case("gru", task="streaming", seq_len=1)


def run_with_period(parent: Path, steps: list[list[float]], period: float | None) -> Path:
    times = {case: [sorted(replicate) for replicate in steps] for case in (STREAM, TORCH)}
    return folder(parent, times, resolved={"measure": {"period_seconds": period}})


@given(
    st.lists(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=200), min_size=1, max_size=4),
    st.sampled_from([0.5, 0.95, 0.99]),
)
def test_a_quantile_is_the_smallest_time_that_the_share_of_steps_does_not_exceed(
    replicates: list[list[float]], share: float
) -> None:
    steps = np.concatenate(replicates)
    value, lower, upper = quantile([np.array(each) for each in replicates], share)
    if len(steps) - math.ceil(share * len(steps)) < MIN_BEYOND:
        assert math.isnan(value)
    else:
        assert (steps <= value).mean() >= share
        assert (steps < value).mean() < share
        assert math.isnan(lower) or lower <= value <= upper
    assert len(replicates) >= MIN_REPLICATES or math.isnan(lower)


def test_quantiles_come_from_each_replicate_and_late_steps_from_the_period(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    steps = [
        [factor * noise.lognormal(0, 0.02) * (1e-3 if number % 50 else 5e-3) for number in range(1000)]
        for factor in (0.998, 1.0, 1.002)
    ]
    summary = summarize(load(run_with_period(tmp_path, steps, 2e-3))).set_index("case")
    row = summary.to_dict("index")[STREAM.key]
    assert list(measured_streams(summary).index) == [STREAM.key, TORCH.key]
    for other in ({"task": "many_to_one"}, {"status": "failed"}):
        assert measured_streams(summary.assign(**other)).empty
    assert quantile_name("latency_p99_9") == "p99.9"
    assert row["latency_p50"] == pytest.approx(1e-3, rel=0.01)
    assert row["latency_p99"] == pytest.approx(5e-3, rel=0.02)
    assert row["latency_p50_low"] < row["latency_p50"] < row["latency_p50_high"]
    assert math.isnan(row["latency_p99_9"])  # three steps are beyond it
    assert (row["late_share"], row["period_seconds"]) == (pytest.approx(0.02), 2e-3)
    assert row["late_share_low"] < 0.02 < row["late_share_high"]


def test_without_a_period_nothing_is_late_and_without_a_stream_there_is_no_column(tmp_path: Path) -> None:
    row = summarize(load(run_with_period(tmp_path / "a", [[1e-3] * 100] * 3, None))).to_dict("records")[0]
    assert math.isnan(row["late_share"])
    assert math.isnan(row["period_seconds"])
    others = folder(tmp_path / "b", {small.case("vanilla"): [[2.0]] * 6, small.reference_case(): [[1.0]] * 6})
    assert not [name for name in summarize(load(others)) if str(name).startswith(("latency", "late"))]


def test_two_replicates_show_no_interval_of_a_quantile_and_three_do() -> None:
    """Of two, only narrow intervals end before the slowest step, and these hold the truth too rarely."""
    steps = np.linspace(1.0, 1.1, 10_000)
    assert math.isnan(quantile([steps, steps], 0.5)[1])
    value, lower, upper = quantile([steps, steps, steps], 0.5)
    assert lower < value < upper


def test_no_late_step_among_many_is_no_proof_that_there_will_be_none() -> None:
    share, lower, upper = share_of([0, 0, 0], [1000, 1000, 1000])
    assert (share, lower) == (0.0, 0.0)
    assert 1 - 0.025 ** (1 / 3000) < upper < 0.01
    assert share_of([10, 10], [10, 10])[2] == 1.0


def test_late_steps_that_come_together_tell_less() -> None:
    spread, together = share_of([10, 10, 10], [1000] * 3), share_of([30, 0, 0], [1000] * 3)
    assert spread[0] == together[0] == 0.01
    assert together[1] < spread[1]
    assert spread[2] < together[2]


@pytest.mark.parametrize("kind", latency_simulated.KINDS)
def test_intervals_hold_the_truth_where_steps_are_slow_together(kind: str) -> None:
    for row in latency_simulated.rows(kind, 40, np.random.default_rng(1), truth_replicates=300):
        assert row["covered"] >= 0.8, row  # of 40 intervals; the table has thousands
