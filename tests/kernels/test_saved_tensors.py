"""What compiled forward code keeps for backward: few tensors, and the same gradients."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from rnnbench.kernels import saved_tensors
from rnnbench.kernels.passes import LoopPasses
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
    kept, found = gradients(compiled._compile(function, LoopPasses()), *inputs)
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


@pytest.mark.parametrize("sizes", [(1, 1), (3, 5)])
def test_gradients_agree_if_what_is_kept_is_also_returned(sizes: tuple[int, int]) -> None:
    def function(weight: Tensor, h: Tensor) -> list[Tensor]:
        steps = []
        for _ in range(STEPS):
            h = torch.tanh(h @ weight)
            steps.append(h)
        return steps

    assert_equal_gradients(function, leaves((sizes[1], sizes[1]), sizes))


def test_a_torch_whose_partitioner_has_moved_keeps_each_tensor_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rnnbench.kernels.saved_tensors", None)  # its import fails
    from torch._inductor.utils import fresh_cache

    with fresh_cache():
        assert assert_equal_gradients(gated, leaves((8, 4), (8,), (3, 4))) > 2 * STEPS


def test_gradients_agree_for_few_tensors_and_for_views_of_an_input() -> None:
    def few(x: Tensor, y: Tensor) -> Tensor:
        return torch.sigmoid(x) * torch.tanh(y)

    def views(x: Tensor, y: Tensor) -> Tensor:
        parts = [part * part.sin() for part in x.unbind()]  # sixteen views of one input
        return torch.stack(parts).sum(0) * y

    assert assert_equal_gradients(few, leaves((3, 4), (3, 4))) >= 2
    assert_equal_gradients(views, leaves((16, 3, 4), (3, 4)))
