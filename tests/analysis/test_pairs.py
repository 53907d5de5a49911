"""The ratios of pairs: by quiet blocks or by all, never by both, and of several cases together."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.analysis.pairs import (
    QUIET_SHARE,
    PairRatio,
    locations_of,
    logs_of,
    pair_ratio,
    pairs_together,
    without_blind,
)
from rnnbench.analysis.replicate_times import times_by_case
from rnnbench.store.records import Window
from tests.doubles import workload as small
from tests.doubles.stored import window

LEAST = 6
SHARED = "on a shared core"


def pair(number: int, log: float = 0.0, quiet: float = math.nan, **more: Any) -> PairRatio:
    """A pair whose pulses were quiet in a fifth of the time."""
    return PairRatio(number, log, log, quiet, quiet, **{"pulses": 100, "quiet_pulses": 20, **more})


def pairs(logs: Sequence[float], quiet: Sequence[float]) -> list[PairRatio]:
    return [pair(number, *both) for number, both in enumerate(zip(logs, quiet, strict=True))]


maybe_quiet = st.lists(st.tuples(st.floats(-1, 1), st.one_of(st.just(math.nan), st.floats(-1, 1))), max_size=30)


@given(maybe_quiet)
def test_a_case_is_judged_by_quiet_blocks_or_by_all_and_the_number_of_pairs_alone_decides(
    values: list[tuple[float, float]],
) -> None:
    ratios = [pair(number, *both) for number, both in enumerate(values)]
    logs, quiet = logs_of(ratios, LEAST), [own for _, own in values if not math.isnan(own)]
    if len(quiet) >= LEAST and len(quiet) >= QUIET_SHARE * len(values):
        assert (logs.low, logs.mean, logs.state) == (quiet, quiet, "undisturbed")
    else:
        every = [log for log, _ in values]
        assert (logs.low, logs.mean, logs.state) == (every, every, SHARED if values else "")


@pytest.mark.parametrize(("quiet", "state"), [(8, SHARED), (9, "undisturbed")])
def test_three_quarters_of_the_pairs_need_quiet_blocks(quiet: int, state: str) -> None:
    ratios = [pair(number, quiet=0.1 if number < quiet else math.nan) for number in range(12)]
    assert logs_of(ratios, 6).state == state
    assert logs_of(ratios[:quiet], 10).state == SHARED  # and as many pairs as are asked for


@pytest.mark.parametrize(
    ("pulses", "quiet_pulses", "state"), [(100, 94, SHARED), (100, 95, ""), (100, 0, SHARED), (0, 0, "")]
)
def test_ratios_of_all_blocks_are_of_a_shared_core_if_fewer_than_95_percent_of_the_pulses_are_quiet(
    pulses: int, quiet_pulses: int, state: str
) -> None:
    assert logs_of([pair(0, pulses=pulses, quiet_pulses=quiet_pulses)], LEAST).state == state


def test_a_side_that_never_saw_a_quiet_core_has_no_quiet_blocks_and_each_side_has_a_best_pulse_of_its_own() -> None:
    ratios = {
        "good": [pair(0, 0.1, 0.2, best_pulses=(8e-6, 5e-6))],
        "blind": [pair(0, 0.1, 0.2, best_pulses=(8e-6, 9e-6)), pair(1, 0.1, 0.2, best_pulses=(8.4e-6, 5.2e-6))],
        "without pulses": [pair(0, 0.1, pulses=0, quiet_pulses=0)],
    }
    found = without_blind(ratios)
    assert [[each.is_quiet for each in own] for own in found.values()] == [[True], [False, True], [False]]
    assert [found["blind"][0].quiet_pulses, found["blind"][1].quiet_pulses] == [0, 20]
    assert without_blind({}) == {}


def quiet_window(seconds: float, blocks: int, **more: Any) -> Window:
    """A window of a core that is shared half of the time, whose calls take 1.5 times as long then."""
    known = {
        "pulses": 40,
        "quiet_pulses": 20,
        "best_pulse": 8e-6,
        "quiet_blocks": blocks,
        "quiet_seconds": seconds if blocks else None,
        "quiet_low": (seconds,) * min(blocks, 3),
    }
    return replace(window(small.case("vanilla"), 0, [seconds, 1.5 * seconds] * 10), **(known | more))


@pytest.mark.parametrize(
    ("base", "head", "is_unlike"),
    [(1700.0, 1690.0, False), (1700.0, 1660.0, True), (1660.0, 1700.0, True), (1700.0, None, False)],
)
def test_a_pair_tells_if_the_clock_of_a_gpu_differs_by_more_than_2_percent(
    base: float | None, head: float | None, is_unlike: bool
) -> None:
    of_sides = [[replace(window(small.case("vanilla"), 0, [1.0]), sm_clock_mhz=rate)] for rate in (base, head)]
    times = [next(iter(times_by_case(own).values())) for own in of_sides]
    ratio = pair_ratio(0, times[0], times[1], *of_sides)
    words = f"the clock of the GPU ran at {base:,.0f} MHz in the base and at {head or 0:,.0f} MHz in the head"
    assert ratio.unlike_clocks == (words if is_unlike else "")


@pytest.mark.parametrize(
    ("blocks", "is_quiet"), [((12, 12), True), ((6, 40), True), ((5, 40), False), ((12, 0), False)]
)
def test_a_pair_has_a_quiet_ratio_if_both_sides_have_six_quiet_blocks(blocks: tuple[int, int], is_quiet: bool) -> None:
    base, head = [quiet_window(1e-3, blocks[0])], [quiet_window(1.1e-3, blocks[1], best_pulse=5e-6)]
    times = [next(iter(times_by_case(own).values())) for own in (base, head)]
    ratio = pair_ratio(3, times[0], times[1], base, head)
    assert (ratio.pair, ratio.pulses, ratio.quiet_pulses, ratio.best_pulses) == (3, 80, 40, (8e-6, 5e-6))
    assert [ratio.low, ratio.mean] == pytest.approx([math.log(1.1)] * 2)
    assert ratio.is_quiet == is_quiet
    if is_quiet:
        assert [ratio.quiet_low, ratio.quiet_mean] == pytest.approx([math.log(1.1)] * 2)


def test_what_slows_only_some_calls_shows_in_the_mean_over_quiet_blocks() -> None:
    base, head = [quiet_window(1e-3, 40)], [quiet_window(1e-3, 40, quiet_seconds=1.05e-3)]
    times = [next(iter(times_by_case(own).values())) for own in (base, head)]
    ratio = pair_ratio(0, times[0], times[1], base, head)
    assert [ratio.quiet_low, ratio.quiet_mean] == pytest.approx([0.0, math.log(1.05)])


def test_only_cases_of_one_kind_help_to_estimate_each_others_errors() -> None:
    rng = np.random.default_rng(1)
    calm = {f"calm {n}": pairs([0.0] * 8, rng.normal(0, 0.002, 8).tolist()) for n in range(3)}
    noisy = {f"noisy {n}": pairs(rng.normal(0, 0.05, 8).tolist(), [math.nan] * 8) for n in range(9)}
    alone = locations_of({key: logs_of(own, LEAST) for key, own in calm.items()})
    beside = locations_of({key: logs_of(own, LEAST) for key, own in (calm | noisy).items()})
    assert {key: beside[key] for key in calm} == alone


def test_cases_together_are_the_mean_of_those_that_a_pair_has() -> None:
    members = {
        "always": pairs([0.01, 0.02, 0.03, 0.04, 0.05], [math.nan] * 5),
        "with a gap": [pair(0, 0.03), pair(1, 0.04), pair(3, 0.06), pair(4, 0.07)],
    }
    found = pairs_together(members, 4)
    assert found is not None
    assert (found.pairs, found.state) == (4, SHARED)  # the pair with one case alone does not count
    assert found.low.value == pytest.approx(np.mean([0.02, 0.03, 0.05, 0.06]))
    assert pairs_together(members, 5) is None


@pytest.mark.parametrize(("quiet_cases", "state"), [(6, "undisturbed"), (3, "undisturbed"), (2, SHARED)])
def test_cases_together_are_judged_by_quiet_blocks_if_half_of_them_are_and_then_without_the_others(
    quiet_cases: int, state: str
) -> None:
    members = {str(number): pairs([0.5] * 5, [0.1 if number < quiet_cases else math.nan] * 5) for number in range(6)}
    found = pairs_together(members, 5)
    assert found is not None
    assert (found.state, len(found.members)) == (state, quiet_cases if state == "undisturbed" else 6)
    assert found.low.value == pytest.approx(0.1 if state == "undisturbed" else 0.5)


def test_the_error_of_cases_together_is_never_below_their_own_and_is_raised_to_what_the_cases_say() -> None:
    # Their noise cancels by chance: the mean of both is the same in all pairs.
    noise = [0.02, -0.01, 0.015, -0.02, 0.0]
    opposite = {"one": pairs(noise, [math.nan] * 5), "other": pairs([-each for each in noise], [math.nan] * 5)}
    found = pairs_together(opposite, 5)
    assert found is not None
    expected = np.var(noise, ddof=1) * (0.2 + 0.8 / 2) / 5
    assert found.low.error == pytest.approx(math.sqrt(expected / 2))
    alike = {"one": pairs(noise, [math.nan] * 5), "other": pairs(noise, [math.nan] * 5)}
    found = pairs_together(alike, 5)
    assert found is not None
    assert found.low.error == pytest.approx(math.sqrt(np.var(noise, ddof=1) / 5))
