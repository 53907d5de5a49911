"""Each library of a product computes what torch's own functions do; which is chosen, on a clock that the test sets."""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

from rnnbench.kernels import direct, libraries
from rnnbench.kernels.libraries import (
    DIRECT,
    DIRECT_PACKED,
    OWN,
    Matrix,
    SharedProducts,
    fastest_library,
    library_seconds,
    product_calls,
    shortest,
    torch_library,
)

pytestmark = pytest.mark.usefixtures("one_thread")
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
TORCH = torch_library(torch.float32)
BY_ROW, TURNED = Matrix((3, 4), (4, 1)), Matrix((4, 5), (1, 4))


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
    calls = product_calls(x, torch.nn.Parameter(weight), bias if has_bias else None)
    assert next(iter(calls)) == torch_library(dtype)
    for name, call in calls.items():
        result: Any = call.multiply()
        if name not in OWN:  # these write into their own memory
            torch.testing.assert_close(result, linear(x, weight, bias if has_bias else None), msg=name)
            assert not result.requires_grad


def test_a_library_that_is_missing_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "ops", SimpleNamespace(mkldnn=torch.ops.no_such_mkldnn))
    monkeypatch.setattr(direct, "_loaded", lambda dtype: "no C compiler was found")
    assert list(product_calls(torch.randn(2, 3), torch.randn(4, 3))) == [torch_library(torch.float32)]
    assert torch_library(torch.bfloat16) == "torch"
    library_seconds.cache_clear()
    assert set(library_seconds(products())) == {torch_library(torch.float32)}
    library_seconds.cache_clear()


def products(
    count: int = 16, right: Matrix = TURNED, left: Matrix = BY_ROW, *, has_added: bool = False
) -> SharedProducts:
    return SharedProducts(left, right, count, torch.float32, 1, has_added=has_added)


@pytest.mark.parametrize(
    ("seconds", "has_added", "chosen"),
    [
        ({TORCH: 1.0}, False, TORCH),
        ({TORCH: 1.0, DIRECT: 0.9, DIRECT_PACKED: 0.95}, False, DIRECT),
        ({TORCH: 1.0, DIRECT: 0.98}, False, TORCH),  # too little to leave torch's own
        ({TORCH: 1.0, DIRECT: 1.1, DIRECT_PACKED: 1.15}, True, DIRECT),  # a sum is left to one call
        ({TORCH: 1.0, DIRECT: 1.3}, True, TORCH),  # so much that a matrix more is worth it
        ({TORCH: 1.0}, True, TORCH),  # there are no products of rnnbench's own
    ],
)
def test_rnnbench_s_products_are_chosen_where_they_save_time(
    monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float], has_added: bool, chosen: str
) -> None:
    monkeypatch.setattr(libraries, "library_seconds", lambda asked: seconds)
    assert fastest_library(products(has_added=has_added)) == chosen


@pytest.mark.usefixtures("own_products")
def test_packing_is_shared_by_all_products_and_no_time_is_negative(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = {
        TORCH: 10.0,
        DIRECT: 0.25,
        f"calling {DIRECT}": 0.5,
        DIRECT_PACKED: 4.5,
        f"calling {DIRECT_PACKED}": 0.5,
        f"packing for {DIRECT_PACKED}": 7.0,
    }
    monkeypatch.setattr(libraries, "shortest", lambda calls: {name: taken[name] for name in calls})
    library_seconds.cache_clear()
    by_column = library_seconds(products(10))  # which rnnbench's code can't read where it lies
    assert by_column == {TORCH: 100.0, DIRECT_PACKED: 10 * 4.0 + 7.0}
    assert library_seconds(products(10, Matrix((4, 5), (5, 1)))) == by_column | {DIRECT: 0.0}
    library_seconds.cache_clear()


@pytest.mark.parametrize("right", [TURNED, Matrix((4, 5), (5, 1))])
@pytest.mark.parametrize("left", [BY_ROW, Matrix((3, 4), (1, 3)), Matrix((3, 4), (0, 1))])
def test_every_library_that_works_here_is_measured(right: Matrix, left: Matrix) -> None:
    seconds = library_seconds(products(right=right, left=left))
    own = ({DIRECT_PACKED} | ({DIRECT} if right.is_by_row else set())) if direct.available() else set()
    assert set(seconds) == {TORCH, *own}
    assert all(0 <= taken < math.inf for taken in seconds.values())


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
