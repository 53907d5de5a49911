"""Faster exponentials: in graphs of `prepacked` only, as exact as an activation needs, and NaN stays NaN."""

import pytest
import torch
from torch import Tensor
from torch._inductor.utils import run_and_get_code

from rnnbench.workloads import compiled
from rnnbench.workloads.inductor import exponentials

pytestmark = pytest.mark.usefixtures("one_thread", "quick_compiler")
ODD = [float("nan"), float("inf"), -float("inf"), 200.0, -200.0, 0.0, -0.0, 1e-30]


def activations(x: Tensor) -> Tensor:
    return torch.stack([torch.sigmoid(x), torch.tanh(x)])


@pytest.mark.parametrize(("implementation", "is_fast"), [("compiled", False), ("prepacked", True)])
def test_only_prepacked_code_has_them(implementation, is_fast: bool) -> None:
    x = torch.cat([torch.linspace(-20, 20, 1000), torch.tensor(ODD)])
    with torch.inference_mode():
        found, [code] = run_and_get_code(compiled.compiled(activations, implementation), x)
    assert (exponentials.FAST in code) == is_fast
    torch.testing.assert_close(found, activations(x.double()).float(), rtol=1e-5, atol=1e-6, equal_nan=True)


def test_a_torch_that_writes_other_code_is_left_as_it_is() -> None:
    written = exponentials._faster(lambda x: f"1 / (1 + other({x}))", lambda: True)
    assert written("x") == "1 / (1 + other(x))"
