"""The breakdown of a call, and the gap between two, for made-up profiles."""

from collections.abc import Sequence
from dataclasses import astuple, replace
from pathlib import Path

import pytest

from rnnbench.analysis.estimate import estimate
from rnnbench.analysis.run_times import read
from rnnbench.profiling.gap import (
    KINDS,
    NOT_PROFILED,
    TOO_LONG,
    Gap,
    Share,
    between,
    breakdown,
    breakdown_frame,
    call_seconds,
    call_time,
    gaps,
    in_one_piece,
    is_alike,
    of_profiled,
    rescaled,
    take_apart,
)
from rnnbench.store.profiles import Cause, Kernels, Products, Profile
from tests.doubles import workload as small
from tests.doubles.stored import folder
from tests.profiling.profiles import cause, profile


def test_what_an_operator_takes_with_nothing_to_do_is_no_kernel_s() -> None:
    shares = {share.what: share for share in breakdown(profile())}
    assert shares["products"].seconds.value == pytest.approx(30e-6)
    assert shares["pointwise"].seconds.value == pytest.approx(10e-6)
    assert shares["overhead"].seconds.value == pytest.approx(60e-6)
    assert shares["overhead"].operators == 64
    assert "views" not in shares


def test_the_optimizer_is_what_is_left_of_a_step() -> None:
    times: dict[str, tuple[float, ...]] = {"call": (3.0,), "forward": (1.0,), "forward_backward": (2.5,)}
    parts = {share.part: share.seconds.value for share in breakdown(Profile("step", times=times))}
    assert parts == pytest.approx({"forward": 1.0, "backward": 1.5, "optimizer": 0.5})


def test_a_device_s_kernels_leave_its_gaps() -> None:
    on_gpu = replace(profile(), kernels=Kernels(40, {"products": 25e-6, "pointwise": 5e-6}))
    shares = breakdown_frame({"gpu": on_gpu})
    assert list(shares["what"]) == ["products", "pointwise", "gaps"]
    assert list(shares["share"]) == pytest.approx([0.25, 0.05, 0.7])
    assert [(share.part, share.what, share.operators, share.new_bytes) for share in breakdown(on_gpu)] == [
        ("forward", "products", 16, 0),
        ("forward", "pointwise", 16, 0),
        ("forward", "gaps", 40, 0),  # 40 launches
    ]


def test_kernels_that_come_to_more_than_the_call_say_nothing_of_it() -> None:
    busy = profile(50e-6, 40e-6, 20e-6)
    assert breakdown(busy) == [Share("forward", "whole", estimate([50e-6] * 3), 0)]
    assert in_one_piece(busy) == TOO_LONG
    on_gpu = replace(profile(50e-6), kernels=Kernels(40, {"products": 60e-6}))
    assert in_one_piece(on_gpu) == TOO_LONG
    assert not in_one_piece(profile(50e-6, 41e-6, 10e-6))  # the difference is no more than noise


def test_all_times_change_by_one_factor_and_no_share_does() -> None:
    own = replace(
        profile(causes=(cause(seconds=10e-6),), backward=30e-6),
        kernels=Kernels(3, {"products": 5e-6}),
        products=Products("MKL", 4, {"MKL": (8e-6,)}, {"MKL": (2e-6,)}),
    )
    doubled = rescaled(own, 200e-6)
    for shares in zip(breakdown(replace(own, kernels=None)), breakdown(replace(doubled, kernels=None)), strict=True):
        before, after = shares
        assert after.seconds.value == pytest.approx(2 * before.seconds.value)
    assert doubled.causes[0].seconds == pytest.approx([2 * seconds for seconds in own.causes[0].seconds])
    assert doubled.kernels == Kernels(3, {"products": 10e-6})
    assert doubled.products == Products("MKL", 4, {"MKL": (16e-6,)}, {"MKL": (4e-6,)})
    assert rescaled(own, 100e-6) == own


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


def test_a_cause_names_the_operators_that_it_calls_also_in_files_of_older_versions() -> None:
    assert Cause("copy", "clone, cat (mine.py:7)", 2).names == ("clone", "cat")
    assert Cause("copy", "clone (mine.py:7)", 2, operators=("aten::clone",)).names == ("aten::clone",)


def test_only_causes_beyond_chance_that_matter_are_said() -> None:
    certain, small_one = cause(seconds=10e-6), cause(seconds=0.2e-6, spread=0.0)
    doubtful, hoisting = cause(seconds=10e-6, spread=30e-6), cause("not hoisted", 20e-6)
    causes = [certain, small_one, doubtful, hoisting]
    often_zero = replace(certain, seconds=(0.0,) * 5 + (10e-6,) * 5)
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
    ((ends, gap),) = gaps(read(path), {loop.key: mine}).items()
    assert ends == (loop.key, reference.key)
    assert seconds(gap) == pytest.approx({"copy": 2e-6, "hoisted": 1e-5, "rest": 1.8e-5})


def test_the_last_rung_s_profile_explains_what_lies_below_if_it_and_the_reference_s_were_no_busier(
    tmp_path: Path,
) -> None:
    loop, hoisted, compiled = (small.case("gru", how) for how in ("loop", "hoisted", "compiled"))
    reference = small.reference_case("gru")
    calls = {loop: 300e-6, hoisted: 200e-6, compiled: 100e-6, reference: 40e-6}
    times = read(folder(tmp_path, {case: [[time], [time]] for case, time in calls.items()}))
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
    times = read(folder(tmp_path, {loop: [[2e-5]], reference: [[1e-5]]}))
    assert len(gaps(times, {})) == 1
    apart = times.replicates.assign(replicate=times.replicates["case"].eq(loop.key).astype(int))
    assert gaps(replace(times, replicates=apart), {}) == {}


@pytest.mark.parametrize(("seconds", "fits"), [(1e-3, True), (1.4e-3, True), (2e-3, False), (4e-4, False)])
def test_a_profile_fits_the_run_in_which_its_own_case_took_about_as_long(
    tmp_path: Path, seconds: float, fits: bool
) -> None:
    case, other = small.case("gru"), small.case("lstm")
    run = read(folder(tmp_path, {case: [[1e-3], [1.1e-3]], other: [[1.0], [1.0]]}))
    assert is_alike(profile(seconds), call_seconds(run)[case.key]) == fits


MICRO = 1e-6
DNNL = "oneDNN with packed weights"
SECONDS: dict[str, tuple[float, ...]] = {"MKL": (55 * MICRO,) * 3, DNNL: (37 * MICRO,) * 3}
PRODUCTS = Products("MKL", 32, SECONDS, {"MKL": (5 * MICRO,) * 3, DNNL: (17 * MICRO,) * 3})
MINE = replace(profile(100 * MICRO, 60 * MICRO), products=PRODUCTS)
LAYER = replace(profile(40 * MICRO, 20 * MICRO, 5 * MICRO), products=Products(DNNL))


def test_the_library_of_the_products_is_a_step_that_is_taken_off_the_kernels() -> None:
    library, overhead, kernels = between(MINE, LAYER)
    assert library.what == f"the same products take 2.50× as long in MKL as in {DNNL}"  # without the way to each
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
