"""The pass that has products made in other libraries: the same values, and each weight packed once."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx

from rnnbench.workloads.graph_passes import aten
from rnnbench.workloads.products import operators
from rnnbench.workloads.products.choice import MKL_PACKED, ONEDNN, ONEDNN_PACKED, Matrix, SharedProducts
from rnnbench.workloads.products.libraries import LIBRARIES, torch_library
from rnnbench.workloads.products.routing import RoutedPasses, route_products
from tests.workloads.test_graph_passes import count, traced

pytestmark = pytest.mark.usefixtures("one_thread")
AVAILABLE = [name for name, library in LIBRARIES.items() if library(torch.ones(2, 3), torch.ones(4, 3), None)]


def routed(function: Callable[..., Any], library: str, *inputs: Tensor) -> tuple[fx.GraphModule, list[SharedProducts]]:
    """The function's graph with all products in a library, and what was asked about. Asserts equal values."""
    asked: list[SharedProducts] = []

    def choose(products: SharedProducts) -> str:
        asked.append(products)
        return library

    module = traced(function, *inputs)
    made = route_products(module.graph, choose)
    assert made == Counter({library: sum(products.count for products in asked)})
    module.graph.lint()
    module.graph.eliminate_dead_code()
    module.recompile()
    torch.testing.assert_close(module(*inputs), function(*inputs))
    return module, asked


def loop(weight: Tensor, bias: Tensor, h: Tensor) -> Tensor:
    """Three steps of a loop."""
    turned = weight.t()
    for _ in range(3):
        h = torch.addmm(bias, h, turned).tanh()
    return h


def gradients(weight: Tensor, dz: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """Both products of backward."""
    return dz @ weight, dz.t() @ h


@settings(max_examples=20, deadline=None)
@given(library=st.sampled_from(AVAILABLE), batch=st.integers(1, 9), hidden=st.integers(1, 20), by_row=st.booleans())
def test_products_of_one_weight_share_its_packing(library: str, batch: int, hidden: int, by_row: bool) -> None:
    torch.manual_seed(0)
    weight = torch.randn(hidden, hidden)
    weight = weight if by_row else weight.t().contiguous().t()
    module, asked = routed(loop, library, weight, torch.randn(hidden), torch.randn(batch, hidden))
    assert [(products.count, products.left.shape) for products in asked] == [(3, (batch, hidden))]
    own = operators.registered()
    packings = {
        ONEDNN: 0,
        ONEDNN_PACKED: count(module, own.pack_for_onednn),
        MKL_PACKED: count(module, own.pack_for_mkl),
    }
    assert packings[library] == (library != ONEDNN)
    assert count(module, own.onednn_linear) + count(module, own.mkl_linear) == 3
    assert count(module, aten.addmm.default) == 0


@settings(max_examples=20, deadline=None)
@given(library=st.sampled_from(AVAILABLE), batch=st.integers(1, 9), gates=st.integers(1, 9), hidden=st.integers(1, 9))
def test_the_products_of_backward_are_made_there_too(library: str, batch: int, gates: int, hidden: int) -> None:
    torch.manual_seed(0)
    weight, dz, h = torch.randn(gates, hidden), torch.randn(batch, gates), torch.randn(batch, hidden)
    module, asked = routed(gradients, library, weight, dz, h)
    assert [(products.left.shape, products.right.shape) for products in asked] == [
        ((batch, gates), (gates, hidden)),
        ((gates, batch), (batch, hidden)),
    ]
    assert count(module, aten.mm.default) == 0


def test_a_weight_is_packed_for_each_number_of_rows() -> None:
    module, asked = routed(
        lambda weight, few, many: [x @ turned for turned in [weight.t()] for x in (few, many, few)],
        ONEDNN_PACKED,
        torch.randn(5, 4),
        torch.randn(2, 4),
        torch.randn(9, 4),
    )
    assert [(products.left, products.count) for products in asked] == [
        (Matrix((2, 4), (4, 1)), 2),
        (Matrix((9, 4), (4, 1)), 1),
    ]
    assert count(module, operators.registered().pack_for_onednn) == 2


@pytest.mark.parametrize(
    "function",
    [
        lambda a, b: torch.addmm(a @ b, a, b),  # a bias with rows
        lambda a, b: torch.addmm(a[0], a, b, beta=2),
        lambda a, b: torch.bmm(a[None], b[None]),
    ],
)
def test_what_is_no_plain_product_stays(function: Callable[..., Any]) -> None:
    matrix = torch.randn(4, 4)
    module, _ = routed(function, ONEDNN, matrix, torch.randn(4, 4))
    assert count(module, aten.addmm.default) + count(module, aten.bmm.default) == 1


def test_products_stay_where_torch_s_own_library_is_fastest() -> None:
    module, _ = routed(gradients, torch_library(torch.float32), torch.randn(3, 4), torch.randn(2, 3), torch.randn(2, 4))
    assert count(module, aten.mm.default) == 2


def test_the_key_of_the_compiler_s_cache_knows_what_the_choice_depends_on() -> None:
    passes = RoutedPasses(made=Counter())
    known = passes.uuid()
    assert RoutedPasses().uuid() == known
    torch.set_num_threads(2)  # the fixture sets it back
    assert RoutedPasses().uuid() != known
