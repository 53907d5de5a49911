"""The libraries of a product compute what torch's own functions do; nothing is timed here."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

from rnnbench.workloads.products import operators
from rnnbench.workloads.products.libraries import convolution, pack, product_calls, torch_library

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


def test_only_the_cpu_has_other_libraries() -> None:
    x, weight = torch.empty(2, 3, device="meta"), torch.empty(4, 3, device="meta")
    assert list(product_calls(x, weight)) == ["torch"]


def test_a_convolution_of_width_1_is_the_same_product() -> None:
    x, weight = torch.randn(3, 5), torch.randn(4, 5)
    call = convolution(x, weight)
    assert call is not None
    torch.testing.assert_close(call()[0].t(), x @ weight.t())


def test_a_type_that_torch_has_no_convolution_for_is_left_out() -> None:
    assert convolution(torch.zeros(2, 2, dtype=torch.bool), torch.zeros(2, 2, dtype=torch.bool)) is None
