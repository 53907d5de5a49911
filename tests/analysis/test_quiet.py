"""The low quantile of quiet blocks: what is kept of them, equal numbers on both sides, and what few blocks say."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats.mstats import hdquantiles

from rnnbench.analysis.quiet import (
    BINS,
    MAX_PARTS,
    MAX_QUIET_BLOCKS,
    MIN_QUIET_BLOCKS,
    QUANTILE,
    QuietBlocks,
    counted_blocks,
    low_logs,
    low_parts,
    weights,
)
from rnnbench.analysis.replicate_times import Times, undisturbed_log_ratio

seconds = st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=200).map(sorted)


def quiet(*windows: list[float]) -> QuietBlocks:
    """The quiet blocks of windows, as a worker and a reader make them."""
    found = QuietBlocks.from_windows(
        [low_parts(sorted(each)) for each in windows],
        [len(each) for each in windows],
        [float(np.mean(each)) for each in windows],
    )
    assert found is not None
    return found


def times(blocks: QuietBlocks | None) -> Times:
    return Times(np.zeros(49), 1.0, blocks)


def log_quantile(blocks: QuietBlocks, number: int) -> float:
    return float(blocks.logs @ weights(number))


@given(seconds)
def test_what_a_window_keeps_are_means_of_its_fastest_blocks_in_order(blocks: list[float]) -> None:
    parts = low_parts(blocks)
    assert 1 <= len(parts) <= MAX_PARTS
    assert list(parts) == sorted(parts)
    assert blocks[0] <= parts[0] * (1 + 1e-12)
    assert parts[-1] <= blocks[math.ceil(0.25 * len(blocks)) - 1] * (1 + 1e-12)


def test_a_window_without_a_quiet_block_keeps_nothing() -> None:
    assert low_parts([]) == ()
    assert QuietBlocks.from_windows([(), ()], [0, 0], [0.0, 0.0]) is None


@pytest.mark.parametrize("number", [MIN_QUIET_BLOCKS, 15, MAX_QUIET_BLOCKS])
def test_the_quantile_is_the_one_of_harrell_and_davis(number: int) -> None:
    blocks = np.sort(1 + np.random.default_rng(1).exponential(0.05, number))
    [expected] = np.asarray(hdquantiles(blocks, [QUANTILE]))
    assert math.exp(log_quantile(quiet(list(blocks)), number)) == pytest.approx(expected, rel=2e-3)
    assert weights(number).sum() == pytest.approx(1)


@given(seconds, st.floats(0.01, 100))
def test_a_case_that_is_slower_by_a_factor_has_this_ratio(blocks: list[float], factor: float) -> None:
    blocks = blocks * MIN_QUIET_BLOCKS
    ratio, number = undisturbed_log_ratio(times(quiet([factor * each for each in blocks])), times(quiet(blocks)))
    assert ratio == pytest.approx(math.log(factor), abs=1e-9)
    assert number == min(len(blocks), MAX_QUIET_BLOCKS)


@given(seconds.filter(lambda blocks: len(blocks) > 1), st.integers(1, 10))
def test_two_windows_tell_about_the_same_as_one_with_all_their_blocks(blocks: list[float], at: int) -> None:
    at = min(at, len(blocks) - 1)
    both, whole = quiet(blocks[:at], blocks[at:]), quiet(blocks)
    assert both.blocks == whole.blocks
    assert both.mean == pytest.approx(whole.mean)
    assert both.logs[0] >= math.log(blocks[0]) - 1e-9


@pytest.mark.parametrize(("case", "reference", "counted"), [(5, 100, 0), (6, 100, 6), (100, 9, 9), (300, 400, 40)])
def test_both_sides_count_as_having_equally_many_blocks(case: int, reference: int, counted: int) -> None:
    assert counted_blocks(np.array([case]), np.array([reference])).tolist() == [counted]


def test_too_few_quiet_blocks_on_one_side_give_no_ratio() -> None:
    few, many = quiet([1.0] * (MIN_QUIET_BLOCKS - 1)), quiet([1.0] * 50)
    for case, reference in ((few, many), (many, few), (None, many), (many, None)):
        ratio, number = undisturbed_log_ratio(times(case), times(reference))
        assert math.isnan(ratio)
        assert number == 0


@pytest.mark.parametrize("fewer", [6, 20])
def test_a_side_with_fewer_blocks_does_not_look_slower(fewer: int) -> None:
    """A plain quantile leans more: that of few blocks is higher."""
    rng = np.random.default_rng(5)

    def blocks(number: int) -> list[float]:
        disturbed = rng.random(number) < 0.2
        return list(1 + rng.exponential(0.02, number) + np.where(disturbed, rng.exponential(0.3, number), 0))

    ratios, plain = [], []
    for _ in range(400):
        few, many = blocks(fewer), blocks(200)
        ratios.append(undisturbed_log_ratio(times(quiet(few)), times(quiet(many)))[0])
        plain.append(np.log(np.quantile(few, QUANTILE) / np.quantile(many, QUANTILE)))
    assert abs(np.mean(ratios)) < 0.005
    assert abs(np.mean(ratios)) < 0.8 * np.mean(plain)


def test_groups_of_windows_are_reduced_together_as_they_are_alone() -> None:
    rng = np.random.default_rng(2)
    windows = [sorted(rng.uniform(1, 2, number)) for number in (3, 0, 40, 7, 1)]
    groups = np.array([0, 0, 1, 1, 3])
    low = [low_parts(each) for each in windows]
    sizes, blocks = np.array(list(map(len, low))), np.array(list(map(len, windows)))
    logs = low_logs(groups, sizes, np.array([value for parts in low for value in parts]), blocks)
    assert logs.shape == (4, BINS)
    assert np.isnan(logs[2]).all()  # no window
    assert logs[0] == pytest.approx(quiet(list(windows[0])).logs)
    assert logs[1] == pytest.approx(quiet(list(windows[2]), list(windows[3])).logs)
    assert logs[3] == pytest.approx(quiet(list(windows[4])).logs)
