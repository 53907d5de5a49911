"""The looks of `assert_not_slower`, on ratios with known truth."""

import math
from itertools import pairwise

import numpy as np
import pytest

from rnnbench.analysis.estimate import Estimate, as_ratio
from rnnbench.analysis.location import locations
from rnnbench.analysis.not_slower import FIRST_LOOK, PROCESS_SPREAD, Question
from tests.validation.history_simulated import wandering

FACTOR = 1.2
ROUNDS = 100


def drawn(rng: np.random.Generator, ratio: float, spread: float = 0.02, mean_ratio: float | None = None) -> np.ndarray:
    """Log-ratios of low quantile and mean, (2, rounds); stalls spoil some rounds, and more of the mean."""
    logs = np.log([[ratio], [ratio if mean_ratio is None else mean_ratio]])
    noise = spread * rng.standard_normal((2, ROUNDS))
    struck = rng.random((2, ROUNDS)) < [[0.03], [0.15]]
    return np.asarray(logs + noise + struck * rng.choice([-1, 1], (2, ROUNDS)) * rng.exponential(0.04, (2, ROUNDS)))


def answered(logs: np.ndarray, factor: float = FACTOR) -> Question:
    """A question after its looks at the rounds as they come in, and once more at their end."""
    question, looked = Question(factor), 0
    while question.answer is None and looked < logs.shape[1]:
        looked = min(question.next_look, logs.shape[1])
        question.look(*logs[:, :looked].tolist())
    return question


def answers(ratio: float, runs: int, **more: float) -> list[str | None]:
    rng = np.random.default_rng(round(1000 * ratio))
    return [answered(drawn(rng, ratio, **more)).answer for _ in range(runs)]


def test_a_ratio_that_is_the_factor_itself_is_hardly_ever_decided() -> None:
    results = answers(FACTOR, 300)
    # Each wrong answer comes at most once in 200: seven or more of 300 happen once in 2,000 such tests.
    assert results.count("slower") < 7
    assert results.count("not slower") < 7


def test_processes_that_differ_by_a_percent_give_wrong_answers_no_more_often() -> None:
    rng = np.random.default_rng(11)
    ratios = FACTOR * np.exp(0.009 * rng.standard_normal(300))
    results = [answered(drawn(rng, ratio, 0.005)).answer for ratio in ratios]
    assert results.count("slower") < 7
    assert results.count("not slower") < 7


def test_rounds_that_resemble_their_neighbours_give_wrong_answers_no_more_often() -> None:
    rng = np.random.default_rng(12)
    logs = wandering(rng, 0.5, (400, ROUNDS), 0.05) + 0.009 * rng.standard_normal((400, 1)) + math.log(FACTOR)
    results = [answered(np.array([rounds, rounds])).answer for rounds in logs]
    # As above, of 400. For independent rounds: 14 and 14.
    assert results.count("slower") < 8
    assert results.count("not slower") < 8


def test_what_the_looks_assume_of_neighbours_gives_way_to_what_the_rounds_show() -> None:
    """The half-width over that of independent rounds."""
    widths = []
    for rounds in (FIRST_LOOK, 20, 100, 1000):
        logs = 0.02 * np.random.default_rng(13).standard_normal(rounds)
        question = Question(FACTOR)
        question.look(logs.tolist(), logs.tolist())
        independent = as_ratio(locations([logs])[0].interval(1 - 0.005 / 2))
        widths.append(
            math.log(question.within[0].upper / question.within[0].lower)
            / math.log(independent.upper / independent.lower)
        )
    assert widths == sorted(widths, reverse=True)
    assert widths[0] == pytest.approx(1.45, abs=0.1)
    assert widths[-1] == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(("ratio", "answer"), [(1.0, "not slower"), (1.12, "not slower"), (1.29, "slower")])
def test_a_ratio_that_is_clear_of_the_factor_is_decided_in_every_run(ratio: float, answer: str) -> None:
    assert set(answers(ratio, 100)) == {answer}


def test_what_is_clear_is_decided_at_the_first_look() -> None:
    question = answered(drawn(np.random.default_rng(0), 1.0, 0.01))
    assert (question.looks, question.answer) == (1, "not slower")
    assert question.low.lower < 1.0 < question.low.upper < FACTOR
    assert not question.by_the_mean


def test_the_looks_come_ever_later_and_spend_no_more_than_there_is() -> None:
    logs, question, looks, spent = drawn(np.random.default_rng(1), FACTOR), Question(FACTOR), [], 0.0
    while question.next_look < ROUNDS:
        looks.append(question.next_look)
        so_far = logs[:, : looks[-1]].tolist()
        question.look(*so_far)
        rate = 0.005 / (len(looks) * (len(looks) + 1))  # half of the 1% of an interval
        spent += rate
        for interval, values in zip((question.low, question.mean), so_far, strict=True):
            independent = as_ratio(locations([values])[0].plus(PROCESS_SPREAD**2).interval(1 - rate))
            assert interval.value == independent.value
            assert interval.lower < independent.lower  # rounds may resemble their neighbours
            assert interval.upper > independent.upper
    assert looks[0] == FIRST_LOOK
    assert all(later == math.ceil(1.5 * sooner) for sooner, later in pairwise(looks))
    assert len(looks) == question.looks > 5
    assert spent < 0.005


def test_a_ratio_that_is_the_factor_without_any_noise_is_not_decided() -> None:
    """Of this process: the next may be a percent slower."""
    question = Question(1.0)
    question.look([0.0] * FIRST_LOOK, [0.0] * FIRST_LOOK)
    assert question.answer is None
    assert question.within == (Estimate(1.0, 1.0, 1.0),) * 2
    assert question.low.lower == pytest.approx(1 / question.low.upper)
    assert question.low.upper == pytest.approx(1.03, abs=0.002)


def test_precision_is_half_the_width_of_an_interval() -> None:
    question = Question(FACTOR, within=(Estimate(1.0, 1 / 1.01, 1.01),) * 2)
    assert question.is_within(0.0101)
    assert not question.is_within(0.0099)


def test_what_slows_only_the_mean_is_slower() -> None:
    question = answered(drawn(np.random.default_rng(2), 1.0, mean_ratio=1.6))
    assert question.answer == "slower"
    assert question.by_the_mean


def test_a_mean_that_is_not_known_well_enough_leaves_it_open() -> None:
    logs = drawn(np.random.default_rng(3), 1.0)
    logs[1] += 0.5 * np.random.default_rng(4).standard_normal(ROUNDS)
    question = Question(FACTOR)
    question.look(*logs[:, :FIRST_LOOK].tolist())
    assert question.answer is None
    assert question.by_the_mean


def test_a_single_round_decides_nothing() -> None:
    question = Question(FACTOR)
    question.look([0.0], [0.0])
    assert question.answer is None
    assert question.low.value == 1.0
    assert math.isnan(question.low.upper)
    assert not question.is_within(0.5)


def test_both_ratios_have_to_be_known_within_the_precision() -> None:
    logs = drawn(np.random.default_rng(5), FACTOR, 0.01)
    question = answered(logs)
    assert question.is_within(0.05)
    assert not question.is_within(0.0001)
    assert not question.is_within(None)
    logs[1] += 0.5 * np.random.default_rng(4).standard_normal(ROUNDS)
    assert not answered(logs).is_within(0.05)
