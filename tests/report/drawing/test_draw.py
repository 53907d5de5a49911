"""Ticks and names that have room."""

import math

import pytest

from rnnbench.report.drawing.draw import among, limits, round_numbers, short


def test_numbers_below_an_axis_keep_both_ends_and_do_not_touch() -> None:
    assert among([1, 32], 1, 32, 10) == [1, 32]
    assert among([8], 7, 9, 10) == [8]
    kept = among([1, 2, 4, 8, 16, 32, 64, 100, 128, 256, 512, 1000], 1, 1000, 10)
    assert (kept[0], kept[-1]) == (1, 1000)
    assert not {100, 512} & set(kept)


@pytest.mark.parametrize(("low", "high"), [(0.98, 1.03), (0.5, 12), (1e-6, 3), (1.0, 1.0001), (3e-3, 5e3)])
def test_a_log_axis_has_some_round_numbers_but_not_many(low: float, high: float) -> None:
    numbers = round_numbers(low, high, 7)
    assert 2 <= len(numbers) <= 8
    assert all(low <= number <= high for number in numbers)


def test_an_axis_has_room_for_all_that_is_known_and_is_never_too_short() -> None:
    low, high = limits([2.0, math.nan, 8.0, 0.0], around=1)
    assert 0.9 < low < 1
    assert 8 < high < 9
    low, high = limits([1.001, 0.999])
    assert high / low > 1.1


def test_a_long_name_keeps_both_ends() -> None:
    assert short("lstm loop") == "lstm loop"
    assert short(f"package.{'x' * 200}.cells:MyLSTM loop", 30) == "package.xx…x.cells:MyLSTM loop"
