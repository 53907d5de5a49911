"""Numbers as a reader sees them, and every function that writes one, driven with numbers that no machine should give.

No text has `nan`, `inf`, an exponent, a percentage of more than four digits, a range of equal ends, or a count that
does not agree with its noun.
"""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnbench.analysis.comparison import RANKS, Finding
from rnnbench.analysis.estimate import Estimate
from rnnbench.report import case_tables as cases
from rnnbench.report.environment import reached
from rnnbench.report.facts import headline
from rnnbench.report.screen.terminal import head_line
from rnnbench.report.sentences import of_run, warning
from rnnbench.report.verdicts import outputs, verdicts
from rnnbench.report.verdicts.reasons import size_together, why
from rnnbench.report.words import units
from rnnbench.report.words.units import (
    FORMAT_OF_UNIT,
    between,
    change,
    change_interval,
    change_span,
    duration,
    duration_interval,
    half_width,
    percent,
    ratio_box,
    ratio_interval,
    ratio_with_interval,
    round_percent,
    whole_percent,
)
from rnnbench.store.run_info import RunInfo
from tests.doubles import screens
from tests.doubles.workload import case
from tests.report.conftest import Summaries
from tests.report.verdicts.samples import LARGER, comparison

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
    FORMAT_OF_UNIT["count"]: {1234: "1,234", 9_999.4: "9,999", 17_104_896: "17.1 M", 999_600: "1.00 M"},
    FORMAT_OF_UNIT["bytes"]: {4096: "4.10 kB", 0: "0 B"},
    FORMAT_OF_UNIT["joules"]: {0.0123: "12.3 mJ", 4.5e-6: "4.50 µJ", math.nan: "—"},
    FORMAT_OF_UNIT["per second"]: {12.3e9: "12.3 G/s", 41.5: "41.5 /s"},
    FORMAT_OF_UNIT["seconds"]: {3.2e-6: "3.20 µs"},
    FORMAT_OF_UNIT["times"]: {3.468: "3.47×"},
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


# Odd numbers


POSITIVE = st.one_of(
    st.sampled_from([1e-130, 1e-12, 1e-4, 0.9999, 1.0, 1.31, 99.6, 100.9, 9791.54, 1e6, 1e12, 1e130]),
    st.floats(0.5, 2.0),
)
ODD = st.one_of(POSITIVE, st.sampled_from([0.0, math.nan, math.inf]))
FEW = settings(max_examples=settings().max_examples // 5)
COUNTS = st.integers(1, 3)
NOUNS = "allocation|benchmark|call|case|comparison|file|group|interval|job|operator|pair|ratio|replicate|round|row|run"
FAULTS = (
    r"(?i)\b(nan|inf)\b",
    r"\d[eE][+-]?\d",
    r"\d{5,}(\.\d+)?%|\d\d,\d{3}(\.\d+)?%",
    r"(?<![\d.,])([+<>-]?\d[\d.,]*)[%×]?( to |–)\1(?![\d.,]*\d)",
    r"\[([^\],]+), \1\]",
    rf"(?<![\d.,])1 (more )?({NOUNS})s\b",
    rf"(?<![\d.,])([02-9]|\d\d+) (more )?({NOUNS})\b",
    r"\b1 (are|have|show|were)\b",
    r"—[×%]|±[^\d<>]|[-+]0\.0%|--\d",
)


def faults(text: str) -> list[str]:
    """What is wrong with a text, with some of what stands around it."""
    return [
        text[max(0, found.start() - 30) : found.end() + 10] for fault in FAULTS for found in re.finditer(fault, text)
    ]


@st.composite
def estimates(draw: st.DrawFn) -> Estimate:
    """A ratio with its interval: as it should be, of one replicate, of equal values, or without ends."""
    lower, value, upper = sorted(draw(POSITIVE) for _ in range(3))
    ends = draw(st.sampled_from([(lower, upper), (value, value), (math.nan, math.nan), (0.0, math.inf)]))
    return Estimate(value, *ends)


@given(ODD, ODD)
def test_numbers(value: float, other: float) -> None:
    of_one: list[Callable[[float], str]] = [
        units.digits,
        units.round_digits,
        units.duration,
        units.ratio,
        units.percent,
    ]
    of_one += [units.ratio_box, units.whole_percent, units.round_percent, units.half_width]
    of_one += [*units.FORMAT_OF_UNIT.values(), units.change, units.slower]
    for write in of_one:
        for number in (value, -value):
            assert not faults(write(number)), write
    low, high = sorted((value, other))
    for text in (units.ratio_interval(low, high), units.duration_interval(low, high)):
        assert not faults(text)
    assert not faults(units.ratio_with_interval(value, low, high))


@FEW
@given(st.lists(st.tuples(st.sampled_from(list(RANKS)), estimates(), estimates(), COUNTS), min_size=1, max_size=4))
def test_verdicts(samples: list[tuple[Any, Estimate, Estimate, int]]) -> None:
    findings = [
        Finding(
            case("lstm", batch_size=size + 4), verdict, 0.025, low=low, mean=mean, replicates=replicates,
            time_verdict=verdict, deciding_ratio="mean" if mean.lower > low.upper else "low",
            changes=LARGER.changes if replicates == 3 else (),
        )
        for size, (verdict, low, mean, replicates) in enumerate(samples)
    ]  # fmt: skip
    found = verdicts.verdicts_of(comparison(*findings, seconds=93.0))
    texts = [found.answer, found.details, *outputs.annotations(found)]
    texts += [screens.of_verdicts(found, 300), outputs.junit(found), outputs.markdown(found)]
    texts += [f"{why(row)}. {size_together(row)}" for row in found.findings]
    for text in texts:
        assert not faults(re.sub(r'time="[^"]*"|cell=[^"<&]*', "", text))


@settings(max_examples=6)
@given(st.lists(st.tuples(estimates(), POSITIVE, COUNTS), min_size=1, max_size=4), st.sampled_from([0.02, 1e-7, None]))
def test_a_run(
    made_up: Summaries, info: RunInfo, samples: list[tuple[Estimate, float, int]], asked: float | None
) -> None:
    quick = made_up("quick")
    own = quick[(quick["status"] == "measured") & (quick["implementation"] != "torch.nn")].head(len(samples))
    frame = pd.concat([own, quick[quick["implementation"] == "torch.nn"].head(1)], ignore_index=True)
    for row, (ratio, seconds, replicates) in enumerate(samples):
        frame.loc[row, ["ratio", "ratio_low", "ratio_high"]] = ratio.value, ratio.lower, ratio.upper
        frame.loc[row, ["seconds", "times_limit", "replicates"]] = seconds, ratio.value, replicates
        frame.loc[row, ["seconds_low", "seconds_high"]] = seconds, seconds
    with_target = replace(info, resolved={"measure": {"precision": asked}})
    found = headline(frame)
    texts = [head_line(frame, with_target, found), warning(found), *of_run(found), cases.counts(frame)]
    texts.append(reached(frame, with_target))
    assert not faults("; ".join(texts))
    assert not faults(screens.of_run(frame, with_target, 200))
