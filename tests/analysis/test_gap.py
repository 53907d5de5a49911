import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench import load
from rnnbench.analysis.gap import between, gaps, is_alike, take_apart, worth_saying
from rnnbench.store.profiles import Profile
from rnnbench.store.records import Case
from tests import workload as small
from tests.analysis.profiles import cause, profile
from tests.stored import folder

NAMES = ("loop", "hoisted", "compiled")
TIMES = st.lists(st.floats(1e-6, 1e-2), min_size=4, max_size=4)


def rung(*seconds: float) -> dict[int, float]:
    return dict(enumerate(seconds))


@given(st.tuples(TIMES, TIMES, TIMES, TIMES))
def test_steps_and_rest_add_up_to_the_gap_where_all_replicates_differ_by_as_much(
    times: tuple[list[float], list[float], list[float], list[float]],
) -> None:
    levels = [one[0] for one in times]
    *rungs, reference = ({place: level * (1 + place / 10) for place in range(4)} for level in levels)
    gap = take_apart(dict(zip(NAMES, rungs, strict=True)), reference)
    assert [step.kind for step in gap.steps] == ["hoisted", "compiled"]
    assert sum(step.seconds.value for step in (*gap.steps, gap.rest)) == pytest.approx(gap.seconds.value, abs=1e-12)


def test_differences_are_taken_within_a_replicate() -> None:
    drift = [1.0, 5.0, 9.0]  # of the machine, which both share
    rungs = {
        "loop": rung(*(3e-4 + one * 1e-4 for one in drift)),
        "hoisted": rung(*(2e-4 + one * 1e-4 for one in drift)),
    }
    gap = take_apart(rungs, rung(*(1e-4 + one * 1e-4 for one in drift)))
    (hoisted,) = gap.steps
    assert (hoisted.seconds.value, hoisted.seconds.low) == pytest.approx((1e-4, 1e-4))
    assert (hoisted.share.value, hoisted.share.high) == pytest.approx((0.5, 0.5))
    assert gap.last == "hoisted"


def test_a_cause_is_taken_off_what_does_away_with_it() -> None:
    loop, compiled, reference = rung(10e-5, 10e-5, 10e-5), rung(4e-5, 4e-5, 4e-5), rung(2e-5, 2e-5, 2e-5)
    gap = take_apart({"loop": loop, "compiled": compiled}, reference, [cause(seconds=1e-5)])
    assert {step.kind: step.seconds.value for step in gap.steps} == pytest.approx({"copy": 1e-5, "compiled": 5e-5})
    assert gap.rest.seconds.value == pytest.approx(2e-5)
    plain = take_apart({"loop": loop}, reference, [cause(seconds=1e-5)])
    assert plain.rest.seconds.value == pytest.approx(7e-5)
    assert plain.steps[0].share.value == pytest.approx(1 / 8)
    assert plain.rest.seconds.low < 7e-5 < plain.rest.seconds.high  # the cause's own interval


def test_the_breakdowns_of_both_ends_explain_what_lies_between_them() -> None:
    mine, torch = profile(100e-6), profile(40e-6, 20e-6, 5e-6)
    below = between(mine, torch)
    assert {step.kind: step.seconds.value for step in below} == pytest.approx({"overhead": 45e-6, "kernels": 15e-6})
    gap = take_apart({"mine": rung(100e-6, 100e-6)}, rung(40e-6, 40e-6), [cause(seconds=10e-6)], below)
    assert gap.rest.seconds.value == pytest.approx(0.0, abs=1e-9)
    assert {step.kind: step.seconds.value for step in gap.steps} == pytest.approx(
        {"copy": 10e-6, "overhead": 35e-6, "kernels": 15e-6}
    )
    assert [step.kind for step in gap.named] == ["overhead", "kernels", "copy"]
    assert not between(mine, profile(opaque="compiled"))
    assert not between(Profile("mine", "failed", "why"), torch)


def test_a_profile_of_a_busier_moment_explains_nothing() -> None:
    assert is_alike(profile(100e-6), rung(90e-6, 100e-6, 110e-6))
    assert not is_alike(profile(300e-6), rung(90e-6, 100e-6, 110e-6))
    assert not is_alike(Profile("mine", "failed", "why"), rung(1.0))


def test_only_causes_beyond_chance_that_matter_are_said() -> None:
    certain, small_one = cause(seconds=10e-6), cause(seconds=0.2e-6, spread=0.0)
    doubtful, hoisting = cause(seconds=10e-6, spread=30e-6), cause("not hoisted", 20e-6)
    found = [certain, small_one, doubtful, hoisting]
    assert worth_saying(found, 100e-6) == [hoisting, certain]
    assert worth_saying(found, 100e-6, ("loop", "hoisted")) == [certain]


def test_where_there_is_no_gap_there_are_no_shares() -> None:
    gap = take_apart({"loop": rung(1e-5, 3e-5), "hoisted": rung(1e-5, 2e-5)}, rung(2e-5, 2e-5))
    assert math.isnan(gap.steps[0].share.value)
    assert not gap.named


def test_replicates_that_have_nothing_in_common_can_not_be_compared() -> None:
    with pytest.raises(ValueError, match="no replicate"):
        take_apart({"loop": {0: 1.0}}, {1: 1.0})


def test_a_run_gives_a_gap_for_each_cell_and_workload_that_has_both_ends(tmp_path: Path) -> None:
    loop, hoisted = small.case("gru"), small.case("gru", "hoisted")
    reference, alone = small.reference_case("gru"), small.case("lstm")
    times = {loop: [[4e-5], [4e-5]], hoisted: [[3e-5], [3e-5]], reference: [[1e-5], [1e-5]], alone: [[1e-5], [1e-5]]}
    path = folder(tmp_path, times)
    mine = profile(case=loop.key, causes=(cause("not hoisted", 1e-5), cause(seconds=2e-6)))
    (gap,) = gaps(load(path), {loop.key: mine})
    assert (gap.axes["cell"], gap.case, gap.reference) == ("gru", loop.key, reference.key)
    assert {step.kind: step.seconds.value for step in gap.steps} == pytest.approx({"copy": 2e-6, "hoisted": 1e-5})
    assert Case.from_axes(gap.axes | {"implementation": "loop"}) == loop


def test_a_run_without_windows_has_no_gaps(tmp_path: Path) -> None:
    assert gaps(load(folder(tmp_path, {small.case("gru"): []})), {}) == []
