"""What compiled forward code keeps for backward: few tensors, and the same gradients."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from rnnbench.kernels import saved_tensors
from rnnbench.workloads import compiled

pytestmark = pytest.mark.usefixtures("one_thread", "quick_compiler", "partitioner")
STEPS = 6


@pytest.fixture
def partitioner() -> None:
    if compiled.PARTITIONER not in torch._inductor.list_options():
        pytest.skip("this torch has no such option")


def gated(weight: Tensor, bias: Tensor, h: Tensor) -> Tensor:
    """A loop that keeps several tensors of one shape in each step."""
    for _ in range(STEPS):
        gate, new = torch.addmm(bias, h, weight.t()).chunk(2, 1)
        h = torch.sigmoid(gate) * torch.tanh(new) + h
    return h


def gradients(run: Callable[..., Any], *inputs: Tensor) -> tuple[int, Sequence[Tensor]]:
    """The number of tensors that forward keeps for backward, and the gradients of all inputs."""
    outputs = run(*inputs)
    outputs = [outputs] if isinstance(outputs, Tensor) else outputs
    kept = len(getattr(outputs[0].grad_fn, "saved_tensors", ()))
    total = torch.stack([output.square().sum() for output in outputs]).sum()
    return kept, torch.autograd.grad(total, inputs)


def leaves(*shapes: tuple[int, ...]) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def assert_equal_gradients(function: Callable[..., Any], inputs: list[Tensor]) -> int:
    """Compile a function and compare its gradients; returns how many tensors it keeps."""
    torch._dynamo.reset()
    kept, found = gradients(compiled.compiled(function, "compiled"), *inputs)
    _, expected = gradients(function, *inputs)
    torch.testing.assert_close(found, expected)
    return kept


@pytest.mark.parametrize(("limit", "value"), [("MIN_STACKED", 1000), ("MAX_BYTES", 3 * 4 * 8 - 1)])
def test_many_small_tensors_are_kept_as_one(monkeypatch: pytest.MonkeyPatch, limit: str, value: int) -> None:
    inputs = leaves((8, 4), (8,), (3, 4))
    stacked = assert_equal_gradients(gated, inputs)
    monkeypatch.setattr(saved_tensors, limit, value)
    from torch._inductor.utils import fresh_cache

    with fresh_cache():  # else the same graph is found there
        apart = assert_equal_gradients(gated, inputs)
    assert stacked <= apart - (STEPS - 2)  # the products' results stay apart


def steps(weight: Tensor, h: Tensor) -> list[Tensor]:
    """A loop that also returns what it keeps."""
    outputs = []
    for _ in range(STEPS):
        h = torch.tanh(h @ weight)
        outputs.append(h)
    return outputs


def views(x: Tensor, y: Tensor) -> Tensor:
    parts = [part * part.sin() for part in x.unbind()]  # sixteen views of one input
    return torch.stack(parts).sum(0) * y


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (steps, [(1, 1), (1, 1)]),
        (steps, [(5, 5), (3, 5)]),
        (views, [(16, 3, 4), (3, 4)]),
        (lambda x, y: torch.sigmoid(x) * torch.tanh(y), [(3, 4), (3, 4)]),  # too few tensors to be stacked
    ],
)
def test_gradients_agree_whatever_is_kept(function: Callable[..., Any], shapes: list[tuple[int, ...]]) -> None:
    assert_equal_gradients(function, leaves(*shapes))
