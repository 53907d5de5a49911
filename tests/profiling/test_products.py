"""Products of a call are recorded and made again in each library; nothing is timed here."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from rnnbench.kernels.libraries import torch_library
from rnnbench.profiling import products
from rnnbench.profiling.operators import listing
from rnnbench.profiling.products import (
    IDLE,
    IN,
    MADE,
    Layout,
    MatrixProduct,
    product_replays,
    recorded,
    stacked,
)
from rnnbench.store.profiles import PACKED, PACKING
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


def test_the_products_of_a_call_are_recorded_in_order_with_layouts_and_weights() -> None:
    module = Clean(INPUT, HIDDEN)
    hoisted, *steps = recorded(call(module))
    assert hoisted == MatrixProduct(
        Layout((STEPS * BATCH, INPUT), (INPUT, 1)),
        Layout((4 * HIDDEN, INPUT), (INPUT, 1)),
        torch.float32,
        has_bias=True,
        weight_id=module.weight_ih.untyped_storage().data_ptr(),
    )
    assert len(steps) == STEPS
    assert len(set(steps)) == 1
    assert not steps[0].has_bias


def test_weight_gradients_of_all_steps_are_one_product_with_as_many_multiplications() -> None:
    made = recorded(call(Clean(INPUT, HIDDEN), trained=True))
    whole = stacked(made)
    assert sum(product.is_gradient for product in made) == STEPS + 1  # one for the hoisted product
    assert len(whole) == len(made) - (STEPS - 1)
    assert macs(whole) == macs(made)
    assert not any(product.weight_id for product in made if product.is_gradient)
    assert all(product.weight_id for product in made if not product.is_gradient)


def macs(made: list[MatrixProduct]) -> int:
    return sum(product.x.shape[0] * product.x.shape[1] * product.weight.shape[0] for product in made)


def test_a_product_with_a_weight_that_the_call_made_can_not_be_packed_before_it() -> None:
    weight = torch.randn(HIDDEN, INPUT)

    def run() -> Tensor:
        return linear(SEQUENCE[0], weight) + linear(SEQUENCE[0], weight * 2)

    fixed, made = recorded(TimedCall(run, torch.no_grad))
    assert fixed.weight_id
    assert not made.weight_id


def test_replays_are_arms_for_each_library_and_leave_random_numbers_as_they_were() -> None:
    timed = call(Clean(INPUT, HIDDEN), trained=True)
    before = torch.get_rng_state()
    replays = product_replays(timed, listing(timed), trained=True)
    assert torch.equal(torch.get_rng_state(), before)
    assert replays.library == TORCH
    assert {MADE, IN + TORCH, IDLE + TORCH} <= set(replays.arms)
    assert (IN + "oneDNN" + PACKED in replays.arms) == (IN + PACKING in replays.arms)
    for arm in replays.arms.values():
        with arm.mode():
            arm.call()


def test_what_is_stored_is_the_time_in_each_library_and_what_one_product_for_all_gradients_saves() -> None:
    timed = call(Clean(INPUT, HIDDEN), trained=True)
    replays = product_replays(timed, listing(timed), trained=True)
    times = {arm: (float(index), float(index + 1)) for index, arm in enumerate(replays.arms)}
    times |= {MADE: (9.0, 8.0), IN + TORCH: (5.0, 5.0)}
    stored = replays.products(times)
    assert stored.seconds[TORCH] == (5.0, 5.0)
    assert set(stored.seconds) == {arm.removeprefix(IN) for arm in replays.arms if arm.startswith(IN)}
    assert set(stored.seconds) == set(stored.idle_seconds)
    (cause,) = replays.causes(times)
    assert (cause.kind, cause.calls, cause.seconds) == ("weight gradients", STEPS, (4.0, 3.0))


@pytest.mark.parametrize("trained", [False, True])
def test_the_library_of_a_fused_layer_is_known_and_its_products_are_not(*, trained: bool) -> None:
    timed = call(nn.LSTM(INPUT, HIDDEN), trained=trained)
    replays = product_replays(timed, listing(timed), trained=trained)
    is_fused = torch.backends.mkldnn.is_available()
    assert replays.library == (("oneDNN" if trained else "oneDNN" + PACKED) if is_fused else TORCH)
    assert bool(replays.arms) != is_fused


def test_matrices_that_would_fill_the_memory_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = call(Clean(INPUT, HIDDEN))
    distinct = set(recorded(timed))
    for spare in (0, -1):
        monkeypatch.setattr(products, "MAX_BYTES", sum(product.bytes for product in distinct) + spare)
        replays = product_replays(timed, listing(timed), trained=False)
        assert (replays.library, replays.calls) == (TORCH, STEPS + 1)
        assert bool(replays.arms) == (spare == 0)
