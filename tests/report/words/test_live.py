"""The sentences with which `assert_not_slower` answers."""

import math
from dataclasses import replace
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis.estimate import Estimate
from rnnbench.harness.live.measuring import NotSlowerResult
from rnnbench.report.words.live import sentence

SLOWER = NotSlowerResult(
    answer="slower",
    factor=1.2,
    ratio=Estimate(1.38, 1.31, 1.4567),
    mean_ratio=Estimate(1.45, 1.19, 1.6),
    seconds={"mine": 31.2e-6, "than": 22.6e-6},
    rounds=12,
    calls=2582,
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


DIFFERS = "differs by 1.4e+00 of the maximum: times only; use rnnbench.same_weights"
ANSWERS: dict[str, dict[str, Any]] = {
    "slower": {},
    "not slower": {"answer": "not slower", "factor": 1.5},
    "slower in the mean": {
        "by_the_mean": True,
        "ratio": Estimate(1.01, 0.99, 1.03),
        "mean_ratio": Estimate(1.4, 1.3, 1.5),
    },
    "the budget is spent": {"answer": None},
    "the budget is spent with two threads": {"answer": None, "threads": 2},
    "known as precisely as asked and undecided": {"answer": None, "precise_enough": True},
    "one round has no interval": {"answer": None, "rounds": 1, "ratio": Estimate(1.3, math.nan, math.nan)},
    "outputs that differ where they may not": {"answer": None, "rounds": 0, "parity": DIFFERS},
    "outputs that may differ": {"parity": DIFFERS, "must_agree": False},
    "outputs that differ after timing": {"parity": f"after timing: {DIFFERS}"},
    "unequal work": {"notes": ("cuDNN's layers may use TF32.",)},
    "a large ratio needs no third decimal": {"ratio": Estimate(123.4, 120.0, 130.0)},
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_the_answer_says_how_much_slower_and_what_it_rests_on(kind: str, snapshot: SnapshotAssertion) -> None:
    assert sentence(replace(SLOWER, **ANSWERS[kind]), "MyLSTM", "LSTM") == snapshot


def test_an_answer_that_lets_it_pass_names_the_slow_calls_that_it_can_not_see() -> None:
    text = sentence(replace(SLOWER, answer="not slower"), "MyLSTM", "LSTM")
    assert text.endswith("\nEach was called 2,582 times: slow calls that are rarer can't be seen")


def test_an_undecided_answer_names_the_threads_and_what_to_type() -> None:
    text = sentence(replace(SLOWER, answer=None, threads=2), "MyLSTM", "LSTM")
    assert "With 2 threads every call waits for the slowest core: give threads=1, or budget='40s', a factor" in text
