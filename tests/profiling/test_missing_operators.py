"""Operators that a reference does not have, found in made-up profiles and in real ones of planted modules."""

from dataclasses import replace

import pytest
import torch

from rnnbench.analysis.estimate import Estimate
from rnnbench.profiling.breakdown import TOO_LONG, in_one_piece
from rnnbench.profiling.gap import OPERATOR, between, of_profiled
from rnnbench.profiling.missing_operators import OF_A_LAYER, missing_operators, word
from rnnbench.store.profiles import CallPart, Category, Cause, Kernels, Operator, Profile
from tests.profiling.profiles import profile

LAYER = Operator("aten::mkldnn_rnn_layer", "", "layer", "forward", 1, 0, (20e-6,) * 3, (1e-6,) * 3)


def operator(
    name: str, seconds: float, category: Category = "other", part: CallPart = "forward", calls: int = 16
) -> Operator:
    """An operator of which a tenth of the time lies outside its kernels."""
    return Operator(f"aten::{name}", "4x8", category, part, calls, 0, (seconds,) * 3, (0.1 * seconds,) * 3)


def with_operators(own: Profile, *operators: Operator) -> Profile:
    return replace(own, operators=(*own.operators, *operators))


FUSED = replace(profile(30e-6), operators=(LAYER,))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("aten::native_layer_norm", "layer norm"),
        ("aten::native_layer_norm_backward", "layer norm"),
        ("layer_norm", "layer norm"),
        ("aten::_softmax", "softmax"),
        ("aten::_softmax_backward_data", "softmax"),
        ("aten::exp", "exponential"),
        ("aten::bmm", "batched matmul"),
        ("aten::addmm", "matmul"),
        ("aten::sigmoid_backward", "sigmoid"),
        ("aten::_to_copy", "copy"),
        ("clone", "copy"),
        ("aten::slice_backward", "gradient of a slice"),
        ("aten::_foreach_add_", "addition"),
        ("mine::gated_scan", "gated scan"),
    ],
)
def test_an_operator_and_its_gradient_have_one_name_in_plain_english(name: str, expected: str) -> None:
    assert word(name) == expected


def test_no_name_is_empty_or_has_an_underscore() -> None:
    names = [name for name in dir(torch.ops.aten) if not name.startswith("__")]
    assert all(word(name) and "_" not in word(name) for name in names if name.strip("_"))


def test_the_largest_operators_that_the_reference_does_not_have_are_named_largest_first() -> None:
    mine = with_operators(
        profile(),
        operator("cumsum", 6e-6),
        operator("native_layer_norm", 20e-6),
        operator("native_layer_norm_backward", 5e-6, "pointwise", "backward"),
        operator("native_layer_norm", 5e-6, calls=48),
        operator("exp", 1e-6, "pointwise"),  # a hundredth of the call
        operator("view", 9e-6, "views"),
    )
    found = missing_operators(mine, FUSED)
    assert [(each.word, each.calls) for each in found] == [("layer norm", 64), ("cumulative sum", 16)]
    assert found[0].kernels.value == pytest.approx(27e-6)
    assert found[0].around.value == pytest.approx(3e-6)


def test_what_a_fused_layer_does_inside_is_not_named_and_is_named_beside_a_reference_without_it() -> None:
    assert missing_operators(profile(), FUSED) == []
    assert word("tanh") in OF_A_LAYER
    plain = replace(FUSED, operators=(operator("addmm", 20e-6, "products"),))
    assert [each.word for each in missing_operators(profile(), plain)] == ["tanh"]


@pytest.mark.parametrize(
    "blind",
    [
        replace(FUSED, opaque="compiled code calls its kernels without operators"),
        replace(FUSED, operators=()),
        replace(FUSED, kernels=Kernels(1, {"layer": 1e-6})),
    ],
)
def test_nothing_is_named_if_the_operators_of_one_side_are_not_known(blind: Profile) -> None:
    mine = with_operators(profile(), operator("native_layer_norm", 20e-6))
    assert missing_operators(mine, FUSED)
    assert missing_operators(mine, blind) == missing_operators(blind, mine) == []


def test_operators_are_named_also_where_kernels_come_to_more_than_the_call() -> None:
    busy = with_operators(profile(50e-6, 40e-6, 20e-6), operator("native_layer_norm", 40e-6))
    assert in_one_piece(busy) == TOO_LONG
    (step,) = between(busy, FUSED)
    assert (step.kind, step.what, step.calls) == (OPERATOR, "layer norm", 16)
    clocked = 40e-6 + 45e-6 + 25e-6 + 9e-6 - 9e-6  # without views
    assert step.seconds.value == pytest.approx(50e-6 * 40e-6 / clocked)


def test_the_time_of_an_operator_is_taken_off_kernels_and_overhead() -> None:
    mine = with_operators(profile(), operator("native_layer_norm", 20e-6))
    steps = {step.kind: step.seconds for step in between(mine, FUSED)}
    without = {step.kind: step.seconds for step in between(mine, FUSED, words={"layer norm"})}
    assert without.keys() == {"overhead", "kernels"}
    assert steps[OPERATOR].value == pytest.approx(20e-6)
    assert steps["kernels"].value == pytest.approx(without["kernels"].value - 18e-6)
    assert steps["overhead"].value == pytest.approx(without["overhead"].value - 2e-6)
    assert isinstance(steps[OPERATOR], Estimate)


@pytest.mark.parametrize(("seconds", "expected"), [(15e-6, ["copy"]), (0.1e-6, [OPERATOR])])
def test_an_operator_that_a_cause_names_is_not_counted_twice(seconds: float, expected: list[str]) -> None:
    cause = Cause("copy", "clone (mine.py:7)", 16, (seconds,) * 3, operators=("clone",))
    mine = replace(with_operators(profile(), operator("clone", 20e-6, "copies")), causes=(cause,))
    times = dict.fromkeys(range(3), 100e-6)
    gap = of_profiled({"loop": times}, dict.fromkeys(range(3), 30e-6), [mine], FUSED)
    assert [step.kind for step in gap.steps if step.what] == expected
    assert sum(step.seconds.value for step in gap.steps) == pytest.approx(gap.seconds.value)
