"""Numbers as a reader sees them."""

import math
from collections.abc import Callable
from functools import partial

import pytest

from rnnbench.analysis.estimate import Estimate
from rnnbench.report.words.units import (
    between,
    change,
    change_interval,
    change_span,
    duration,
    duration_interval,
    half_width,
    percent,
    quantity,
    ratio_box,
    ratio_interval,
    ratio_with_interval,
    round_percent,
    whole_percent,
)

Write = Callable[..., str]
WRITTEN: dict[Write, dict[float, str]] = {
    duration: {
        1.234e-3: "1.23 ms",
        9.996e-6: "10.0 µs",
        999.6e-6: "1.00 ms",  # never 1,000 µs
        45e-9: "45.0 ns",
        0.1: "100 ms",
        4321: "4,321 s",
        math.nan: "—",
    },
    half_width: {
        0.051: "±5.1%",
        0.0: "±0.0%",
        0.6: "±60%",
        1.4: "±140%",
        9791.54: "±>9,999%",  # not ±979154%
        math.inf: "not known",
        math.nan: "not known",
        -0.1: "not known",
    },
    percent: {
        0.051: "5.1%",
        -0.0994: "9.9%",
        0.0996: "10%",
        11.5: "1,150%",
        -0.996: "99.6%",  # 250 times as fast takes some time still
        -1.0: "100%",
        1e30: ">9,999%",
        math.nan: "—",
    },
    whole_percent: {0.353: "35%", -0.02: "-2%", -0.002: "0%", math.nan: "—"},
    round_percent: {0.00123: "0.123%", 0.025: "2.5%", 0.05: "5%", 1e-7: "<0.0001%"},
    partial(quantity, unit="count"): {1234: "1,234", 9_999.4: "9,999", 17_104_896: "17.1 M", 999_600: "1.00 M"},
    partial(quantity, unit="bytes"): {4096: "4.10 kB", 0: "0 B"},
    partial(quantity, unit="joules"): {0.0123: "12.3 mJ", 4.5e-6: "4.50 µJ", math.nan: "—"},
    partial(quantity, unit="per second"): {12.3e9: "12.3 G/s", 41.5: "41.5 /s"},
    partial(quantity, unit="seconds"): {3.2e-6: "3.20 µs"},
    partial(quantity, unit="times"): {3.468: "3.47×"},
    ratio_box: {0.954: "0.95", 1.004: "1.00", 1.997: "2.0", 6.88: "6.9", 9.96: "10", 123.4: "123"},  # finest about 1
    change: {
        1.051: "+5.1%",
        0.988: "-1.2%",
        1.58: "+58%",
        12.5: "+1,150%",
        1.0004: "0.0%",
        0.9996: "0.0%",
        math.nan: "",
        math.inf: "",
        9794.54: "over 100×",  # not +979354%
        1e130: "over 100×",
        0.0: "-100%",
    },
}


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [(write, value, text) for write, texts in WRITTEN.items() for value, text in texts.items()],
)
def test_a_number_has_the_digits_and_the_unit_that_a_reader_needs(write: Write, value: float, text: str) -> None:
    assert write(value) == text


@pytest.mark.parametrize(
    ("write", "low", "high", "text"),
    [
        (ratio_interval, 2.3e-16, 4.3112e15, "—"),  # says nothing
        (ratio_interval, 0.5, 4.3112e15, "0.500–>1,000,000"),
        (ratio_interval, 1e-7, 2.0, "<0.0001–2.00"),
        (ratio_interval, 1.311, 1.312, "1.31"),
        (ratio_interval, 1.0, math.nan, "—"),
        (duration_interval, math.nan, 1.0, "—"),
        (partial(ratio_with_interval, 1.31), 1.25, 1.37, "1.31× (1.25–1.37)"),
        (partial(ratio_with_interval, 1.31), math.nan, math.nan, "1.31× (no interval)"),
    ],
)
def test_an_interval_has_no_exponent_and_no_equal_ends(write: Write, low: float, high: float, text: str) -> None:
    assert write(low, high) == text


@pytest.mark.parametrize(
    ("write", "low", "high", "text"),
    [
        (between, 0.988, 1.039, "between 1.2% faster and 3.9% slower"),
        (between, 1.01, 1.039, "between 1.0% slower and 3.9% slower"),
        (between, 0.95, 0.98, "between 5.0% faster and 2.0% faster"),
        (between, 0.95, 1.0001, "between 5.0% faster and 0.0% different"),
        (between, 0.9999, 1.0001, "0.0% different"),
        (between, 1.0501, 1.0502, "5.0% slower"),  # ends that are written alike are written once
        (between, 0.81, 1e9, "between 19% faster and over 100× slower"),
        (change_interval, 1.0501, 1.0502, "[+5.0%]"),
        (change_span, 1.0501, 1.0502, "+5.0%"),
    ],
)
def test_a_change_is_a_span_in_words(write: Write, low: float, high: float, text: str) -> None:
    assert write(Estimate(1.05, low, high)) == text
