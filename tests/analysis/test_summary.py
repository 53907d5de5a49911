import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rnnbench import load, summarize
from rnnbench.analysis.run_times import RunTimes, joined, read_run_times
from rnnbench.analysis.summary import (
    MIN_BEYOND,
    MIN_REPLICATES,
    measured_streams,
    noise,
    quantile,
    quantile_name,
    share_of,
)
from rnnbench.analysis.summary import summarize as summarized
from rnnbench.harness.devices import Device
from rnnbench.harness.turns.schedule import calibrate
from rnnbench.store.frames import with_categories, with_sentences
from rnnbench.store.records import Measurement
from tests.doubles import workload as small
from tests.doubles.fake_cuda import FakeCuda, FakeLine, kernels
from tests.doubles.fakes import fake_cpu, noisy
from tests.doubles.stored import folder, measured, times_of, window, written

LOOP, REFERENCE = small.case("vanilla"), small.reference_case()
SKIPPED = small.case("combined", "hoisted")


def summary(path: Path) -> pd.DataFrame:
    return summarize(load(path)).set_index("case")


def test_the_ratio_is_taken_within_each_replicate(tmp_path: Path) -> None:
    # The machine is three times slower in every second replicate, which cancels in the ratio.
    slow = [1.0, 3.0] * 6
    table = summary(folder(tmp_path, {LOOP: [[2.0 * s] for s in slow], REFERENCE: [[1.0 * s] for s in slow]}))
    row = table.loc[LOOP.key]
    assert (row["ratio"], row["ratio_low"], row["ratio_high"]) == pytest.approx((2.0, 2.0, 2.0))
    assert row["seconds_high"] / row["seconds_low"] > 1.5


def test_a_time_beyond_all_measure_has_an_interval_of_numbers(tmp_path: Path) -> None:
    run = folder(tmp_path, {LOOP: [[1.0], [1e3], [0.5]], REFERENCE: [[1.0]] * 3})
    first = run / "windows-0000.jsonl"
    first.write_text(first.read_text().replace("[1.0]", "[1e-290]", 1))
    row = summary(run).loc[LOOP.key]
    assert 0 < row["ratio_low"] < row["ratio"] < row["ratio_high"] < np.inf


def test_a_replicates_time_is_the_median_of_its_calls_and_the_mean_stands_beside_it(tmp_path: Path) -> None:
    calls = [1.0] * 2 + [2.0] * 9
    row = summary(folder(tmp_path, {LOOP: [calls] * 6})).loc[LOOP.key]
    assert row["seconds"] == pytest.approx(2.0)
    assert row["mean_seconds"] == pytest.approx(20 / 11)
    assert (row["replicates"], row["windows"], row["calls"]) == (6, 6, 66)


def test_what_slows_only_some_calls_is_in_the_ratio_of_the_means_and_not_in_that_of_typical_calls(
    tmp_path: Path,
) -> None:
    every_tenth = [1.0] * 9 + [4.0]
    row = summary(folder(tmp_path, {LOOP: [every_tenth] * 6, REFERENCE: [[1.0] * 10] * 6})).loc[LOOP.key]
    assert row["ratio"] == pytest.approx(1.0)
    assert row["mean_ratio"] == pytest.approx(1.3)
    assert row["has_slow_calls"]


@pytest.mark.parametrize(
    ("of_all", "of_quiet", "is_told"),
    [
        (2.6e-3, 2.6e-3, True),
        (2.6e-3, 2.0e-3, False),  # a shared core slows this case more than its reference
        (2.0e-3, 2.6e-3, False),  # it slows the reference more: the mean of all calls is not above the ratio
        (1.8e-3, 2.6e-3, False),
        (2.03e-3, 2.03e-3, False),  # unlike modules differ by that much
    ],
)
def test_an_undisturbed_case_has_slow_calls_if_they_are_slow_in_quiet_moments_and_in_all(
    tmp_path: Path, of_all: float, of_quiet: float, is_told: bool
) -> None:
    means = {LOOP: (2e-3, of_all, of_quiet), REFERENCE: (1e-3, 1e-3, 1e-3)}  # of fast, all and quiet blocks
    quiet: dict[str, Any] = {"pulses": 40, "quiet_pulses": 20, "best_pulse": 8e-6, "quiet_blocks": 20}
    windows = [
        replace(window(case, number, [9 * whole], turns=2), **quiet, quiet_seconds=in_quiet, quiet_low=(low,) * 5)
        for number in range(4)
        for case, (low, whole, in_quiet) in means.items()
    ]
    row = summary(written(tmp_path, measured(means), windows)).loc[LOOP.key]
    assert row["state"] == "undisturbed"
    assert [row["ratio"], row["mean_ratio"]] == pytest.approx([2.0, of_all / 1e-3], rel=1e-3)
    assert row["has_slow_calls"] == is_told


def test_one_stall_of_the_machine_is_no_slow_call(tmp_path: Path) -> None:
    one_stall = [[1.0] * 9 + [4.0], *[[1.0] * 10] * 5]
    row = summary(folder(tmp_path, {LOOP: one_stall, REFERENCE: [[1.0] * 10] * 6})).loc[LOOP.key]
    assert row["mean_ratio"] > 1.03
    assert not row["has_slow_calls"]


def test_counts_are_whole_numbers_and_rows_are_numbered_anew(tmp_path: Path) -> None:
    table = summarize(load(folder(tmp_path, {LOOP: [[2.0]] * 6}, [Measurement(SKIPPED, "skipped", "no loop")])))
    assert table[["replicates", "windows", "calls"]].to_numpy().tolist() == [[6, 6, 6], [0, 0, 0]]
    assert all(table[column].dtype == int for column in ("replicates", "windows", "calls"))
    assert table.index.tolist() == [0, 1]
    assert (table["reason"][1], np.isnan(table["seconds"][1])) == ("no loop", True)
    assert "index" not in table


# name -> kernels of a call, host and device microseconds for each, device microseconds of a last one, is launch-bound
CALLS = {
    "short, device busy": (10, 5, 20, 0, False),
    "short, device nearly waiting": (10, 18, 20, 0, False),
    "short, device waiting": (10, 20, 5, 0, True),
    "one kernel": (1, 20, 30_000, 0, False),
    "long, device busy, queue full": (25_000, 2, 4, 0, False),
    "many launches, device busy, queue full": (2_000, 2, 4, 0, False),
    "long, device waiting": (5_000, 10, 2, 0, True),
    "device waiting until the last kernel, which is long": (500, 10, 2, 900, True),
}


@pytest.mark.parametrize("cold", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_a_device_that_the_host_keeps_waiting_is_launch_bound(tmp_path: Path, name: str, cold: bool) -> None:
    count, host, gpu, last, is_bound = CALLS[name]
    is_bound &= not (cold and last)  # a cold call ends with its last kernel, while the host queues nothing
    line = FakeLine()
    device, call = FakeCuda(line), kernels(line, count, host * 1e-6, gpu * 1e-6, last * 1e-6)
    row = _measured(tmp_path, device, call, cold=cold)
    assert row["launch_bound"] == is_bound
    assert 0 < row["submit_share"] < 1


@pytest.mark.parametrize("cold", [False, True])
def test_a_processor_is_never_launch_bound(tmp_path: Path, cold: bool) -> None:
    device, call = fake_cpu(noisy(1e-3, spread=0.3))
    device.flush = lambda: None  # type: ignore[method-assign]
    row = _measured(tmp_path, device, call, cold=cold)
    assert not row["launch_bound"]
    assert row["submit_share"] == 1


def _measured(folder: Path, device: Device, call: Callable[[], object], *, cold: bool) -> dict[Any, Any]:
    """The summary row of a case with two windows in each of two replicates."""
    case = small.case("gru", device=device.name, caches="cold" if cold else "warm")
    plan, windows = calibrate(device, call, 0.01, cold=cold), []
    for replicate in range(2):
        for order in range(2):
            batches = plan.batches
            clocked = device.clock_cold(call, batches) if cold else device.clock(call, batches, plan.batch)
            reading: dict[str, Any] = {"quantiles": tuple(sorted(clocked.batch_seconds)), "batch": plan.batch}
            reading |= {name: getattr(clocked, name) for name in ("seconds", "host_seconds", "submit_seconds")}
            stored = window(case, replicate, [1.0] * plan.calls, turns=2)
            windows.append(replace(stored, order=order, **reading))
    [row] = summary(written(folder, measured([case]), windows)).to_dict("records")
    return row


def test_a_visit_that_was_cut_off_and_made_again_counts_once(tmp_path: Path) -> None:
    windows = [window(LOOP, 0, [50.0], worker="0000", turns=2)]
    for worker, replicate in (("0001", 0), ("0002", 1)):
        windows.append(window(LOOP, replicate, [3.0], worker=worker, turns=2))
        windows.append(window(REFERENCE, replicate, [1.0], worker=worker, turns=2))
    row = summary(written(tmp_path, measured([LOOP, REFERENCE]), windows)).loc[LOOP.key]
    assert row["ratio"] == pytest.approx(3.0)
    assert row["windows"] == 2


def test_two_runs_side_by_side_do_not_mix(tmp_path: Path) -> None:
    paths = [
        folder(tmp_path, {LOOP: [[factor * layer]] * count, REFERENCE: [[layer]] * count})
        for factor, layer, count in ((2.0, 1.0, 6), (5.0, 3.0, 4))
    ]
    table = summarized(joined([read_run_times(path) for path in paths]))
    known = summarize(load(paths))
    pd.testing.assert_frame_equal(known, with_categories(with_sentences(table))[[*known]])
    assert table[table["case"] == LOOP.key]["ratio"].tolist() == pytest.approx([2.0, 5.0])
    assert table["replicates"].tolist() == [6, 6, 4, 4]


def test_without_references_the_fastest_of_a_group_is_one(tmp_path: Path) -> None:
    first, second, third = (small.case(cell, reference="none") for cell in ("vanilla", "gru", "lstm"))
    alone = small.case("gru", reference="none", batch_size=7)
    slow = [1.0, 3.0] * 3
    times = {case: [[factor * s] for s in slow] for case, factor in ((first, 2.0), (second, 1.0), (third, 1.5))}
    rows = summary(folder(tmp_path, {**times, alone: [[1.0]] * 6})).to_dict("index")
    assert [rows[second.key][name] for name in ("ratio", "ratio_low", "ratio_high")] == [1.0, 1.0, 1.0]
    assert rows[first.key]["ratio"] == pytest.approx(2.0)
    assert rows[third.key]["ratio"] == pytest.approx(1.5)
    assert np.isnan(rows[alone.key]["ratio"])


def test_where_others_have_a_reference_a_group_without_one_has_times_alone(tmp_path: Path) -> None:
    first, second = (small.case(cell, reference="none") for cell in ("vanilla", "gru"))
    times = {LOOP: [[2.0]] * 6, REFERENCE: [[1.0]] * 6, first: [[2.0]] * 6, second: [[1.0]] * 6}
    table = summary(folder(tmp_path, times))
    assert table.loc[LOOP.key, "ratio"] == pytest.approx(2.0)
    assert table.loc[[first.key, second.key], "ratio"].isna().all()


CASES = [
    case
    for size in range(1, 41)
    for case in (small.case("gru", batch_size=size), small.reference_case("gru", batch_size=size))
]


def run(parent: Path, spread: float, slope: float = 0.0, replicates: int = 6, turns: int = 4) -> Path:
    """A run whose windows take a millisecond, with noise of the given spread and a drift over replicates."""
    rng, windows = random.Random(1), []
    for replicate in range(replicates):
        for case in CASES:
            for order in range(turns):
                seconds = 1e-3 * math.exp(rng.gauss(0, spread) + slope * replicate)
                windows.append(replace(window(case, replicate, [seconds], turns=2 * turns), order=order))
    return written(parent, measured(CASES), windows)


@pytest.mark.parametrize("spread", [0.001, 0.01, 0.05])
def test_the_floor_grows_with_the_noise_of_the_windows(tmp_path: Path, spread: float) -> None:
    result = noise(read_run_times(run(tmp_path, spread)))
    # The smaller of two windows over the smaller of two others, in six replicates: about 1.5 standard deviations.
    assert spread < result.floor < 2 * spread
    assert result.floor <= result.worst
    assert result.cases == len(CASES)


ABBA = (0, 1, 1, 0, 0, 1, 1, 0)  # the half of each turn


def made_up(times: dict[int, list[list[float]]]) -> RunTimes:
    """The times of windows with one call each: `times[batch_size][replicate]` are the seconds of its turns."""
    windows = []
    for size, replicates in times.items():
        case = small.case("gru", batch_size=size)
        for replicate, turns in enumerate(replicates):
            unordered = [window(case, replicate, [seconds], turns=len(turns)) for seconds in turns]
            windows += [(case, replace(one, order=order)) for order, one in enumerate(unordered)]
    return times_of(windows)


def test_turns_are_dealt_out_to_two_halves_that_change_places_from_replicate_to_replicate() -> None:
    slower = [2.0 if half else 1.0 for half in ABBA]
    ratios = made_up({1: [slower, slower]}).replicates
    assert ratios["self_log_ratio"].tolist() == pytest.approx([math.log(2), -math.log(2)])


@pytest.mark.parametrize("replicates", [6, 4])
@pytest.mark.parametrize("slope", [0.0, 0.01, -0.02])
def test_a_machine_that_slows_down_is_seen_as_drift_and_not_as_noise(
    tmp_path: Path, slope: float, replicates: int
) -> None:
    result = noise(read_run_times(run(tmp_path, 0.001, slope, replicates)))
    apart = {6: 4, 4: 3}[replicates]  # replicates from the middle of the first third to the middle of the last
    assert result.drift == pytest.approx(math.expm1(apart * slope), abs=0.002)
    assert result.floor < 0.01


@pytest.mark.parametrize(("replicates", "turns"), [(0, 4), (1, 4), (3, 1)])
def test_too_little_data_tells_nothing(tmp_path: Path, replicates: int, turns: int) -> None:
    result = noise(read_run_times(run(tmp_path, 0.01, replicates=replicates, turns=turns)))
    assert math.isnan(result.floor)
    assert result.cases == 0


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


def test_the_interval_of_a_share_is_that_of_as_many_steps_as_replicates_that_differ_are_worth() -> None:
    """By the formulas of Korn and Graubard (1998): the share is 2%, in replicates of 1, 2 and 3%."""
    apart = 3 / 2 * (10**2 + 10**2) / 3000**2
    worth = 3000 / (apart / (0.02 * 0.98 / 3000)) * (stats.t.ppf(0.975, 2999) / stats.t.ppf(0.975, 2)) ** 2
    hits = 0.02 * worth
    expected = stats.beta.ppf(0.025, hits, worth - hits + 1), stats.beta.ppf(0.975, hits + 1, worth - hits)
    assert share_of([10, 20, 30], [1000] * 3) == pytest.approx((0.02, *expected))


def test_late_steps_that_come_together_tell_less() -> None:
    spread, together = share_of([10, 10, 10], [1000] * 3), share_of([30, 0, 0], [1000] * 3)
    assert spread[0] == together[0] == 0.01
    assert together[1] < spread[1]
    assert spread[2] < together[2]
