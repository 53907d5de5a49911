"""Sentences of *Why*: over random stored profiles, figures agree with each other."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnbench.profiling.breakdown import OVERHEADS, breakdown, frame, in_one_piece, rescaled
from rnnbench.profiling.gap import Gap, call_time, of_profiled
from rnnbench.report import why
from rnnbench.report.words.units import TIMES
from rnnbench.store.profiles import Category, Cause, Operator, Products, Profile

UNITS = {unit: size for size, unit in TIMES}
ROUNDS = 4
SECONDS = st.floats(1e-7, 1e-2)


def rounds(level: float) -> st.SearchStrategy[tuple[float, ...]]:
    """Times that scatter as on a busy machine: up to half as long again."""
    return st.lists(st.floats(level, 1.5 * level), min_size=ROUNDS, max_size=ROUNDS).map(tuple)


@st.composite
def profiles(draw: Any) -> Profile:
    """A stored profile: kernels that may take longer than the call, parts in any order, causes and products."""
    call = draw(SECONDS)
    times = {"call": draw(rounds(call))}
    if draw(st.booleans()):
        times["forward"] = draw(rounds(draw(st.floats(0.2, 1.1)) * call))
        if draw(st.booleans()):
            times["forward_backward"] = draw(rounds(draw(st.floats(0.5, 1.1)) * call))
    kinds: tuple[Category, ...] = ("products", "pointwise", "copies", "views")
    operators = tuple(
        Operator(
            f"aten::{number}",
            "",
            kinds[number],
            draw(st.sampled_from(("forward", "backward"))) if "forward" in times else "forward",
            draw(st.integers(1, 500)),
            seconds=draw(rounds(draw(st.floats(0.01, 0.6)) * call)),
            idle_seconds=draw(rounds(draw(st.floats(0.01, 0.3)) * call)),
        )
        for number in range(draw(st.integers(0, 4)))
    )
    causes = (Cause("copy", "clone (mine.py:7)", 16, draw(rounds(draw(st.floats(0.01, 0.5)) * call))),)
    products = Products("MKL", 16, {"MKL": draw(rounds(call / 3)), "oneDNN": draw(rounds(call / 4))})
    return Profile(
        "mine",
        steps=draw(st.integers(1, 64)),
        times=times,
        operators=operators,
        causes=causes if draw(st.booleans()) else (),
        products=products if draw(st.booleans()) else None,
    )


def seconds(text: str) -> float:
    number, unit = text.split(" ")
    return float(number.replace(",", "")) * UNITS[unit]


@given(profiles())
@settings(max_examples=200, deadline=None)
def test_the_shares_of_a_call_are_its_parts_and_none_is_negative(profile: Profile) -> None:
    shares = breakdown(profile)
    call = call_time(profile.times["call"]).value
    scaled = breakdown(rescaled(profile, call))
    assert sum(share.seconds.value for share in scaled) == pytest.approx(call)
    assert min(share.seconds.value for share in (*shares, *scaled)) >= 0
    assert frame({"": profile})["share"].sum() == pytest.approx(1.0)


@given(profiles(), profiles(), st.lists(st.tuples(SECONDS, SECONDS, SECONDS), min_size=2, max_size=12))
@settings(max_examples=200, deadline=None)
def test_the_words_agree_with_each_other(mine: Profile, other: Profile, times: list[tuple[float, ...]]) -> None:
    loop, hoisted, reference = ({number: row[index] for number, row in enumerate(times)} for index in range(3))
    for rungs in ({"loop": loop}, {"loop": loop, "hoisted": hoisted}):
        gap = of_profiled(rungs, reference, [mine, *[None] * (len(rungs) - 1)], replace(other, case="torch"))
        assert gap.start.value - gap.end.value == pytest.approx(gap.seconds.value, abs=1e-15)
        assert sum(step.seconds.value for step in gap.by_size) == pytest.approx(gap.seconds.value, abs=1e-12)
        base = rescaled(mine, gap.start.value)
        _agree(gap, base, why.words(gap, "mine", "torch.nn.LSTM", base))


def _agree(gap: Gap, base: Profile, words: str) -> None:
    """The figures of the sentences, read back from them."""
    assert not re.search(r"(?<![\w)])[-\N{MINUS SIGN}]\d[\d.,]* (?:ns|µs|ms|s)\b", words)
    start, end = map(seconds, re.findall(r": (\S+ \S+) against (\S+ \S+?)\.(?: |$)", words)[0])
    for between in re.findall(r"Of the (\S+ \S+) between them", words):
        assert seconds(between) == pytest.approx(start - end, abs=0.01 * max(start, end))
    for share, number, each in re.findall(
        r"(\d+)% of its call is \S+ and \S+ \((\S+) operators?(?: a step)?, (\S+ \S+) ", words
    ):
        per_step = sum(operator.calls for operator in base.operators) / base.steps
        assert float(number.replace(",", "")) == pytest.approx(per_step, rel=0.01)
        if each.startswith("<"):
            continue  # less than can be written
        spent = seconds(each) * float(number.replace(",", "")) * base.steps
        assert spent / start == pytest.approx(int(share) / 100, abs=0.02)
        assert not in_one_piece(base)
        overhead = sum(share.seconds.value for share in breakdown(base) if share.what in OVERHEADS)
        assert overhead == pytest.approx(spent, rel=0.03)
