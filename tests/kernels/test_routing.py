"""The pass that has products made in other libraries: the same values, and each weight packed once.

Compiled code with products in other libraries: equal values, never stale weights, and no Python in between.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx

from rnnbench.kernels import libraries, routing
from rnnbench.kernels.libraries import DIRECT, DIRECT_PACKED, OWN, Matrix, SharedProducts, torch_library
from rnnbench.kernels.passes import aten
from rnnbench.kernels.routing import LoopPasses, operators, route_products
from rnnbench.workloads import compiled
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import build
from tests.doubles import workload as small
from tests.kernels.test_passes import count, traced

pytestmark = pytest.mark.usefixtures("own_products", "one_thread", "quick_compiler")
TORCH = torch_library(torch.float32)


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


@settings(max_examples=20, deadline=None)
@given(library=st.sampled_from(OWN), batch=st.integers(1, 9), hidden=st.integers(1, 20), by_row=st.booleans())
def test_products_of_one_weight_share_its_packing(library: str, batch: int, hidden: int, by_row: bool) -> None:
    torch.manual_seed(0)
    weight = torch.randn(hidden, hidden)
    weight = weight if by_row else weight.t().contiguous().t()
    module, asked = routed(loop, library, weight, torch.randn(hidden), torch.randn(batch, hidden))
    assert [(products.count, products.left.shape) for products in asked] == [(3, (batch, hidden))]
    multiply, pack = operators()
    reads_as_is = library == DIRECT and Matrix.from_tensor(weight.t()).is_by_row
    assert (count(module, multiply), count(module, pack)) == (3, not reads_as_is)
    assert count(module, aten.addmm.default) == 0


def two_products(weight: Tensor, other: Tensor, biases: Tensor, h: Tensor) -> Tensor:
    """Three steps of a cell as people write it: a product of the input, and one of the state."""
    first, second = biases.unbind()
    for x in h.split(1):
        h = (torch.addmm(first, x.expand_as(h), weight.t()) + torch.addmm(second, h, other.t())).tanh()
    return h


@settings(max_examples=20, deadline=None)
@given(batch=st.integers(1, 9), hidden=st.integers(1, 20))
def test_the_two_products_of_a_step_are_one_call(batch: int, hidden: int) -> None:
    torch.manual_seed(0)
    sizes = [(hidden, hidden), (hidden, hidden), (2, hidden), (batch, hidden)]
    module, _ = routed(two_products, DIRECT, *(torch.randn(size, dtype=torch.float64) for size in sizes))
    assert count(module, operators()[0]) == batch
    assert count(module, aten.add.Tensor) == 1  # of the biases, once for all steps


@pytest.mark.parametrize(
    ("own", "made"), [("larger", {DIRECT: 2}), ("smaller", {DIRECT: 1, TORCH: 1}), ("none", {TORCH: 2})]
)
def test_the_larger_of_two_added_products_decides_where_both_are_made(own: str, made: dict[str, int]) -> None:
    def step(x: Tensor, weight: Tensor, h: Tensor, other: Tensor) -> Tensor:
        return x @ weight + h @ other

    def choose(products: SharedProducts) -> str:
        size = "larger" if products.left.shape[1] == 8 else "smaller"
        return DIRECT if own == size else TORCH

    x, weight, h, other = torch.randn(2, 3), torch.randn(3, 16), torch.randn(2, 8), torch.randn(8, 16)
    module = traced(step, x, weight, h, other)
    assert route_products(module.graph, choose) == made
    module.recompile()
    torch.testing.assert_close(module(x, weight, h, other), step(x, weight, h, other))
    assert count(module, operators()[0]) == (DIRECT in made)
    assert count(module, aten.mm.default) == made.get(TORCH, 0)


def test_biases_are_added_before_the_first_step_if_inputs_are_multiplied_in_reverse() -> None:
    def reverse(weight: Tensor, other: Tensor, biases: Tensor, h: Tensor) -> Tensor:
        first, second = biases.unbind()
        inputs = [torch.addmm(first, x.expand_as(h), weight.t()) for x in reversed(h.split(1))]
        for product in reversed(inputs):
            h = (product + torch.addmm(second, h, other.t())).tanh()
        return h

    module, _ = routed(reverse, DIRECT, torch.randn(4, 4), torch.randn(4, 4), torch.randn(2, 4), torch.randn(3, 4))
    assert count(module, operators()[0]) == 3


def test_biases_that_the_code_adds_itself_later_are_not_used_before() -> None:
    def steps(a: Tensor, b: Tensor) -> list[Tensor]:
        return [torch.addmm(a[0], a, b) + torch.addmm(b[0], b, a), a[0] + b[0]]

    def first(a: Tensor, b: Tensor) -> list[Tensor]:
        x, y = a[0], b[0]
        return [torch.addmm(x, a, b) + torch.addmm(y, b, a), y + x, x + y]

    for function in (steps, first):
        module, _ = routed(function, DIRECT, torch.randn(4, 4), torch.randn(4, 4))  # the graph's order is checked
        assert count(module, operators()[0]) == 1


@pytest.mark.parametrize(
    ("function", "calls", "additions"),
    [
        (lambda a, b: a @ b + a, 1, 0),
        (lambda a, b: a + a @ b, 1, 0),
        (lambda a, b: a @ b + a[0], 1, 1),  # another shape
        (lambda a, b: torch.add(a @ b, a, alpha=2), 1, 1),
        (lambda a, b: [a @ b + a, a @ b], 2, 0),
        (lambda a, b: [(p := a @ b) + a, p], 1, 1),  # the product is used elsewhere
        (lambda a, b: (p := a @ b) + p, 1, 1),
        (lambda a, b: a @ b + a @ a + b @ a, 2, 0),  # a call adds two products, and one matrix to it
        (lambda a, b: [a @ b, b][1], 0, 0),  # nothing uses the product
    ],
)
def test_what_is_added_to_a_product_is_a_part_of_its_call(
    function: Callable[..., Any], calls: int, additions: int
) -> None:
    module, _ = routed(function, DIRECT, torch.randn(4, 4), torch.randn(4, 4))
    assert count(module, operators()[0]) == calls
    assert count(module, aten.add.Tensor) == additions


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
    module, _ = routed(function, DIRECT, matrix, torch.randn(4, 4))
    assert count(module, aten.addmm.default) + count(module, aten.bmm.default) == 1


def test_the_key_of_the_compiler_s_cache_knows_what_the_choice_depends_on() -> None:
    known = LoopPasses(Counter()).uuid()
    assert LoopPasses(Counter(["MKL"])).uuid() == known != LoopPasses().uuid()
    torch.set_num_threads(2)  # the fixture sets it back
    assert LoopPasses(Counter()).uuid() != known


@pytest.mark.parametrize("library", OWN)
def test_changed_weights_are_seen_and_no_python_is_called(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor.utils import run_and_get_code

    torch.manual_seed(0)
    weight, bias, h = torch.randn(16, 16), torch.randn(16), torch.randn(4, 16)
    monkeypatch.setattr(routing, "fastest_library", lambda products: library)
    run = compiled.compiled(loop, "prepacked")
    with torch.inference_mode():
        result, [code] = run_and_get_code(run, weight, bias, h)
        torch.testing.assert_close(result, loop(weight, bias, h))
        for change in (lambda: weight.mul_(0.5), weight.data[3].zero_, lambda: weight.copy_(torch.randn(16, 16))):
            change()
            torch.testing.assert_close(run(weight, bias, h), loop(weight, bias, h))
    assert "rnnbench_multiply" in code
    assert "custom_op_wrapper" not in code  # how generated C++ calls Python


def test_gradients_agree_and_weights_are_packed_anew_after_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    weight, bias, h = torch.randn(16, 16, requires_grad=True), torch.randn(16, requires_grad=True), torch.randn(4, 16)
    monkeypatch.setattr(routing, "fastest_library", lambda products: DIRECT_PACKED)
    run = compiled.compiled(loop, "prepacked")
    for _ in range(2):
        expected = torch.autograd.grad(loop(weight, bias, h).square().sum(), (weight, bias))
        gradients = torch.autograd.grad(run(weight, bias, h).square().sum(), (weight, bias))
        torch.testing.assert_close(gradients, expected)
        with torch.no_grad():
            weight -= 0.1 * gradients[0]


def test_a_case_agrees_and_says_which_libraries_it_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "library_seconds", lambda products: {"torch": 2.0, DIRECT_PACKED: 1.0})
    monkeypatch.setattr(libraries, "torch_library", lambda dtype: "torch")
    measurement = observe(build(small.case("lstm", "prepacked", phase="training", seq_len=3, dtype="float32"), Path()))
    assert str(measurement.parity) == "agrees"
    assert measurement.backend == "inductor, products in rnnbench with packed weights"
    assert measurement.metrics["graph_breaks"] == 0
    assert measurement.metrics["compile_seconds"] > 0
