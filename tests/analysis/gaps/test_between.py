"""What lies between two profiled calls."""

from dataclasses import astuple, replace

import pytest

from rnnbench.analysis.estimate import estimate
from rnnbench.analysis.gaps.between import between, faster_library, in_fastest_library
from rnnbench.analysis.gaps.gap import own_causes, take_apart
from rnnbench.store.profiles import PACKED, PACKING, Products, Profile
from tests.analysis.profiles import cause, profile

MICRO = 1e-6
DNNL = "oneDNN" + PACKED
SECONDS: dict[str, tuple[float, ...]] = {"MKL": (55 * MICRO,) * 3, DNNL: (28 * MICRO,) * 3, PACKING: (9 * MICRO,) * 3}
IDLE: dict[str, tuple[float, ...]] = {"MKL": (5 * MICRO,) * 3, DNNL: (10 * MICRO,) * 3, PACKING: (7 * MICRO,) * 3}
PRODUCTS = Products("MKL", 32, SECONDS, IDLE)
FUSED = Products(DNNL)


def mine(call: float = 100 * MICRO, *, opaque: str = "") -> Profile:
    return replace(profile(call, 60 * MICRO, opaque=opaque), products=PRODUCTS)


def layer(call: float = 40 * MICRO) -> Profile:
    return replace(profile(call, 20 * MICRO, 5 * MICRO), products=FUSED)


def test_the_library_of_the_products_is_a_step_that_is_taken_off_the_kernels() -> None:
    library, overhead, kernels = between(mine(), layer())
    assert library.libraries is not None
    assert (library.libraries.own, library.libraries.other) == ("MKL", DNNL)
    assert library.libraries.ratio == pytest.approx(2.5)  # packing is a part of the layer's call
    assert (library.kind, library.calls) == ("library", 32)
    assert astuple(library.seconds) == pytest.approx((30 * MICRO,) * 3)
    assert (overhead.kind, kernels.kind) == ("overhead", "kernels")
    assert sum(step.seconds.value for step in (library, overhead, kernels)) == pytest.approx(60 * MICRO)


def test_of_compiled_code_the_library_is_known_by_another_rung_and_all_else_is_one_step() -> None:
    compiled = replace(mine(opaque="compiled"), products=None)
    library, besides = between(compiled, layer(), mine())
    assert (library.kind, besides.kind) == ("library", "besides")
    assert besides.seconds.value == pytest.approx(30 * MICRO)
    assert not between(compiled, layer())


def test_prepacked_products_are_in_the_fastest_library_that_was_measured() -> None:
    direct, idle = (25 * MICRO,) * 3, (5 * MICRO,) * 3
    several = replace(PRODUCTS, seconds=SECONDS | {"rnnbench": direct}, idle_seconds=IDLE | {"rnnbench": idle})
    fastest = in_fastest_library(replace(mine(), products=several))
    assert fastest.products is not None
    assert fastest.products.library == "rnnbench"
    library, besides = between(replace(mine(opaque="compiled"), products=None), layer(), fastest)
    assert library.libraries is not None
    assert (library.libraries.own, library.libraries.other, besides.kind) == ("rnnbench", DNNL, "besides")
    assert in_fastest_library(layer()) == layer()  # nothing was measured
    assert in_fastest_library(profile(100 * MICRO, 60 * MICRO)).products is None


def test_other_products_in_the_same_library_are_a_step() -> None:
    one_large = replace(layer(), products=replace(PRODUCTS, seconds={"MKL": (25 * MICRO,) * 3}))
    compiled = replace(mine(opaque="compiled"), products=None)
    for last, kinds in ((mine(), ["products", "overhead", "kernels"]), (compiled, ["products", "besides"])):
        steps = between(last, one_large, mine())
        assert [step.kind for step in steps] == kinds
        assert astuple(steps[0].seconds) == pytest.approx((30 * MICRO,) * 3)
        assert sum(step.seconds.value for step in steps) == pytest.approx(60 * MICRO)


def test_the_same_products_in_the_same_library_are_no_step_beyond_chance() -> None:
    same = replace(layer(90 * MICRO), products=PRODUCTS)
    products, *_ = between(mine(), same)
    assert (products.kind, products.seconds.value, products.is_certain) == ("products", 0.0, False)


def test_a_library_that_was_not_measured_explains_nothing() -> None:
    unknown = replace(mine(), products=replace(PRODUCTS, seconds={"MKL": SECONDS["MKL"]}))
    assert [step.kind for step in between(unknown, layer())] == ["overhead", "kernels"]
    assert not between(replace(unknown, opaque="compiled", operators=()), layer())


@pytest.mark.parametrize("library", ["MKL", DNNL])
def test_products_that_take_no_longer_than_the_way_to_their_library_count_as_not_measured(library: str) -> None:
    """Those of a few numbers: the difference may even be negative by chance."""
    short = replace(PRODUCTS, seconds=SECONDS | {library: (0.9 * IDLE[library][0],) * 3})
    assert [step.kind for step in between(replace(mine(), products=short), layer())] == ["overhead", "kernels"]
    fastest = in_fastest_library(replace(mine(), products=short)).products
    assert fastest.library == ({"MKL", DNNL} - {library}).pop()


def test_products_that_take_longer_than_their_call_are_of_a_busy_moment() -> None:
    slow = replace(PRODUCTS, seconds=SECONDS | {"MKL": (150 * MICRO,) * 3})
    assert [step.kind for step in between(replace(mine(), products=slow), layer())] == ["overhead", "kernels"]
    assert [step.kind for step in between(mine(), layer(10 * MICRO))] != ["library", "overhead", "kernels"]


def test_the_steps_between_two_ends_add_up_to_the_gap_and_each_cause_is_counted_once() -> None:
    gradients = cause("weight gradients", 4 * MICRO)
    steps = between(mine(), layer())
    gap = take_apart(
        {"mine": dict.fromkeys(range(3), 100 * MICRO)},
        dict.fromkeys(range(3), 40 * MICRO),
        [gradients, cause(seconds=3 * MICRO)],
        steps,
    )
    assert sum(step.seconds.value for step in gap.steps) == pytest.approx(60 * MICRO)
    assert gap.rest.seconds.value == pytest.approx(0.0, abs=1e-12)
    sizes = {step.kind: step.seconds.value for step in gap.steps}
    before = {step.kind: step.seconds.value for step in steps}
    assert sizes["kernels"] == pytest.approx(before["kernels"] - 4 * MICRO)
    assert sizes["overhead"] == pytest.approx(before["overhead"] - 3 * MICRO)
    assert gap.steps[0].seconds == estimate(gradients.seconds)


def test_a_faster_library_is_one_that_saves_beyond_chance_a_part_of_the_call() -> None:
    step = faster_library(mine())
    assert step.libraries is not None
    assert (step.libraries.own, step.libraries.other) == ("MKL", DNNL)
    assert step.seconds.value == pytest.approx(27 * MICRO)
    noisy = replace(PRODUCTS, seconds=SECONDS | {DNNL: (5 * MICRO, 56 * MICRO, 50 * MICRO)})
    for products in (None, FUSED, noisy, replace(PRODUCTS, library=DNNL)):
        assert faster_library(replace(mine(), products=products)) is None
    assert faster_library(replace(profile(27 * MICRO / 0.04), products=PRODUCTS)) is None


def test_a_cause_that_the_reference_has_too_explains_no_difference() -> None:
    both, only = cause("weight gradients"), cause()
    own = profile(causes=(both, only))
    assert own_causes(own, profile(causes=(both,))) == (only,)
    assert own_causes(own, None) == (both, only)
    assert own_causes(None, own) == ()
