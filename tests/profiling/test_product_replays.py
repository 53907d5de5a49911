"""The products of a call, made again in each library; nothing is timed here."""

from typing import Any

import pytest
import torch
from torch import nn

from rnnbench.kernels.libraries import DIRECT_PACKED, Matrix, torch_library
from rnnbench.profiling.operators import Factors, listing
from rnnbench.profiling.product_replays import IDLE_IN_LIBRARY, IN_LIBRARY, STACKED, STEPWISE, product_replays
from rnnbench.store.profiles import Products
from rnnbench.workloads.phases import TimedCall
from tests.validation.planted_causes import Clean

pytestmark = pytest.mark.usefixtures("one_thread")
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
    replays = product_replays(listed, trained=trained)
    assert torch.equal(torch.get_rng_state(), before)
    assert replays.products == Products(TORCH, (STEPS + 1) * (1 if not trained else 2) + (STEPS - 1 if trained else 0))
    assert {IN_LIBRARY + TORCH, IDLE_IN_LIBRARY + TORCH} <= set(replays.arms)
    assert ({STEPWISE, STACKED} <= set(replays.arms)) == trained
    assert (
        IN_LIBRARY + DIRECT_PACKED not in replays.arms
    )  # only what rnnbench's code can't read where it lies is packed
    for arm in replays.arms.values():
        with arm.mode():
            arm.call()
    measured = [(cause.kind, cause.calls, of_cause) for cause, of_cause in replays.differences.items()]
    assert measured == ([("weight gradients", STEPS, (STEPWISE, STACKED))] if trained else [])


@pytest.mark.parametrize("trained", [False, True])
def test_the_library_of_a_fused_layer_is_known_and_its_products_are_not(*, trained: bool) -> None:
    timed = call(nn.LSTM(INPUT, HIDDEN), trained=trained)
    replays = product_replays(listing(timed), trained=trained)
    products = replays.products
    is_fused = torch.backends.mkldnn.is_available()
    assert products is not None
    assert products.library == (("oneDNN" if trained else "oneDNN with packed weights") if is_fused else TORCH)
    assert bool(replays.arms) != is_fused
