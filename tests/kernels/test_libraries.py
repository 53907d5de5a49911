"""The libraries of a product compute what torch's own functions do; nothing is timed here.

Which library is chosen, on a clock that the test sets.
"""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

from rnnbench.kernels import direct, libraries, operators
from rnnbench.kernels.libraries import (
    DIRECT,
    DIRECT_PACKED,
    LIBRARIES,
    MKL_PACKED,
    ONEDNN,
    ONEDNN_PACKED,
    Matrix,
    SharedProducts,
    convolution,
    fastest_library,
    is_read_by_column,
    library_seconds,
    pack,
    product_calls,
    shortest,
    torch_library,
)

pytestmark = pytest.mark.usefixtures("one_thread")
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def transposed(tensor: Tensor) -> Tensor:
    """The same values in the order of the columns."""
    return tensor.t().contiguous().t()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("is_transposed", [True, False])
def test_every_library_gives_the_result_of_torch(dtype: torch.dtype, has_bias: bool, is_transposed: bool) -> None:
    x, weight, bias = torch.randn(5, 24).to(dtype), torch.randn(32, 24).to(dtype), torch.randn(32).to(dtype)
    if is_transposed:
        x, weight = transposed(x), transposed(weight)
    calls = product_calls(x, weight, bias if has_bias else None)
    assert next(iter(calls)) == torch_library(dtype)
    for name, call in calls.items():
        torch.testing.assert_close(call(), linear(x, weight, bias if has_bias else None), msg=name)


def test_a_weight_with_gradients_is_not_tracked_by_a_packed_copy() -> None:
    weight = torch.nn.Parameter(torch.randn(4, 3))
    with torch.no_grad():
        for call in product_calls(torch.randn(2, 3), weight).values():
            assert not call().requires_grad


def test_a_library_that_torch_does_not_have_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "ops", SimpleNamespace(mkldnn=torch.ops.no_such_mkldnn, mkl=torch.ops.no_such_mkl))
    assert list(product_calls(torch.randn(2, 3), torch.randn(4, 3))) == [torch_library(torch.float32)]
    assert pack(torch.randn(4, 3), 2) is None
    assert torch_library(torch.bfloat16) == "torch"


def test_a_convolution_of_width_1_is_the_same_product() -> None:
    x, weight = torch.randn(3, 5), torch.randn(4, 5)
    call = convolution(x, weight)
    assert call is not None
    torch.testing.assert_close(call()[0].t(), x @ weight.t())


OWN = torch_library(torch.float32)
BY_ROW, TURNED = Matrix((3, 4), (4, 1)), Matrix((4, 5), (1, 4))


def products(
    count: int = 16, right: Matrix = TURNED, left: Matrix = BY_ROW, *, has_added: bool = False
) -> SharedProducts:
    return SharedProducts(left, right, count, torch.float32, 1, has_added=has_added)


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({OWN: 1.0}, OWN),
        ({OWN: 1.0, ONEDNN: 0.9, ONEDNN_PACKED: 0.95}, ONEDNN),
        ({OWN: 1.0, ONEDNN: 0.98, MKL_PACKED: 1.5}, OWN),  # too little to leave torch's own
        ({OWN: 1.0, ONEDNN: 1.1, MKL_PACKED: 0.5}, MKL_PACKED),
    ],
)
def test_another_library_is_chosen_only_where_it_saves_time(
    monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float], chosen: str
) -> None:
    monkeypatch.setattr(libraries, "library_seconds", lambda asked: seconds)
    assert fastest_library(products()) == chosen


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({OWN: 1.0, DIRECT: 1.1, DIRECT_PACKED: 1.15}, DIRECT),
        ({OWN: 1.0, DIRECT: 1.2, DIRECT_PACKED: 1.1}, DIRECT_PACKED),
        ({OWN: 1.0, DIRECT: 1.3, ONEDNN: 1.1}, OWN),  # so much that a matrix more is worth it
        ({OWN: 1.0, ONEDNN: 0.9}, ONEDNN),  # there are no products of rnnbench's own
    ],
)
def test_a_sum_is_left_to_one_call_unless_products_apart_save_much(
    monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float], chosen: str
) -> None:
    monkeypatch.setattr(libraries, "library_seconds", lambda asked: seconds)
    assert fastest_library(products(has_added=True)) == chosen


def test_packing_and_copies_are_shared_by_all_products(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = {
        "own": 10.0,
        "left by row": 2.0,
        "right by column": 30.0,
        DIRECT: 5.5,
        f"calling {DIRECT}": 0.5,
        DIRECT_PACKED: 4.5,
        f"calling {DIRECT_PACKED}": 0.5,
        f"packing for {DIRECT_PACKED}": 7.0,
        ONEDNN: 4.0,
        ONEDNN_PACKED: 3.0,
        f"packing for {ONEDNN_PACKED}": 8.0,
    }
    monkeypatch.setattr(libraries, "shortest", lambda calls: {name: taken[name] for name in calls if name in taken})
    library_seconds.cache_clear()
    assert library_seconds(products(10)) == {  # the weight lies by row, as oneDNN and MKL read it
        OWN: 100.0,
        DIRECT_PACKED: 10 * 4.0 + 7.0,
        ONEDNN: 10 * 4.0,
        ONEDNN_PACKED: 10 * 3.0 + 8.0,
    }
    assert library_seconds(products(10, Matrix((4, 5), (5, 1)), left=Matrix((3, 4), (1, 3)))) == {
        OWN: 100.0,
        DIRECT: 10 * (5.0 + 2.0),  # read where it lies
        DIRECT_PACKED: 10 * (4.0 + 2.0) + 7.0,
        ONEDNN: 10 * (4.0 + 2.0) + 30.0,
        ONEDNN_PACKED: 10 * (3.0 + 2.0) + 30.0 + 8.0,
    }
    library_seconds.cache_clear()


@pytest.mark.parametrize("right", [TURNED, Matrix((4, 5), (5, 1))])
def test_every_library_that_works_here_is_measured(right: Matrix) -> None:
    available = [name for name, library in LIBRARIES.items() if library(torch.ones(3, 4), torch.ones(5, 4), None)]
    seconds = library_seconds(products(right=right))
    assert set(seconds) == {OWN, DIRECT_PACKED, *available} | ({DIRECT} if right.is_by_row else set())
    assert all(0 <= taken < math.inf for taken in seconds.values())


def test_a_product_shorter_than_its_call_takes_no_time_rather_than_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        libraries, "shortest", lambda calls: {name: 2.0 if name.startswith("calling") else 1.0 for name in calls}
    )
    library_seconds.cache_clear()
    seconds = library_seconds(products(10, Matrix((4, 5), (5, 1))))
    assert (seconds[DIRECT], seconds[DIRECT_PACKED]) == (0.0, 1.0)  # the packing is left
    library_seconds.cache_clear()


def test_a_library_that_does_not_work_here_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> Any:
        raise AttributeError("no such operator")

    library_seconds.cache_clear()
    for name in ("onednn_linear", "mkl_linear"):
        monkeypatch.setattr(operators, name, missing)
    monkeypatch.setattr(direct, "_loaded", lambda dtype: "no C compiler was found")
    assert set(library_seconds(products())) == {OWN}
    library_seconds.cache_clear()


@pytest.mark.parametrize(("by_column", "by_row", "stored_by_column"), [(1, 2, True), (2, 1, False), (1, 0.98, True)])
def test_a_weight_is_stored_in_the_order_of_the_fastest_library(
    monkeypatch: pytest.MonkeyPatch, by_column: float, by_row: float, stored_by_column: bool
) -> None:
    def seconds(asked: SharedProducts) -> dict[str, float]:
        assert (asked.left.shape, asked.right.shape) == ((3, 4), (4, 5))
        best = by_row if asked.right == TURNED else by_column
        return {OWN: 3.0, ONEDNN: best}

    monkeypatch.setattr(libraries, "library_seconds", seconds)
    assert is_read_by_column(Matrix((5, 4), (4, 1)), 3, 16, torch.float32) == stored_by_column


def test_the_shortest_of_several_blocks_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now, busy = 0.0, iter([5.0, 1.0])

    def taking(seconds: float) -> Callable[[], None]:
        def call() -> None:
            nonlocal now
            now += seconds * next(busy, 1.0)

        return call

    monkeypatch.setattr(libraries, "perf_counter", lambda: now)
    taken = shortest({"slow": taking(3e-4), "fast": taking(1e-5)})
    assert taken == pytest.approx({"slow": 3e-4, "fast": 1e-5})


@pytest.mark.parametrize(("noisy", "rounds"), [(0, 9), (20, 21)])
def test_there_are_more_rounds_until_the_shortest_block_is_confirmed(
    monkeypatch: pytest.MonkeyPatch, noisy: int, rounds: int
) -> None:
    now, blocks = 0.0, 0

    def call() -> None:  # a call fills a block; two of three calls are not clocked in a block
        nonlocal now, blocks
        blocks += 1
        now += 3e-4 * (1 + blocks / 10 if blocks < 2 + 2 * noisy else 1)

    monkeypatch.setattr(libraries, "perf_counter", lambda: now)
    assert shortest({"call": call}) == pytest.approx({"call": 3e-4})
    assert blocks == 2 + 2 * rounds
