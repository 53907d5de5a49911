from dataclasses import replace

import pytest

from rnnbench.report.precision import missed, waits
from tests.stored import INFO


@pytest.mark.parametrize(
    ("low", "high", "asked", "words"),
    [
        (1.97, 2.03, 0.02, ""),
        (1.95, 2.05, 0.02, "interval wider than ±2%"),
        (1.99, 2.01, 0.004, "interval wider than ±0.4%"),
        (1.0, 3.0, None, ""),
        (float("nan"), float("nan"), 0.02, ""),
    ],
)
def test_a_ratio_is_marked_where_it_is_wider_than_asked(
    low: float, high: float, asked: float | None, words: str
) -> None:
    info = replace(INFO, resolved={"measure": {"precision": asked}})
    assert missed({"ratio": 2.0, "ratio_low": low, "ratio_high": high}, info) == words


def test_a_run_that_says_nothing_of_precision_marks_nothing() -> None:
    assert missed({"ratio": 2.0, "ratio_low": 1.0, "ratio_high": 3.0}, INFO) == ""


@pytest.mark.parametrize(
    ("row", "is_told"),
    [
        ({"launch_bound": True}, True),
        ({"launch_bound": False}, False),
        ({"launch_bound": float("nan")}, False),
        ({}, False),
    ],
)
def test_a_case_whose_device_waits_for_the_host_is_told_of(row: dict[str, object], is_told: bool) -> None:
    assert bool(waits(row)) == is_told
