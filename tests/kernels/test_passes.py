"""The two passes over graphs of unrolled loops: same values, fewer products.

Shorter exponentials: in graphs of `prepacked` only, as exact as an activation needs, and NaN stays NaN.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from rnnbench.kernels import passes, saved_tensors
from rnnbench.kernels.passes import aten
from rnnbench.kernels.routing import LoopPasses
from rnnbench.store.implementations import Implementation
from rnnbench.workloads import compiled

pytestmark = pytest.mark.usefixtures("one_thread", "quick_compiler")

Operator = Any


def traced(function: Callable[..., Any], *inputs: Tensor) -> fx.GraphModule:
    module: fx.GraphModule = make_fx(function, tracing_mode="fake")(*inputs)
    return module


def passed(function: Callable[..., Any], *inputs: Tensor) -> fx.GraphModule:
    """The function's graph after both passes. Asserts that it computes the same as before."""
    module = traced(function, *inputs)
    LoopPasses()(module.graph)
    module.graph.lint()
    module.recompile()
    torch.testing.assert_close(module(*inputs), function(*inputs))
    return module


def count(module: fx.GraphModule, operator: Operator) -> int:
    return sum(node.target is operator for node in module.graph.nodes)


def gradients(*parts: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of a weight and a bias, added up as backward through a loop does."""
    half = len(parts) // 2
    weight, bias = parts[0].permute(1, 0) @ parts[half], parts[0].sum(0, keepdim=True).view(-1)
    for dz, h in zip(parts[1:half], parts[half + 1 :], strict=True):
        weight = weight + dz.permute(1, 0) @ h
        bias = bias + dz.sum(0, keepdim=True).view(-1)
    return weight, bias


@settings(max_examples=15, deadline=None)
@given(steps=st.integers(2, 6), batch=st.integers(1, 3), gates=st.integers(1, 5), hidden=st.integers(1, 4))
def test_the_products_of_all_steps_become_one(steps: int, batch: int, gates: int, hidden: int) -> None:
    torch.manual_seed(0)
    shapes = [(batch, gates)] * steps + [(batch, hidden)] * steps
    module = passed(gradients, *(torch.randn(shape, dtype=torch.float64) for shape in shapes))
    assert count(module, aten.mm.default) == count(module, aten.sum.dim_IntList) == 1
    assert count(module, aten.add.Tensor) == 0


@pytest.mark.parametrize(
    "function",
    [
        lambda a, b, c: a.permute(1, 0) @ b + c,  # a term that is no product
        lambda a, b, c: (a.permute(1, 0) @ b) + 2 * (a.permute(1, 0) @ b),  # a product that is scaled
        lambda a, b, c: torch.add(a.permute(1, 0) @ b, a.permute(1, 0) @ a, alpha=2),
        lambda a, b, c: ((a.permute(1, 0) @ b) + 1.0) + a.permute(1, 0) @ b,  # a number is added
        lambda a, b, c: a.sum(0, keepdim=True) + a.sum(1, keepdim=True),  # not over the rows
        lambda a, b, c: (a.permute(1, 0) @ b)[:1] + a.permute(1, 0) @ b,  # another shape
    ],
)
def test_other_sums_stay_as_they_are(function: Callable[..., Any]) -> None:
    inputs = [torch.randn(3, 3, dtype=torch.float64) for _ in range(3)]
    before, after = (
        [node.target for node in make(function, *inputs).graph.nodes if node.target is not aten.permute.default]
        for make in (traced, passed)
    )
    assert after == before


def test_all_steps_use_one_transpose_of_a_weight() -> None:
    def steps(weight: Tensor, h: Tensor) -> Tensor:
        for _ in range(3):
            h = h @ weight.permute(1, 0) + h.permute(1, 0) @ weight
        return h

    module = passed(steps, torch.randn(3, 3), torch.randn(3, 3))
    assert count(module, aten.permute.default) == 1 + 3  # the first state's is one of three


def test_a_product_that_something_else_needs_stays() -> None:
    def shared(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        product = a.permute(1, 0) @ b
        return product + b.permute(1, 0) @ a, product

    module = passed(shared, torch.randn(3, 3).double(), torch.randn(3, 3).double())
    assert count(module, aten.mm.default) == 2


ODD = [float("nan"), float("inf"), -float("inf"), 200.0, -200.0, 0.0, -0.0, 1e-30]
SMALL = torch.logspace(-30, 1, 1000)


def activations(x: Tensor) -> Tensor:
    return torch.stack([torch.sigmoid(x), torch.tanh(x)])


WIDE = "_mm512_scalef_ps"  # an instruction that only AVX-512 has


@pytest.mark.parametrize(
    ("implementation", "dtype"),
    [
        ("compiled", torch.float32),
        ("prepacked", torch.float32),
        ("prepacked", torch.float64),
        ("prepacked", torch.bfloat16),
    ],
)
def test_only_prepacked_code_has_them_and_all_code_is_exact_also_where_values_are_small(
    implementation: Implementation, dtype: torch.dtype
) -> None:
    from torch._inductor.utils import run_and_get_code

    x = torch.cat([torch.linspace(-20, 20, 1000), torch.tensor(ODD), SMALL, -SMALL]).to(dtype)
    with torch.inference_mode():
        values, [code] = run_and_get_code(compiled.compiled(activations, implementation), x)
    exact = activations(x.double()).to(dtype)
    ordinary, small = slice(0, 1000 + len(ODD)), slice(1000 + len(ODD), None)
    if dtype is torch.float32:
        is_short = implementation == "prepacked" and passes._has_wide_vectors()
        assert (WIDE in code) == is_short
        torch.testing.assert_close(values[:, ordinary], exact[:, ordinary], rtol=1e-6, atol=3e-7, equal_nan=True)
        if is_short:
            assert values[:, 1000 + ODD.index(0.0)].tolist() == [0.5, 0.0]
    else:
        torch.testing.assert_close(values[:, ordinary], activations(x)[:, ordinary], equal_nan=True)
    if dtype is not torch.bfloat16:
        tolerance = 2e-6 if dtype is torch.float32 else 1e-14
        torch.testing.assert_close(values[:, small], exact[:, small], rtol=tolerance, atol=0)


# What compiled forward code keeps for backward: few tensors, and the same gradients

NEEDS_PARTITIONER = pytest.mark.skipif(
    compiled.PARTITIONER not in torch._inductor.list_options(), reason="this torch has no such option"
)
STEPS = 6


def gated(weight: Tensor, bias: Tensor, h: Tensor) -> Tensor:
    """A loop that keeps several tensors of one shape in each step."""
    for _ in range(STEPS):
        gate, new = torch.addmm(bias, h, weight.t()).chunk(2, 1)
        h = torch.sigmoid(gate) * torch.tanh(new) + h
    return h


def gradients_of(run: Callable[..., Any], *inputs: Tensor) -> tuple[int, Sequence[Tensor]]:
    """The number of tensors that forward keeps for backward, and the gradients of all inputs."""
    outputs = run(*inputs)
    outputs = [outputs] if isinstance(outputs, Tensor) else outputs
    kept = len(getattr(outputs[0].grad_fn, "saved_tensors", ()))
    total = torch.stack([output.square().sum() for output in outputs]).sum()
    return kept, torch.autograd.grad(total, inputs)


def inputs_of(*shapes: tuple[int, ...]) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def assert_equal_gradients_of(function: Callable[..., Any], inputs: list[Tensor]) -> int:
    """Compile a function and compare its gradients; returns how many tensors it keeps."""
    torch._dynamo.reset()
    kept, found = gradients_of(compiled.compiled(function, "compiled"), *inputs)
    _, expected = gradients_of(function, *inputs)
    torch.testing.assert_close(found, expected)
    return kept


@pytest.mark.weekly
@pytest.mark.slow
@NEEDS_PARTITIONER
def test_many_small_tensors_are_kept_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = inputs_of((8, 4), (8,), (3, 4))
    stacked = assert_equal_gradients_of(gated, inputs)
    for limit, value in (("MIN_STACKED", 1000), ("MAX_BYTES", 3 * 4 * 8 - 1)):
        other_graphs = torch.compiler.config.patch(cache_key_tag=limit)  # type: ignore[attr-defined]
        with monkeypatch.context() as changed, other_graphs:  # else the same graph is found
            changed.setattr(saved_tensors, limit, value)
            apart = assert_equal_gradients_of(gated, inputs)
        assert stacked <= apart - (STEPS - 2), limit  # the products' results stay apart


def unrolled(weight: Tensor, h: Tensor) -> list[Tensor]:
    """A loop that also returns what it keeps."""
    outputs = []
    for _ in range(STEPS):
        h = torch.tanh(h @ weight)
        outputs.append(h)
    return outputs


def views(x: Tensor, y: Tensor) -> Tensor:
    parts = [part * part.sin() for part in x.unbind()]  # sixteen views of one input
    return torch.stack(parts).sum(0) * y


@pytest.mark.weekly
@pytest.mark.slow
@NEEDS_PARTITIONER
@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (unrolled, [(1, 1), (1, 1)]),
        (unrolled, [(5, 5), (3, 5)]),
        (views, [(16, 3, 4), (3, 4)]),
        (lambda x, y: torch.sigmoid(x) * torch.tanh(y), [(3, 4), (3, 4)]),  # too few tensors to be stacked
    ],
)
def test_gradients_agree_whatever_is_kept(function: Callable[..., Any], shapes: list[tuple[int, ...]]) -> None:
    assert_equal_gradients_of(function, inputs_of(*shapes))
