"""Profiles at the speed that the machine had in the run."""

from dataclasses import replace

import pytest

from rnnbench.analysis.gaps.breakdown import breakdown
from rnnbench.analysis.gaps.rescaled import is_alike, rescaled
from rnnbench.store.profiles import Kernels, Products, Profile
from tests.analysis.profiles import cause, profile


@pytest.mark.parametrize(("call", "alike"), [(0.66, False), (0.67, True), (1.0, True), (1.5, True), (1.51, False)])
def test_a_profile_of_a_much_busier_moment_is_not_alike(call: float, alike: bool) -> None:
    assert is_alike(profile(call), 1.0) == alike
    assert not is_alike(Profile("mine", "failed", "why"), 1.0)
    assert not is_alike(None, 1.0)


def test_all_times_change_by_one_factor_and_no_share_does() -> None:
    own = replace(
        profile(causes=(cause(seconds=10e-6),), backward=30e-6),
        kernels=Kernels(3, {"products": 5e-6}, 2),
        products=Products("MKL", 4, {"MKL": (8e-6,)}, {"MKL": (2e-6,)}),
    )
    doubled = rescaled(own, 200e-6)
    for shares in zip(breakdown(replace(own, kernels=None)), breakdown(replace(doubled, kernels=None)), strict=True):
        before, after = shares
        assert after.share == pytest.approx(before.share)
        assert after.seconds.value == pytest.approx(2 * before.seconds.value)
    assert doubled.causes[0].seconds == pytest.approx([2 * seconds for seconds in own.causes[0].seconds])
    assert doubled.kernels == Kernels(3, {"products": 10e-6}, 2)
    assert doubled.products == Products("MKL", 4, {"MKL": (16e-6,)}, {"MKL": (4e-6,)})
    assert rescaled(own, 100e-6) == own
