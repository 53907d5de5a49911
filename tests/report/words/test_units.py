import math
from collections.abc import Callable

import pytest

from rnnbench.analysis.verdict import Judged
from rnnbench.report.words import units
from rnnbench.store.metrics import Unit
from tests.report.verdicts.samples import estimate

UNIT_SECONDS = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
UNIT_BYTES = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1.234e-3, "1.23 ms"),
        (9.996e-6, "10.0 µs"),
        (999.6e-6, "1.00 ms"),  # never 1,000 µs
        (45e-9, "45.0 ns"),
        (0.1, "100 ms"),
        (4321, "4,321 s"),
        (math.nan, "—"),
    ],
)
def test_a_duration_has_three_digits_and_a_fitting_unit(seconds: float, text: str) -> None:
    assert units.duration(seconds) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (2.3e-16, 4.3112e15, "—"),  # says nothing
        (0.5, 4.3112e15, "0.500–>1,000,000"),
        (1e-7, 2.0, "<0.0001–2.00"),
        (1.311, 1.312, "1.31"),
    ],
)
def test_an_interval_of_ratios_has_no_exponent_and_no_equal_ends(low: float, high: float, text: str) -> None:
    assert units.ratio_interval(low, high) == text


def test_a_ratio_with_its_interval_says_where_there_is_none() -> None:
    assert units.ratio_with_interval(1.31, 1.25, 1.37) == "1.31× (1.25–1.37)"
    assert units.ratio_with_interval(1.31, math.nan, math.nan) == "1.31× (no interval)"


@pytest.mark.parametrize(
    ("half", "text"),
    [
        (0.051, "±5.1%"),
        (0.0, "±0.0%"),
        (0.6, "±60%"),
        (1.4, "a factor of 2"),
        (98.7, "a factor of 100"),
        (9791.54, "more than a factor of 100"),  # not ±979154%
        (math.inf, "more than a factor of 100"),
        (math.nan, "not known"),
        (-0.1, "not known"),
    ],
)
def test_a_half_width_is_a_percentage_a_factor_or_not_known(half: float, text: str) -> None:
    assert units.half_width(half) == text


@pytest.mark.parametrize("ends", [(math.nan, 1.0), (1.0, math.nan), (math.nan, math.nan)])
def test_an_interval_that_is_not_known_is_a_dash(ends: tuple[float, float]) -> None:
    assert units.ratio_interval(*ends) == units.duration_interval(*ends) == "—"


@pytest.mark.parametrize(
    ("write", "share", "text"),
    [
        (units.percent, 0.051, "5.1%"),
        (units.percent, -0.0994, "9.9%"),
        (units.percent, 0.0996, "10%"),
        (units.percent, 11.5, "1,150%"),
        (units.percent, -0.996, "99.6%"),  # 250 times as fast takes some time still
        (units.percent, -0.9997, "99.9%"),
        (units.percent, -1.0, "100%"),
        (units.percent, 1e30, ">9,999%"),
        (units.percent, math.nan, "—"),
        (units.whole_percent, 0.353, "35%"),
        (units.whole_percent, -0.02, "-2%"),
        (units.whole_percent, -0.002, "0%"),
        (units.whole_percent, math.nan, "—"),
        (units.round_percent, 0.00123, "0.123%"),
        (units.round_percent, 0.025, "2.5%"),
        (units.round_percent, 0.05, "5%"),
        (units.round_percent, 1e-7, "<0.0001%"),
    ],
)
def test_a_share_is_a_percentage_as_fine_as_it_is_needed(
    write: Callable[[float], str], share: float, text: str
) -> None:
    assert write(share) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1234, "count", "1,234"),
        (9_999.4, "count", "9,999"),
        (17_104_896, "count", "17.1 M"),
        (999_600, "count", "1.00 M"),
        (4096, "bytes", "4.10 kB"),
        (0, "bytes", "0 B"),
        (0.0123, "joules", "12.3 mJ"),
        (4.5e-6, "joules", "4.50 µJ"),
        (12.3e9, "per second", "12.3 G/s"),
        (41.5, "per second", "41.5 /s"),
        (3.2e-6, "seconds", "3.20 µs"),
        (3.468, "times", "3.47×"),
        (math.nan, "joules", "—"),
    ],
)
def test_a_quantity_has_its_unit(value: float, unit: Unit, text: str) -> None:
    assert units.quantity(value, unit) == text


@pytest.mark.parametrize(
    ("ratio", "text"), [(0.954, "0.95"), (1.004, "1.00"), (1.997, "2.0"), (6.88, "6.9"), (9.96, "10"), (123.4, "123")]
)
def test_boxes_of_a_heat_map_are_finest_about_1(ratio: float, text: str) -> None:
    assert units.ratio_box(ratio) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (1.051, "+5.1%"),
        (0.988, "-1.2%"),
        (1.58, "+58%"),
        (12.5, "+1,150%"),
        (1.0004, "0.0%"),
        (0.9996, "0.0%"),
        (math.nan, ""),
        (math.inf, ""),
    ],
)
def test_a_change_has_its_sign_and_a_decimal_below_ten_percent(ratio: float, text: str) -> None:
    assert units.change(ratio) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.988, 1.039, "between 1.2% faster and 3.9% slower"),
        (1.01, 1.039, "between 1.0% and 3.9% slower"),
        (0.95, 0.98, "between 5.0% and 2.0% faster"),
        (1.0, 1.039, "between 0.0% and 3.9% slower"),
        (0.95, 1.0001, "between 5.0% faster and 0.0%"),
        (0.9999, 1.0001, "0.0% different"),
    ],
)
def test_a_span_in_words(low: float, high: float, text: str) -> None:
    assert units.between(estimate(1.0, low, high)) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (9794.54, "over 100×"),  # not +979354%
        (1e130, "over 100×"),
        (1e-130, "-99.9%"),  # no time is 100% less
        (0.0, "-100%"),  # a count can be
    ],
)
def test_a_change_that_says_nothing_more_is_a_bound(ratio: float, text: str) -> None:
    assert units.change(ratio) == text


def test_ends_that_are_written_alike_are_written_once() -> None:
    narrow = estimate(1.05, 1.0501, 1.0502)
    assert units.change_interval(narrow) == "[+5.0%]"
    assert units.change_span(narrow) == "+5.0%"
    assert units.between(narrow) == "5.0% slower"
    assert units.between(estimate(2.0, 0.81, 1e9)) == "between 19% faster and over 100× slower"


def test_a_change_between_runs_says_that_the_mean_decided() -> None:
    low, mean = estimate(2.07, 0.81, 5.27), estimate(2.5, 1.9, 3.3)
    assert units.change_with_interval(Judged("regressed", low, mean, "mean")) == "+150% in the mean [+90%, +230%]"
    assert units.change_with_interval(Judged("regressed", low, estimate(0.9, 0.8, 1.0), "low")) == "+107% [-19%, +427%]"
