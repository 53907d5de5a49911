"""Two arms are compared until the answer is known, on a fake clock and with real modules."""

import math
import random

import pytest
from torch import nn

from rnnbench.analysis.rounds import FIRST_LOOK, Question
from rnnbench.harness.live.measuring import MINE, THAN, Factor, not_slower
from tests.harness.live.modules import INPUT, pair
from tests.harness.live.test_loop import Machine

pytestmark = pytest.mark.usefixtures("one_thread")


def decide(units: int, budget: float, machine: Machine, precision: float | None = None) -> tuple[Question, int, float]:
    """Compare an arm of `units` with one of 20 units, by the factor 1.2; the question, its rounds and its seconds."""
    stop = Factor(1.2, precision)
    turns = machine.turns({MINE: machine.arm(units), THAN: machine.arm(20)})
    turns.until(stop, budget)
    stop.look()
    return stop.question, len(turns.times[MINE]), turns.seconds


@pytest.mark.parametrize(("units", "answer"), [(20, "not slower"), (22, "not slower"), (30, "slower"), (60, "slower")])
def test_what_is_clear_is_decided_in_a_small_part_of_the_budget(units: int, answer: str) -> None:
    question, rounds, seconds = decide(units, 10.0, Machine())
    assert question.answer == answer
    assert question.low.lower <= units / 20 <= question.low.upper
    assert rounds == FIRST_LOOK
    assert seconds < 2.0


def test_what_is_not_decided_takes_the_budget_and_no_more_and_is_looked_at_once_more() -> None:
    question, rounds, seconds = decide(24, 2.0, Machine())
    assert question.answer is None
    assert 1.8 < seconds <= 2.0
    assert rounds not in (8, 12, 18, 27, 41)
    assert question.next_look == math.ceil(1.5 * rounds)
    assert question.low.lower < 1.2 < question.low.upper


def test_one_round_is_taken_in_any_case() -> None:
    question, rounds, _ = decide(60, 0.0, Machine())
    assert rounds == 1
    assert question.answer is None
    assert question.low.value == pytest.approx(3.0, rel=0.1)


def test_rounds_end_where_the_ratio_is_known_as_well_as_asked() -> None:
    _, at_most, _ = decide(24, 20.0, Machine())
    question, rounds, _ = decide(24, 20.0, Machine(), precision=0.02)
    assert question.answer is None
    assert rounds < at_most / 2
    assert question.is_within(0.02)


def test_a_machine_that_is_slow_for_a_while_decides_nothing_wrongly() -> None:
    results = []
    for seed in range(20):
        machine, rng = Machine(seed=seed), random.Random(seed)
        slow = [(start, rng.uniform(1, 2)) for start in sorted(rng.uniform(0, 4) for _ in range(8))]
        machine.slowness = lambda now, slow=slow: max(  # type: ignore[misc]
            (by for start, by in slow if start <= now < start + 0.2), default=1.0
        )
        results.append(decide(23, 3.0, machine)[0].answer)
    assert "slower" not in results
    assert "not slower" in results


# Real modules


def test_modules_whose_outputs_differ_are_not_timed_unless_they_may() -> None:
    mine, torch_own = nn.LSTM(3, 5), nn.LSTM(3, 5)
    result = not_slower(mine, torch_own, INPUT, factor=100.0, budget_seconds=0.05)
    assert (result.answer, result.rounds, result.took_seconds) == (None, 0, 0.0)
    assert not result.agrees
    assert math.isnan(result.seconds[MINE])
    assert not_slower(mine, torch_own, INPUT, factor=100.0, budget_seconds=0.5, equal_outputs=False).rounds >= 1


def test_inputs_may_be_given_for_each_arm() -> None:
    mine = pair()["mine"]
    result = not_slower(
        lambda input: mine(input.transpose(0, 1)),
        mine,
        {MINE: INPUT.transpose(0, 1), THAN: INPUT},
        factor=100.0,
        budget_seconds=0.05,
        phase="training",
    )
    assert result.agrees
    assert result.phase == "training"
    assert all(parameter.grad is None for parameter in mine.parameters())


def test_what_does_not_fit_together_is_said_with_the_arms_name() -> None:
    with pytest.raises(ValueError, match=r"^mine gives an output of shape \(4, 2, 4\), and than of \(4, 2, 5\)"):
        not_slower(nn.Linear(3, 4), nn.Linear(3, 5), INPUT, factor=1.2, budget_seconds=1)
    with pytest.raises(ValueError, match=r"^phase: expected one of inference"):
        not_slower(nn.Linear(3, 5), nn.Linear(3, 5), INPUT, "train", factor=1.2, budget_seconds=1)  # type: ignore[arg-type]
