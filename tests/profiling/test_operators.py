"""Listing and timing of operators, and their products made again in each library; nothing is timed here."""

from typing import Any

import pytest
import torch
from torch import nn

from rnnbench.kernels.libraries import DIRECT_PACKED, Matrix, torch_library
from rnnbench.profiling.operators import (
    IDLE,
    IDLE_CALLS,
    IN,
    STACKED,
    STEPWISE,
    ClockedOperators,
    Factors,
    category,
    idle,
    listing,
    product_replays,
    table,
)
from rnnbench.store.profiles import Products
from rnnbench.workloads.phases import TimedCall
from tests.validation.planted_causes import Clean

pytestmark = pytest.mark.usefixtures("one_thread")
LAYER = nn.Linear(3, 4)
ROWS = torch.randn(2, 3)


def inference() -> TimedCall:
    return TimedCall(lambda: LAYER(ROWS).tanh().clone(), torch.no_grad)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("aten::addmm", "products"),
        ("aten::tanh", "pointwise"),
        ("aten::sigmoid_backward", "pointwise"),
        ("aten::clone", "copies"),
        ("aten::cat", "copies"),
        ("aten::t", "views"),
        ("aten::empty", "views"),
        ("aten::mkldnn_rnn_layer_backward", "layer"),
        ("aten::sum", "other"),
        ("aten::no_such_operator", "other"),
        ("mine::own", "other"),
    ],
)
def test_an_operator_has_the_category_of_its_work(name: str, kind: str) -> None:
    assert category(name) == kind


def test_operators_are_listed_with_shapes_parts_and_what_they_allocate() -> None:
    kinds = {kind.operator.name: kind.operator for kind in listing(inference()).kinds}
    assert list(kinds) == ["aten::t", "aten::addmm", "aten::tanh", "aten::clone"]
    assert (kinds["aten::addmm"].shapes, kinds["aten::addmm"].new_bytes) == ("4, 2x3, 3x4", 2 * 4 * 4)
    training = TimedCall(lambda: LAYER(ROWS).tanh().sum().backward(), torch.enable_grad)
    parts = {(kind.operator.name, kind.operator.part) for kind in listing(training).kinds}
    assert ("aten::addmm", "forward") in parts
    assert ("aten::tanh_backward", "backward") in parts
    assert ("aten::mm", "backward") in parts


def test_the_times_of_a_kind_are_those_of_the_faster_half_of_whole_calls() -> None:
    listed = listing(inference())
    fast, slow = [1e-6, 3e-6, 2e-6, 1e-6], [9e-6, 9e-6, 9e-6, 9e-6]
    clocked, idling = ClockedOperators(inference()), ClockedOperators(inference())
    clocked.rounds = [[slow], [slow, fast, fast, slow], [fast, slow, fast, fast]]
    idling.rounds = [[[1e-6] * 4 * IDLE_CALLS]] * 3
    operators = {operator.name: operator for operator in table(listed, clocked, idling, 2)}
    assert operators["aten::addmm"].seconds == pytest.approx((3e-6, 3e-6))
    assert operators["aten::addmm"].idle_seconds == pytest.approx((1e-6, 1e-6))
    assert operators["aten::t"].calls == 1


def test_what_has_nothing_to_do_is_called_as_often_for_each_operator_whatever_it_is_told() -> None:
    def call() -> None:
        ROWS.clone().add_(1.0)
        torch.nn.functional.pad(ROWS, (1, 1))
        ROWS.index_select(0, torch.tensor([1]))
        nn.LSTM(3, 4)(ROWS[:, None])

    kinds = listing(TimedCall(call, torch.no_grad)).kinds
    clocked = ClockedOperators(idle(kinds))
    arm = clocked.arm
    with arm.mode():
        arm.call()
    assert len(clocked.rounds[0][0]) == IDLE_CALLS * len(kinds)


STEPS, BATCH, INPUT, HIDDEN = 5, 2, 3, 4
SEQUENCE = torch.randn(STEPS, BATCH, INPUT)
TORCH = torch_library(torch.float32)


def call(module: nn.Module, *, trained: bool = False) -> TimedCall:
    def run() -> Any:
        output = module(SEQUENCE)
        output = output[0] if isinstance(output, tuple) else output
        return output.sum().backward() if trained else output

    return TimedCall(run, torch.enable_grad if trained else torch.no_grad)


def test_the_products_of_a_call_are_listed_with_how_their_factors_are_stored() -> None:
    kinds = listing(call(Clean(INPUT, HIDDEN))).kinds
    hoisted, steps = ((kind.product, kind.operator.calls) for kind in kinds if kind.product)
    assert hoisted == (
        Factors(
            Matrix((STEPS * BATCH, INPUT), (INPUT, 1)),
            Matrix((INPUT, 4 * HIDDEN), (1, INPUT)),
            torch.float32,
            has_bias=True,
        ),
        1,
    )
    assert steps[1] == STEPS


@pytest.mark.parametrize("trained", [False, True])
def test_products_are_made_in_each_library_and_weight_gradients_step_by_step_and_at_once(*, trained: bool) -> None:
    listed, before = listing(call(Clean(INPUT, HIDDEN), trained=trained)), torch.get_rng_state()
    products, arms, differences = product_replays(listed, trained=trained)
    assert torch.equal(torch.get_rng_state(), before)
    assert products == Products(TORCH, (STEPS + 1) * (1 if not trained else 2) + (STEPS - 1 if trained else 0))
    assert {IN + TORCH, IDLE + TORCH} <= set(arms)
    assert ({STEPWISE, STACKED} <= set(arms)) == trained
    assert IN + DIRECT_PACKED not in arms  # only what rnnbench's code can't read where it lies is packed
    for arm in arms.values():
        with arm.mode():
            arm.call()
    measured = [(cause.kind, cause.calls, of_cause) for cause, of_cause in differences.items()]
    assert measured == ([("weight gradients", STEPS, (STEPWISE, STACKED))] if trained else [])


@pytest.mark.parametrize("trained", [False, True])
def test_the_library_of_a_fused_layer_is_known_and_its_products_are_not(*, trained: bool) -> None:
    timed = call(nn.LSTM(INPUT, HIDDEN), trained=trained)
    products, arms, _ = product_replays(listing(timed), trained=trained)
    is_fused = torch.backends.mkldnn.is_available()
    assert products is not None
    assert products.library == (("oneDNN" if trained else "oneDNN with packed weights") if is_fused else TORCH)
    assert bool(arms) != is_fused
