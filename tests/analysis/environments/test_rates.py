"""Which measured rates differ, and how it is said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.analysis.environments.rates import MIN_APART, Rates, rate_differences
from rnnbench.store.ceilings import Rate

PLACE = ("cpu", "float32", 1)
rates = st.builds(Rate, st.floats(1e6, 1e13), st.floats(0, 3))


def only(value: float, spread: float = 0.0, name: str = "products by oneDNN") -> Rates:
    return {PLACE: {name: Rate(value, spread)}}


@pytest.mark.parametrize(
    ("base", "head", "differ"),
    [
        (only(100e9), only(100e9), False),
        (only(100e9), only(81e9), False),  # 23% apart, below the floor
        (only(100e9), only(79e9), True),
        (only(79e9), only(100e9), True),
        (only(100e9, 0.3), only(79e9), False),  # within its own spread
        (only(100e9, 0.2), only(75e9, 0.2), False),  # within both together
        (only(100e9, 0.2), only(60e9, 0.2), True),
        (only(100e9), only(50e9, name="products by BLAS"), False),  # nothing in common
        (only(100e9), {("cpu", "float64", 1): {"products by oneDNN": Rate(50e9, 0.0)}}, False),
        ({}, only(1e9), False),
    ],
)
def test_rates_differ_by_more_than_their_spreads_and_a_floor(base: Rates, head: Rates, differ: bool) -> None:
    assert bool(rate_differences(base, head)) == differ


def test_the_floor_is_the_callers() -> None:
    assert rate_differences(only(100e9), only(95e9), floor=0.02)
    assert not rate_differences(only(100e9), only(50e9), floor=2.0)


def test_the_rate_that_differs_most_is_named_and_the_others_counted() -> None:
    base = {
        PLACE: {"products by BLAS": Rate(127e9, 0.0), "copies of memory": Rate(12.34e9, 0.0)},
        ("cpu", "float64", 2): {"reads in cache": Rate(1.5e12, 0.0), "products by BLAS": Rate(1.0, 0.0)},
    }
    head = {
        PLACE: {"products by BLAS": Rate(55e9, 0.0), "copies of memory": Rate(12e9, 0.0)},
        ("cpu", "float64", 2): {"reads in cache": Rate(0.5e12, 0.0)},
    }
    assert rate_differences(base, head) == [
        "reads in cache reach 500 GB/s and reached 1,500 GB/s before (cpu float64, 2 threads), and 1 other rate differs"
    ]
    head[("cpu", "float64", 2)] = {}
    assert rate_differences(base, head) == [
        "products by BLAS reach 55 GMAC/s and reached 127 GMAC/s before (cpu float32, 1 thread)"
    ]
    assert rate_differences(only(12.34e9, name="copies of memory"), only(9e9, name="copies of memory")) == [
        "copies of memory reach 9 GB/s and reached 12.3 GB/s before (cpu float32, 1 thread)"
    ]


@given(rates, rates)
def test_neither_side_comes_first(one: Rate, other: Rate) -> None:
    there, back = ({PLACE: {"products by BLAS": rate}} for rate in (one, other))
    assert bool(rate_differences(there, back)) == bool(rate_differences(back, there))
    assert rate_differences(there, there) == []
    apart = max(one.value, other.value) / min(one.value, other.value) - 1
    if apart > (1 + one.spread) * (1 + other.spread) + MIN_APART:
        assert rate_differences(there, back)
