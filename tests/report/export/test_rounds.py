"""The statistics of rounds, compared with those of pytest-benchmark."""

from importlib.metadata import version

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_benchmark.stats import Stats

from rnnbench.report.export.rounds import stats

TIMES = st.lists(st.floats(1e-7, 10.0), min_size=1, max_size=30)


@given(TIMES)
def test_every_field_is_there_and_agrees_with_pytest_benchmarks(rounds: list[float]) -> None:
    theirs = Stats()
    for seconds in rounds:
        theirs.update(seconds)
    expected, ours = theirs.as_dict(), stats(rounds)
    assert set(ours) == set(expected) | {"data"}
    # For 4 k + 1 values, pytest-benchmark 5.3 swaps the weights of the third quartile's two neighbours. With as few
    # rounds as a run has, the difference shows.
    of_quartiles = {"q3", "iqr", "iqr_outliers", "outliers", "ld15iqr", "hd15iqr"}
    compared = set(expected) - (of_quartiles if len(rounds) % 4 == 1 and len(rounds) > 1 else set())
    # A value on a fence may fall on either side of it, because sums in another order round differently.
    for name in compared - {"outliers", "iqr_outliers", "stddev_outliers", "ld15iqr", "hd15iqr"}:
        assert ours[name] == pytest.approx(expected[name], rel=1e-9, abs=1e-12), name


def test_outliers_are_counted_as_pytest_benchmark_counts_them() -> None:
    rounds = [1.0, 1.1, 1.2, 1.3, 1.1, 1.2, 1.0, 9.0]
    theirs = Stats()
    theirs.data = list(rounds)
    # Before 5.3, `hd15iqr` was the highest value of the whole sample if all outliers were above.
    names = ["iqr_outliers", "stddev_outliers", "outliers", "ld15iqr"]
    names += ["hd15iqr"] if version("pytest-benchmark") >= "5.3" else []
    assert {name: stats(rounds)[name] for name in names} == {name: theirs.as_dict()[name] for name in names}


def test_the_quartiles_lie_as_far_from_either_end() -> None:
    forwards, backwards = stats([1.0, 2.0, 4.0, 8.0, 16.0]), stats([-1.0, -2.0, -4.0, -8.0, -16.0])
    assert (forwards["q1"], forwards["q3"]) == (-backwards["q3"], -backwards["q1"])
