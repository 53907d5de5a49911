import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.analysis.verdict import Judged
from rnnbench.report.words import changes
from tests.report.verdicts.samples import estimate


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
    assert changes.change(ratio) == text


@given(st.floats(0.01, 100))
def test_a_change_reads_back(ratio: float) -> None:
    read = 1 + float(changes.change(ratio).rstrip("%").replace(",", "")) / 100
    assert read == pytest.approx(ratio, abs=0.00051 if abs(ratio - 1) < 0.099 else 0.0051)


def test_an_interval_that_is_not_known_is_empty() -> None:
    assert changes.change_interval(estimate(1.05, 1.042, 1.06)) == "[+4.2%, +6.0%]"
    assert changes.change_interval(estimate(1.05, math.nan, math.nan)) == ""


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
    assert changes.between(estimate(1.0, low, high)) == text


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
    assert changes.change(ratio) == text


def test_ends_that_are_written_alike_are_written_once() -> None:
    narrow = estimate(1.05, 1.0501, 1.0502)
    assert changes.change_interval(narrow) == "[+5.0%]"
    assert changes.change_span(narrow) == "+5.0%"
    assert changes.between(narrow) == "5.0% slower"
    assert changes.between(estimate(2.0, 0.81, 1e9)) == "between 19% faster and over 100× slower"


def test_a_change_between_runs_says_that_the_mean_decided() -> None:
    low, mean = estimate(2.07, 0.81, 5.27), estimate(2.5, 1.9, 3.3)
    assert changes.change_with_interval(Judged("regressed", low, mean, "mean")) == "+150% in the mean [+90%, +230%]"
    assert (
        changes.change_with_interval(Judged("regressed", low, estimate(0.9, 0.8, 1.0), "low")) == "+107% [-19%, +427%]"
    )
