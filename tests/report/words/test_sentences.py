"""Every function that writes a number, driven with numbers that no machine should give.

No text has `nan`, `inf`, an exponent, a percentage of more than four digits, a range of equal ends, or a count that
does not agree with its noun.
"""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnbench.analysis.comparison import RANKS, Finding
from rnnbench.analysis.estimate import Estimate
from rnnbench.report import cases
from rnnbench.report.environment import reached
from rnnbench.report.verdicts import outputs, verdicts
from rnnbench.report.words import units
from rnnbench.store.run_info import RunInfo
from tests.doubles import screens
from tests.doubles.workload import case
from tests.report.conftest import Summaries
from tests.report.verdicts.samples import LARGER, comparison

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
    of_one += [*units.FORMATS.values(), units.change, units.slower]
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
            time_verdict=verdict, decided_by="mean" if mean.lower > low.upper else "low",
            changes=LARGER.changes if replicates == 3 else (),
        )
        for size, (verdict, low, mean, replicates) in enumerate(samples)
    ]  # fmt: skip
    found = verdicts.of(comparison(*findings, seconds=93.0))
    texts = [found.answer, found.details, *outputs.annotations(found)]
    texts += [screens.of_verdicts(found, 300), outputs.junit(found), outputs.markdown(found)]
    texts += [f"{row.sentence}. {row.brief}" for row in found.rows]
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
    texts = [cases.answer(frame, with_target), cases.counts(frame)]
    texts += [
        reached(frame, with_target),
        *(cases.missed(row, with_target) for row in frame.to_dict("records")),
    ]
    assert not faults("; ".join(texts))
    assert not faults(screens.of_run(frame, with_target, 200))
