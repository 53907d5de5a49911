"""What rounds show by their quiet blocks, and that these are never mixed with all blocks."""

import math
from dataclasses import replace

import numpy as np
import pytest

from rnnbench.analysis.estimate import run_to_run
from rnnbench.analysis.quiet import MIN_QUIET_BLOCKS, QuietBlocks
from rnnbench.analysis.quiet_rounds import (
    RoundLogs,
    RoundTimes,
    are_quiet_together,
    estimates_of_rounds,
    ratio_logs,
    round_ratio,
    seconds_logs,
    seconds_together,
    state_of,
)
from rnnbench.analysis.replicate_times import Times
from rnnbench.analysis.rounds import BETWEEN_PROCESSES, FIRST_LOOK, MINE, THAN, Question, compare, rounds_of, widening
from rnnbench.analysis.run_times import SLOWER_BEST
from tests.doubles.stored import steady

BEST = 5e-6  # seconds of a pulse
OFTEN = 20  # quiet blocks


def round_of(seconds: float, shared: float, blocks: int = OFTEN, best: float = BEST, pulses: int = 100) -> RoundTimes:
    """A round of a call that takes so many seconds in each quiet block, and `shared` in the median of all blocks."""
    quiet = QuietBlocks.from_windows([[seconds]], [blocks], [seconds]) if blocks else None
    times: Times = steady(shared)
    return RoundTimes(times.log_quantiles, times.mean, quiet, pulses=pulses, quiet_pulses=2 * blocks, best_pulse=best)


def rounds(seconds: float, shared: float, blocks: tuple[int, ...]) -> list[RoundTimes]:
    return [round_of(seconds * (1 + 0.001 * number), shared, each) for number, each in enumerate(blocks)]


FEW = MIN_QUIET_BLOCKS - 1


@pytest.mark.parametrize(
    ("mine", "base", "ratio", "state"),
    [
        ((20, 20, 20), (20, 20, 20), 2.0, "undisturbed"),
        ((20, 20, 0), (20, 20, 20), 2.0, "undisturbed"),  # two rounds are enough
        ((20, 0, 20), (20, 20, 0), 3.0, "on a shared core"),  # only one has quiet blocks on both sides
        ((FEW, FEW, FEW), (20, 20, 20), 3.0, "on a shared core"),
        ((0, 0, 0), (0, 0, 0), 3.0, "on a shared core"),
    ],
)
def test_a_ratio_is_undisturbed_if_two_rounds_have_enough_quiet_blocks_on_both_sides(
    mine: tuple[int, ...], base: tuple[int, ...], ratio: float, state: str
) -> None:
    """Quiet blocks say 2, and all blocks 3: a value between them would mix the two."""
    frame = compare({"mine": rounds(2e-4, 6e-4, mine), "base": rounds(1e-4, 2e-4, base)}, "base")
    row = frame.loc["mine"]
    assert row["ratio"] == pytest.approx(ratio, rel=0.002)
    assert row["state"] == state
    assert row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
    assert row["seconds"] == pytest.approx(2e-4 if state == "undisturbed" else 6e-4, rel=0.002)


def test_cases_of_both_kinds_stand_in_one_table_each_with_its_state() -> None:
    times = {
        "base": rounds(1e-4, 2e-4, (20, 20, 20)),
        "quiet": rounds(2e-4, 6e-4, (20, 20, 20)),
        "shared": rounds(2e-4, 6e-4, (0, 0, 0)),
    }
    frame = compare(times, "base")
    assert frame["state"].to_dict() == {"base": "undisturbed", "quiet": "undisturbed", "shared": "on a shared core"}
    assert frame["ratio"].to_dict() == pytest.approx({"base": 1.0, "quiet": 2.0, "shared": 3.0}, rel=0.002)
    each = rounds_of(times, "base").set_index("module")
    assert each.loc["quiet", "quiet_blocks"].tolist() == [20, 20, 20]
    assert each.loc["quiet", "quiet_ratio"].tolist() == pytest.approx([2.0] * 3, rel=0.002)
    assert each.loc["quiet", "ratio"].tolist() == pytest.approx([3.0] * 3)
    assert each.loc["shared", "quiet_ratio"].isna().all()


def test_what_is_always_quiet_or_has_no_pulses_is_not_called_shared() -> None:
    always = [replace(each, quiet_pulses=98) for each in rounds(1e-4, 1e-4, (0, 0))]
    unknown = [steady(1e-4)] * 2
    for own in (always, unknown):
        logs = ratio_logs(own, own)
        assert not logs.is_undisturbed
        assert state_of(logs, own, own) == ""
    assert state_of(ratio_logs(rounds(1e-4, 1e-4, (0, 0)), always), rounds(1e-4, 1e-4, (0, 0))) == "on a shared core"


def test_rounds_before_the_core_was_ever_quiet_have_no_quiet_blocks() -> None:
    """A process whose core was shared at first took its own slow pulses for quiet ones."""
    blind = [round_of(6e-4, 6e-4, best=1.01 * SLOWER_BEST * BEST)] * 3
    base = [round_of(2e-4, 2e-4, best=1.01 * SLOWER_BEST * BEST)] * 3
    assert compare({"mine": blind, "base": base}, "base").loc["mine", "ratio"] == pytest.approx(3.0)
    seen = compare(
        {"mine": [*blind, *rounds(2e-4, 6e-4, (20, 20))], "base": [*base, *rounds(1e-4, 2e-4, (20, 20))]}, "base"
    )
    assert seen.loc["mine", "ratio"] == pytest.approx(2.0, rel=0.002)
    once = compare({"mine": [*blind, *rounds(2e-4, 6e-4, (20,))], "base": [*base, *rounds(1e-4, 2e-4, (20,))]}, "base")
    assert once.loc["mine", "state"] == "on a shared core"
    assert once.loc["mine", "ratio"] == pytest.approx(3.0)


def test_times_that_are_subtracted_are_all_of_one_kind_and_of_the_same_rounds() -> None:
    times = {"mine": rounds(2e-4, 6e-4, (20, 0, 20)), "base": rounds(1e-4, 2e-4, (20, 20, 20))}
    together = seconds_together(times)
    assert {name: [*own] for name, own in together.items()} == {"mine": [0, 2], "base": [0, 2]}
    assert together["mine"][0] == pytest.approx(2e-4)
    assert together["base"][2] == pytest.approx(1.002e-4)
    assert not are_quiet_together(*times.values(), rounds(1e-4, 1e-4, (20, 20, 0)))
    shared = seconds_together(times | {"third": rounds(1e-4, 1e-4, (20, 20, 0))})
    assert [*shared["mine"].values()] == pytest.approx([6e-4] * 3)


def test_a_round_has_the_ratios_of_a_pair_and_its_pulses() -> None:
    mine, base = round_of(2e-4, 6e-4, 20), round_of(1e-4, 2e-4, 30)
    ratio = round_ratio(3, mine, base)
    assert (ratio.pair, ratio.pulses, ratio.quiet_pulses, ratio.best_pulses) == (3, 200, 100, (BEST,))
    assert [math.exp(log) for log in (ratio.low, ratio.mean, ratio.quiet_low, ratio.quiet_mean)] == pytest.approx(
        [3.0, 3.0, 2.0, 2.0]
    )
    assert not round_ratio(0, round_of(2e-4, 6e-4, FEW), base).is_quiet
    assert round_ratio(0, steady(2.0), steady(1.0)).best_pulses == ()


def test_what_runs_and_processes_differ_by_is_added_once_however_much_rounds_resemble_each_other() -> None:
    logs = [0.1, 0.1, 0.12, 0.12, 0.1, 0.1]
    [within] = estimates_of_rounds([RoundLogs(logs)])
    half = widening(logs) * (within.upper - within.value)
    times = {"mine": [steady(math.exp(log)) for log in logs], "base": [steady(1.0) for _ in logs]}
    frame = compare(times, "base")
    widths = np.log(frame["ratio_high"] / frame["ratio"])
    between = np.hypot(run_to_run(np.array(within.value)), BETWEEN_PROCESSES)
    assert widths["mine"] == pytest.approx(np.hypot(half, between))
    assert widths["base"] == 0


def test_only_samples_of_one_kind_borrow_from_each_other() -> None:
    rng = np.random.default_rng(0)
    quiet = [
        ratio_logs(*[[round_of(1e-4 * math.exp(rng.normal(0, 0.01)), 1e-4) for _ in range(4)]] * 2) for _ in range(2)
    ]
    alone = estimates_of_rounds(quiet)
    shared = [seconds_logs([steady(math.exp(rng.normal(0, 1))) for _ in range(4)], is_undisturbed=False)]
    assert estimates_of_rounds([*quiet, *shared])[:2] == alone


def asked(quiet: float, shared: float, blocks: tuple[int, ...], quiet_mean: float | None = None) -> Question:
    """Whether `mine` takes at most 1.2 times as long: it takes so many times as long in quiet blocks, and in all."""
    question, rng = Question(1.2), np.random.default_rng(0)
    for number in range(FIRST_LOOK):
        base = 1e-4 * math.exp(rng.normal(0, 0.002))
        mine = round_of(quiet * base, shared * base, blocks[number % len(blocks)])
        if mine.quiet is not None and quiet_mean is not None:
            mine = replace(mine, quiet=replace(mine.quiet, mean=quiet_mean * base))
        question.add({MINE: mine, THAN: round_of(1e-4, 1e-4)}, 0.1)
    return question


@pytest.mark.parametrize(
    ("blocks", "answer", "state"),
    [
        ((20,), "not slower", "undisturbed"),
        ((20, 20, 20, 0), "not slower", "undisturbed"),  # three quarters of the rounds
        ((20, 0), "slower", "on a shared core"),
        ((FEW,), "slower", "on a shared core"),
    ],
)
def test_a_question_is_answered_by_one_kind_of_blocks(blocks: tuple[int, ...], answer: str, state: str) -> None:
    question = asked(1.0, 1.5, blocks)
    assert (question.answer, question.state) == (answer, state)
    assert question.low.value == pytest.approx(1.0 if state == "undisturbed" else 1.5, rel=0.01)
    assert question.mean.value == pytest.approx(question.low.value, rel=0.01)


def test_what_slows_only_some_calls_is_seen_in_the_mean_over_quiet_blocks() -> None:
    question = asked(1.0, 1.0, (20,), quiet_mean=1.4)
    assert (question.answer, question.state, question.by_the_mean) == ("slower", "undisturbed", True)


def test_a_mean_over_quiet_blocks_is_known_the_less_the_more_sharing_slows_the_two_unequally() -> None:
    """Moments of sharing that no pulse sees move it; where both suffer alike they do not."""
    alike, unlike = asked(1.0, 1.0, (20,)), asked(1.0, 1.3, (20,))
    halves = [math.log(question.mean.upper / question.mean.lower) / 2 for question in (alike, unlike)]
    assert halves[1] > 1.5 * halves[0]
    assert unlike.low.upper == pytest.approx(alike.low.upper)
