"""The gap between two calls, for made-up profiles."""

from collections.abc import Sequence
from dataclasses import astuple, replace
from pathlib import Path

import pytest

from rnnbench.analysis.run_times import read_run_times
from rnnbench.profiling.gap import (
    KINDS,
    NOT_PROFILED,
    Gap,
    between,
    call_time,
    gaps,
    of_profiled,
    take_apart,
)
from rnnbench.store.profiles import Cause, Products, Profile
from tests.doubles import workload as small
from tests.doubles.stored import folder
from tests.profiling.profiles import cause, profile


def rung(*seconds: float) -> dict[int, float]:
    return dict(enumerate(seconds))


def seconds(gap: Gap) -> dict[str, float]:
    return {step.kind: step.seconds.value for step in gap.steps}


def test_the_spread_of_a_gap_is_that_of_the_replicates_which_both_ends_have() -> None:
    loop, hoisted, reference = {0: 9.0, 1: 8.0, 2: 8.0}, {1: 6.0, 2: 6.0, 3: 7.0}, rung(5.0, 4.0, 4.0, 4.0)
    del reference[0]
    start, middle = call_time(loop.values()), call_time(hoisted.values())
    gap = take_apart({"loop": loop, "hoisted": hoisted}, reference)
    assert gap.start == start
    assert gap.end.value == pytest.approx(4.0)
    assert astuple(gap.seconds) == pytest.approx((start.value - 4.0,) * 3)
    assert astuple(gap.ratio) == pytest.approx((2.0, 2.0, 2.0))
    step, rest = gap.steps
    assert astuple(step.seconds) == pytest.approx((start.value - middle.value,) * 3)
    assert rest.seconds.value == pytest.approx(middle.value - 4.0)
    assert gap.share(step) + gap.share(rest) == pytest.approx(1.0)


def test_a_cause_is_taken_off_what_does_away_with_it() -> None:
    loop, compiled, reference = rung(10e-5, 10e-5, 10e-5), rung(4e-5, 4e-5, 4e-5), rung(2e-5, 2e-5, 2e-5)
    gap = take_apart({"loop": loop, "compiled": compiled}, reference, [cause(seconds=1e-5)])
    assert seconds(gap) == pytest.approx({"copy": 1e-5, "compiled": 5e-5, "rest": 2e-5})
    plain = take_apart({"loop": loop}, reference, [cause(seconds=1e-5)])
    assert seconds(plain) == pytest.approx({"copy": 1e-5, "rest": 7e-5})
    assert plain.share(plain.steps[0]) == pytest.approx(1 / 8)


def test_a_scan_is_a_rung_whose_step_holds_what_a_loop_does_needlessly() -> None:
    loop, scan, reference = rung(10e-5, 10e-5, 10e-5), rung(4e-5, 4e-5, 4e-5), rung(2e-5, 2e-5, 2e-5)
    gap = take_apart({"loop": loop, "scan": scan}, reference, [cause("loop invariant", seconds=1e-5)])
    assert seconds(gap) == pytest.approx({"loop invariant": 1e-5, "scan": 5e-5, "rest": 2e-5})
    assert all(KINDS[step.kind].label for step in gap.steps)


def test_only_causes_beyond_chance_that_matter_are_said() -> None:
    certain, small_one = cause(seconds=10e-6), cause(seconds=0.2e-6, spread=0.0)
    doubtful, hoisting = cause(seconds=10e-6, spread=30e-6), cause("not hoisted", 20e-6)
    causes = [certain, small_one, doubtful, hoisting]
    often_zero = replace(certain, seconds=(0.0,) * 8 + (10e-6,) * 2)
    one_round = replace(certain, seconds=(10e-6,))  # can't show whether it is chance
    call = dict.fromkeys(range(3), 100e-6)

    def kinds(causes: Sequence[Cause], **rungs: dict[int, float]) -> list[str]:
        return [step.kind for step in take_apart({"loop": call} | rungs, call, causes).steps if step.what]

    assert kinds(causes) == ["not hoisted", "copy"]
    assert kinds(causes, hoisted=call) == ["copy"]
    assert kinds([cause(seconds=1.01e-6, spread=0.0)]) == ["copy"]  # a hundredth of the call
    assert kinds([often_zero]) == []
    assert kinds([one_round]) == ["copy"]


def test_a_run_gives_a_gap_for_each_cell_and_workload_that_has_both_ends(tmp_path: Path) -> None:
    loop, hoisted = small.case("gru"), small.case("gru", "hoisted")
    reference, alone = small.reference_case("gru"), small.case("lstm")
    times = {loop: [[4e-5], [4e-5]], hoisted: [[3e-5], [3e-5]], reference: [[1e-5], [1e-5]], alone: [[1e-5], [1e-5]]}
    path = folder(tmp_path, times)
    mine = profile(40e-6, case=loop.key, causes=(cause("not hoisted", 1e-5), cause(seconds=2e-6)))
    ((ends, gap),) = gaps(read_run_times(path), {loop.key: mine}).items()
    assert ends == (loop.key, reference.key)
    assert seconds(gap) == pytest.approx({"copy": 2e-6, "hoisted": 1e-5, "rest": 1.8e-5})


def test_the_last_rung_s_profile_explains_what_lies_below_if_it_and_the_reference_s_were_no_busier(
    tmp_path: Path,
) -> None:
    loop, hoisted, compiled = (small.case("gru", how) for how in ("loop", "hoisted", "compiled"))
    reference = small.reference_case("gru")
    calls = {loop: 300e-6, hoisted: 200e-6, compiled: 100e-6, reference: 40e-6}
    times = read_run_times(folder(tmp_path, {case: [[time], [time]] for case, time in calls.items()}))
    profiles = {
        loop.key: profile(300e-6, causes=(cause(seconds=20e-6),)),
        hoisted.key: profile(100e-6, causes=(cause(seconds=7e-6),)),
        compiled.key: profile(100e-6),
        reference.key: profile(40e-6, 20e-6, 5e-6),
    }
    rungs = {"copy": 20e-6, "hoisted": 100e-6, "compiled": 80e-6}
    (gap,) = gaps(times, profiles).values()
    whole = rungs | {"overhead": 45e-6, "kernels": 15e-6}
    assert seconds(gap) == pytest.approx(whole | {"rest": 0.0})
    unseen = {key: taken for key, taken in profiles.items() if key != reference.key}
    for known, missing in (
        (profiles | {reference.key: profile(80e-6, 20e-6, 5e-6)}, "its reference"),
        (profiles | {compiled.key: profile(200e-6)}, "compiled"),
        (unseen, "its reference"),
    ):
        (gap,) = gaps(times, known).values()
        assert seconds(gap) == pytest.approx(rungs | {"rest": 60e-6})
        assert gap.note == f"{missing} was {NOT_PROFILED}"
    failed = Profile(compiled.key, "failed", "it needs a library")
    (gap,) = gaps(times, profiles | {compiled.key: failed}).values()
    assert gap.note == f"compiled was {NOT_PROFILED}"
    (gap,) = gaps(times, {loop.key: profiles[loop.key]}).values()
    assert gap.note == f"compiled and its reference were {NOT_PROFILED}"
    (gap,) = gaps(times, {}).values()
    assert gap.note == ""


def test_rungs_that_share_no_replicate_with_the_reference_have_no_gap(tmp_path: Path) -> None:
    loop, reference = small.case("gru"), small.reference_case("gru")
    times = read_run_times(folder(tmp_path, {loop: [[2e-5]], reference: [[1e-5]]}))
    assert len(gaps(times, {})) == 1
    apart = times.replicates.assign(replicate=times.replicates["case"].eq(loop.key).astype(int))
    assert gaps(replace(times, replicates=apart), {}) == {}


MICRO = 1e-6
DNNL = "oneDNN with packed weights"
SECONDS: dict[str, tuple[float, ...]] = {"MKL": (55 * MICRO,) * 3, DNNL: (37 * MICRO,) * 3}
PRODUCTS = Products("MKL", 32, SECONDS, {"MKL": (5 * MICRO,) * 3, DNNL: (17 * MICRO,) * 3})
MINE = replace(profile(100 * MICRO, 60 * MICRO), products=PRODUCTS)
LAYER = replace(profile(40 * MICRO, 20 * MICRO, 5 * MICRO), products=Products(DNNL))


def test_the_library_of_the_products_is_a_step_that_is_taken_off_the_kernels() -> None:
    library, overhead, kernels = between(MINE, LAYER)
    assert library.what == f"the same matmuls take 2.50× as long in MKL as in {DNNL}"  # without the way to each
    assert (library.kind, library.calls, library.library) == ("library", 32, DNNL)
    assert astuple(library.seconds) == pytest.approx((30 * MICRO,) * 3)
    assert (overhead.kind, kernels.kind) == ("overhead", "kernels")
    assert sum(step.seconds.value for step in (library, overhead, kernels)) == pytest.approx(60 * MICRO)


def test_the_library_of_compiled_code_is_known_by_another_rung() -> None:
    compiled = profile(100 * MICRO, opaque="compiled")
    assert [step.kind for step in between(compiled, LAYER, MINE)] == ["library"]
    assert not between(compiled, LAYER)


@pytest.mark.parametrize(
    "products",
    [
        replace(PRODUCTS, seconds=SECONDS | {"MKL": (4 * MICRO,) * 3}),  # by chance less than the way to it
        replace(PRODUCTS, seconds=SECONDS | {"MKL": (4 * MICRO, 6 * MICRO, 7 * MICRO)}),  # or about as long
        replace(PRODUCTS, seconds=SECONDS | {DNNL: (200 * MICRO,) * 3}),  # more than the whole call
        replace(PRODUCTS, seconds={"MKL": SECONDS["MKL"]}),
        replace(PRODUCTS, library=DNNL),
    ],
)
def test_a_library_that_is_the_same_or_was_not_measured_well_is_no_step(products: Products) -> None:
    assert [step.kind for step in between(replace(MINE, products=products), LAYER)] == ["overhead", "kernels"]


def test_a_cause_that_the_reference_has_too_explains_no_difference() -> None:
    both, only = cause("weight gradients", 10 * MICRO), cause(seconds=8 * MICRO)
    mine_times, torch_times = dict.fromkeys(range(3), 100 * MICRO), dict.fromkeys(range(3), 40 * MICRO)
    for other, kinds in ((profile(40 * MICRO, causes=(both,)), {"copy"}), (None, {"copy", "weight gradients"})):
        gap = of_profiled({"mine": mine_times}, torch_times, [profile(causes=(both, only))], other)
        assert {step.kind for step in gap.steps if step.what} == kinds
