"""The sentences with which `assert_not_slower` answers."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis.estimate import Estimate
from rnnbench.report.words.live import sentence, unequal_outputs
from tests.doubles.stored import steady


def told(
    answer: str | None = "slower",
    *,
    factor: float = 1.2,
    low: Estimate = Estimate(1.38, 1.31, 1.4567),  # noqa: B008
    mean: Estimate = Estimate(1.45, 1.19, 1.6),  # noqa: B008
    by_the_mean: bool = False,
    is_precise: bool = False,
    rounds: int = 12,
    parity: str = "agrees",
    threads: int = 1,
    notes: tuple[str, ...] = (),
    must_agree: bool = True,
) -> str:
    """Return what is said about 12 rounds of 1.4 seconds."""
    question = SimpleNamespace(answer=answer, factor=factor, low=low, mean=mean, by_the_mean=by_the_mean)
    stop: Any = SimpleNamespace(question=question, is_precise=is_precise)
    times = {name: [steady(seconds)] * rounds for name, seconds in (("mine", 31.2e-6), ("than", 22.6e-6))}
    turns = SimpleNamespace(times=times, calls_made=2582 if rounds else 0, seconds=1.4)
    where = {"phase": "training", "device": "cpu", "threads": threads}
    found: Any = SimpleNamespace(turns=turns, parity={"mine": parity}, notes=notes, **where)
    if must_agree and parity != "agrees":
        return unequal_outputs(found, ("MyLSTM", "LSTM"))
    return sentence(found, stop, 10.0, ("MyLSTM", "LSTM"))


DIFFERS = "differs by 1.4e+00 of the maximum: times only; use rnnbench.same_weights"
ANSWERS: dict[str, dict[str, Any]] = {
    "slower": {},
    "not slower": {"answer": "not slower", "factor": 1.5},
    "slower in the mean": {
        "by_the_mean": True,
        "low": Estimate(1.01, 0.99, 1.03),
        "mean": Estimate(1.4, 1.3, 1.5),
    },
    "the budget is spent": {"answer": None},
    "the budget is spent with two threads": {"answer": None, "threads": 2},
    "known as precisely as asked and undecided": {"answer": None, "is_precise": True},
    "one round has no interval": {"answer": None, "rounds": 1, "low": Estimate(1.3, math.nan, math.nan)},
    "outputs that differ where they may not": {"answer": None, "rounds": 0, "parity": DIFFERS},
    "outputs that may differ": {"parity": DIFFERS, "must_agree": False},
    "outputs that differ after timing": {"parity": f"after timing: {DIFFERS}"},
    "unequal work": {"notes": ("cuDNN's layers may use TF32.",)},
    "a large ratio needs no third decimal": {"low": Estimate(123.4, 120.0, 130.0)},
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_the_answer_says_how_much_slower_and_what_it_rests_on(kind: str, snapshot: SnapshotAssertion) -> None:
    assert told(**ANSWERS[kind]) == snapshot
