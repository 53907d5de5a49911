"""Compiled code with products in other libraries: equal values, never stale weights, and no Python in between."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rnnbench.store.readings import Unavailable
from rnnbench.workloads import compiled
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import build
from rnnbench.workloads.products import choice, direct, operators
from rnnbench.workloads.products.choice import SharedProducts
from rnnbench.workloads.products.libraries import MKL_PACKED, ONEDNN, ONEDNN_PACKED, OWN
from rnnbench.workloads.products.routing import RoutedPasses
from tests.doubles import workload as small
from tests.workloads.products.test_routing import AVAILABLE

pytestmark = pytest.mark.usefixtures("one_thread", "quick_compiler")
CALLS = {
    **dict.fromkeys(OWN, "rnnbench_multiply"),
    ONEDNN: "linear_pointwise",
    ONEDNN_PACKED: "linear_pointwise",
    MKL_PACKED: "mkl_linear",
}


@pytest.fixture(autouse=True)
def _untried() -> Iterator[None]:
    """Forget whether products were tried, before the test and after it."""
    compiled.why_not_routed.cache_clear()
    yield
    compiled.why_not_routed.cache_clear()
    direct._unusable.clear()


def loop(weight: Tensor, bias: Tensor, h: Tensor) -> Tensor:
    for _ in range(3):
        h = torch.tanh(torch.nn.functional.linear(h, weight, bias))
    return h


def always(library: str) -> Any:
    def choose(products: SharedProducts) -> str:
        return library

    return choose


@pytest.mark.parametrize("library", AVAILABLE)
def test_changed_weights_are_seen_and_no_python_is_called(library: str) -> None:
    from torch._inductor.utils import run_and_get_code

    torch.manual_seed(0)
    weight, bias, h = torch.randn(16, 16), torch.randn(16), torch.randn(4, 16)
    run = compiled._compile(loop, RoutedPasses(always(library)))
    with torch.inference_mode():
        result, [code] = run_and_get_code(run, weight, bias, h)
        torch.testing.assert_close(result, loop(weight, bias, h))
        weight.mul_(0.5)
        torch.testing.assert_close(run(weight, bias, h), loop(weight, bias, h))
        weight.data[3] = 0.0
        torch.testing.assert_close(run(weight, bias, h), loop(weight, bias, h))
        weight.copy_(torch.randn(16, 16))
        torch.testing.assert_close(run(weight, bias, h), loop(weight, bias, h))
    assert CALLS[library] in code
    assert "custom_op_wrapper" not in code  # how generated C++ calls Python


def test_gradients_agree_and_weights_are_packed_anew_after_a_step() -> None:
    torch.manual_seed(0)
    weight, bias, h = torch.randn(16, 16, requires_grad=True), torch.randn(16, requires_grad=True), torch.randn(4, 16)
    run = compiled._compile(loop, RoutedPasses(always(ONEDNN_PACKED)))
    for _ in range(2):
        expected = torch.autograd.grad(loop(weight, bias, h).square().sum(), (weight, bias))
        gradients = torch.autograd.grad(run(weight, bias, h).square().sum(), (weight, bias))
        torch.testing.assert_close(gradients, expected)
        with torch.no_grad():
            weight -= 0.1 * gradients[0]


def test_a_case_agrees_and_says_which_libraries_it_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "library_seconds", lambda products: {"torch": 2.0, ONEDNN_PACKED: 1.0})
    monkeypatch.setattr(choice, "torch_library", lambda dtype: "torch")
    measurement = observe(build(small.case("lstm", "prepacked", phase="training", seq_len=3, dtype="float32"), Path()))
    assert measurement.parity == "agrees"
    assert measurement.backend == "inductor, products in oneDNN with packed weights"
    assert measurement.metrics["graph_breaks"] == 0
    assert measurement.metrics["compile_seconds"] > 0


def test_a_torch_whose_operators_have_moved_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def moved() -> Any:
        raise AttributeError("module 'torch._inductor' has no attribute 'mkldnn_ir'")

    monkeypatch.setattr(operators, "registered", moved)
    with pytest.raises(
        Skip, match=r"torch \d.* does not let compiled code pack weights here: .*mkldnn_ir.*; use `comp"
    ):
        observe(build(small.case("gru", "prepacked", seq_len=2, dtype="float32"), Path()))


def test_weights_are_packed_only_for_a_cpu() -> None:
    with pytest.raises(Skip, match="weights are packed for the libraries of a CPU; use `compiled`"):
        compiled.check("meta", "prepacked")


def test_wrong_products_are_noticed_before_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_compile", lambda function, passes: lambda *given: function(*given) + 1)
    assert compiled.why_not_routed() == "products in oneDNN with packed weights are wrong on this machine"


@pytest.mark.skipif(not direct.available(), reason="this machine can't build rnnbench's own products")
def test_products_of_rnnbench_s_own_are_left_out_where_this_torch_can_t_call_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(direct, "shim", lambda function, dtype: (f"no_such_{function}", "int this is no C++"))
    assert compiled.why_not_routed() == ""
    assert direct.available() == []
    with pytest.raises(Unavailable, match="does not let compiled code pack weights here"):
        direct.load(torch.float32)
