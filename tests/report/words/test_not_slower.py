"""The sentences with which `assert_not_slower` answers."""

import math
from dataclasses import replace

import pytest

from rnnbench.analysis.estimate import Estimate
from rnnbench.harness.live.not_slower import NotSlowerResult
from rnnbench.report.words.not_slower import sentence

SLOWER = NotSlowerResult(
    answer="slower",
    factor=1.2,
    ratio=Estimate(1.38, 1.31, 1.4567),
    mean_ratio=Estimate(1.45, 1.19, 1.6),
    seconds={"mine": 31.2e-6, "than": 22.6e-6},
    rounds=12,
    took_seconds=1.4,
    budget_seconds=10.0,
    by_the_mean=False,
    precise_enough=False,
    parity="agrees",
    phase="training",
    device="cpu",
    threads=1,
    notes=(),
)


def sentences(**changes: object) -> list[str]:
    return sentence(replace(SLOWER, **changes), "MyLSTM", "LSTM").splitlines()  # type: ignore[arg-type]


def test_an_answer_has_ratio_interval_factor_and_what_it_rests_on() -> None:
    assert sentences() == [
        "slower: MyLSTM takes 1.380× as long as LSTM (99% interval 1.310× to 1.457×), more than the 1.2× allowed",
        "training on cpu, 1 thread: 31.2 µs against 22.6 µs; 12 rounds in 1.40 s, budget 10.0 s; outputs agree",
    ]
    assert sentences(answer="not slower", factor=1.5)[0].endswith(", at most the 1.5× allowed")


def test_a_slow_mean_is_told_beside_the_low_quantile() -> None:
    lines = sentences(by_the_mean=True, ratio=Estimate(1.01, 0.99, 1.03), mean_ratio=Estimate(1.4, 1.3, 1.5))
    assert lines[0] == (
        "slower in the mean of its calls: MyLSTM takes 1.400× as long as LSTM (99% interval 1.300× to 1.500×), more "
        "than the 1.2× allowed; by a low quantile of the calls 1.010× (99% interval 0.990× to 1.030×)"
    )


@pytest.mark.parametrize(
    ("precise", "why"), [(False, "The budget is spent"), (True, "The ratio is known as precisely as asked")]
)
def test_undecided_says_why_and_what_helps(precise: bool, why: str) -> None:
    lines = sentences(answer=None, precise_enough=precise)
    assert lines[0].startswith("undecided: MyLSTM takes 1.380×")
    assert lines[0].endswith("; 1.2× is allowed")
    assert lines[2].startswith(f"{why}: a larger budget, a factor")
    assert "undecided='skip'" in lines[2]


def test_one_round_has_no_interval() -> None:
    assert "(no interval)" in sentences(answer=None, rounds=1, ratio=Estimate(1.3, math.nan, math.nan))[0]


def test_outputs_that_differ_are_the_answer_where_they_may_not() -> None:
    differs = "differs by 1.4e+00 of the largest value: times only"
    lines = sentences(answer=None, rounds=0, parity=differs)
    assert lines[0] == (
        "outputs differ: MyLSTM's output is not LSTM's, and nothing was timed: differs by 1.4e+00 of the largest value"
    )
    assert "equal_outputs=False" in lines[1]
    assert sentences(parity=differs, must_agree=False)[1].endswith("; outputs: differs by 1.4e+00 of the largest value")


def test_what_makes_the_work_unequal_or_the_machine_busy_is_told() -> None:
    assert sentences(notes=("cuDNN's layers may use TF32.",))[-1] == "cuDNN's layers may use TF32."
    undecided = replace(SLOWER, answer=None)
    assert sentence(undecided, "a", "b", is_shared=True).splitlines()[-1].endswith("processes of pytest-xdist")


def test_a_large_ratio_needs_no_third_decimal() -> None:
    assert "takes 123× as long" in sentences(ratio=Estimate(123.4, 120.0, 130.0))[0]


def test_outputs_that_differ_after_timing_make_the_time_worthless() -> None:
    first, _ = sentences(parity="after timing: differs by 1.0e+00 of the largest value: times only")
    assert first == (
        "outputs differ: MyLSTM's output is not LSTM's, so its time means nothing: after timing: differs by 1.0e+00 of "
        "the largest value"
    )
