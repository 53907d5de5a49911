import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.harness.check.window_count import (
    EXPECTED_SPREAD,
    MAX_WINDOWS,
    MIN_WINDOWS,
    Spread,
    WindowVariances,
    window_count,
)
from rnnbench.store.records import Window
from tests.doubles import workload as small
from tests.doubles.stored import window

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


def spread(variances: WindowVariances) -> Spread:
    return variances.spread([case.key for case in CASES])


@pytest.mark.parametrize(("within", "between"), [(0.02, 0.01), (0.01, 0.01), (0.004, 0.02)])
@pytest.mark.parametrize("windows", [2, 4])
def test_the_variances_are_told_apart(within: float, between: float, windows: int) -> None:
    rng, variances = np.random.default_rng(3), WindowVariances()
    for _ in range(60):
        variances.add(pair(rng, within, between, windows))
    assert 0.7 < spread(variances).windows / within**2 < 1.4
    assert 0.5 < spread(variances).pairs / between**2 < 2


def test_a_first_pair_shows_how_windows_vary_but_not_how_pairs_do() -> None:
    variances = WindowVariances()
    assert spread(variances) == Spread(0.0, 0.0)
    variances.add(pair(np.random.default_rng(0), 0.02, 0.03, windows=4))
    assert 0.5 < spread(variances).windows / 0.02**2 < 2
    assert spread(variances).pairs == EXPECTED_SPREAD**2


def test_pairs_that_do_not_differ_are_still_thought_to_differ_a_little() -> None:
    rng, variances = np.random.default_rng(4), WindowVariances()
    for _ in range(4):
        variances.add(pair(rng, 0.02, 0.0))
    assert 2 < spread(variances).windows / spread(variances).pairs < 25


def test_only_the_cases_that_are_asked_for_count() -> None:
    rng, variances = np.random.default_rng(5), WindowVariances()
    noisy = CASES[0].key
    for _ in range(6):
        variances.add(pair(rng, 0.001, 0.001))
        variances.within[noisy][-1] = 0.5
    assert spread(variances).windows < 1e-5
    assert variances.spread([noisy]).windows == pytest.approx(0.5)


VARIANCES = st.floats(1e-7, 1e-2)


@given(st.builds(Spread, VARIANCES, VARIANCES), st.floats(0.005, 0.2), st.floats(0.01, 10), st.floats(1e-3, 1))
def test_no_other_number_of_windows_decides_sooner(
    spread: Spread, margin: float, pair_seconds: float, window_seconds: float
) -> None:
    def seconds(windows: int) -> float:
        needed = 9 * (spread.pairs + spread.windows / windows) / math.log(1 + margin) ** 2
        return max(8, needed) * (pair_seconds + windows * window_seconds)

    chosen = window_count(spread, margin, pair_seconds, window_seconds)
    assert chosen in range(MIN_WINDOWS, MAX_WINDOWS + 1, 2)
    assert seconds(chosen) <= min(map(seconds, range(MIN_WINDOWS, MAX_WINDOWS + 1, 2))) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("of_windows", "margin", "expected"),
    [
        (0.02, 0.025, 2),  # the eight pairs that `unchanged` takes are precise enough
        (0.06, 0.025, 4),  # two windows would take 26 pairs
        (0.02, 0.01, 4),
        (0.06, 0.1, 2),
    ],
)
def test_more_windows_are_for_what_eight_pairs_do_not_show(of_windows: float, margin: float, expected: int) -> None:
    assert window_count(Spread(of_windows**2, 0.005**2), margin, 0.1, 0.04) == expected


def test_a_smaller_margin_never_takes_fewer_windows() -> None:
    counts = [window_count(Spread(0.02**2, 0.005**2), margin, 0.1, 0.04) for margin in (0.1, 0.05, 0.025, 0.01, 0.005)]
    assert all(more >= fewer for fewer, more in pairwise(counts))
    assert counts[0] < counts[-1]


@pytest.mark.parametrize(
    "unknown", [(0.0, 0.025, 1.0, 1.0), (math.nan, 0.025, 1.0, 1.0), (1.0, 0.0, 1.0, 1.0), (1.0, 0.025, 0.0, 1.0)]
)
def test_where_nothing_is_known_there_are_the_fewest(unknown: tuple[float, float, float, float]) -> None:
    windows, margin, pair_seconds, window_seconds = unknown
    assert window_count(Spread(windows, 1.0), margin, pair_seconds, window_seconds) == MIN_WINDOWS
