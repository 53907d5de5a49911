"""The breakdown of a call, for made-up profiles."""

from dataclasses import replace
from pathlib import Path

import pytest

from rnnbench.analysis.estimate import estimate
from rnnbench.analysis.run_times import read_run_times
from rnnbench.profiling.breakdown import TOO_LONG, Share, breakdown, breakdown_frame, in_one_piece, is_alike, rescaled
from rnnbench.profiling.gap import (
    call_seconds,
)
from rnnbench.store.profiles import Kernels, Products, Profile
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


@pytest.mark.parametrize(("seconds", "fits"), [(1e-3, True), (1.4e-3, True), (2e-3, False), (4e-4, False)])
def test_a_profile_fits_the_run_in_which_its_own_case_took_about_as_long(
    tmp_path: Path, seconds: float, fits: bool
) -> None:
    case, other = small.case("gru"), small.case("lstm")
    run = read_run_times(folder(tmp_path, {case: [[1e-3], [1.1e-3]], other: [[1.0], [1.0]]}))
    assert is_alike(profile(seconds), call_seconds(run)[case.key]) == fits
