import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.harness.check.window_count import (
    EXPECTED_SPREAD,
    MAX_WINDOWS,
    MIN_WINDOWS,
    WindowVariances,
    window_count,
)
from rnnbench.store.records import Window
from tests import workload as small
from tests.stored import window

CASES = [small.case("gru", batch_size=number + 1) for number in range(24)]


def pair(rng: np.random.Generator, within: float, between: float, windows: int = 2) -> dict[str, list[Window]]:
    """A pair in which log-ratios of windows scatter by `within`, around a value that scatters by `between`."""
    made: dict[str, list[Window]] = {"base": [], "head": []}
    for case in CASES:
        shift = between * rng.standard_normal()
        for _ in range(windows):
            for side, centre in (("base", 0.0), ("head", shift)):
                seconds = 1e-3 * math.exp(centre + within / math.sqrt(2) * rng.standard_normal())
                made[side].append(window(case, 0, [seconds], turns=4))
    return made


@pytest.mark.parametrize(("within", "between"), [(0.02, 0.01), (0.01, 0.01), (0.004, 0.02)])
@pytest.mark.parametrize("windows", [2, 4])
def test_the_variances_are_told_apart(within: float, between: float, windows: int) -> None:
    rng, variances = np.random.default_rng(3), WindowVariances()
    for _ in range(60):
        variances.add(pair(rng, within, between, windows))
    assert 0.4 < variances.ratio / (within / between) ** 2 < 2.5


def test_a_first_pair_shows_how_windows_vary_but_not_how_pairs_do() -> None:
    variances = WindowVariances()
    assert variances.ratio == 0
    variances.add(pair(np.random.default_rng(0), 0.02, 0.03, windows=4))
    assert 0.5 < variances.ratio / (0.02 / EXPECTED_SPREAD) ** 2 < 2


def test_pairs_that_do_not_differ_are_still_thought_to_differ_a_little() -> None:
    rng, variances = np.random.default_rng(4), WindowVariances()
    for _ in range(4):
        variances.add(pair(rng, 0.02, 0.0))
    assert 2 < variances.ratio < 25


@given(st.floats(0.01, 100), st.floats(0.01, 10), st.floats(1e-3, 1))
def test_no_other_number_of_windows_is_much_better(ratio: float, pair_seconds: float, window_seconds: float) -> None:
    def variance_times_seconds(windows: int) -> float:
        return (1 + ratio / windows) * (pair_seconds + windows * window_seconds)

    chosen = window_count(ratio, pair_seconds, window_seconds)
    assert chosen in range(MIN_WINDOWS, MAX_WINDOWS + 1, 2)
    best = min(map(variance_times_seconds, range(MIN_WINDOWS, MAX_WINDOWS + 1, 2)))
    assert variance_times_seconds(chosen) <= 1.03 * best


@pytest.mark.parametrize("unknown", [(0.0, 1.0, 1.0), (math.nan, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 0.0)])
def test_where_nothing_is_known_there_are_the_fewest(unknown: tuple[float, float, float]) -> None:
    assert window_count(*unknown) == MIN_WINDOWS
