"""Shorter exponentials: in graphs of `prepacked` only, as exact as an activation needs, and NaN stays NaN."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._inductor.utils import fresh_cache, run_and_get_code

from rnnbench.store.records import Implementation
from rnnbench.workloads import compiled
from rnnbench.workloads.inductor import exponentials

pytestmark = pytest.mark.usefixtures("one_thread", "quick_compiler")
ODD = [float("nan"), float("inf"), -float("inf"), 200.0, -200.0, 0.0, -0.0, 1e-30]


def activations(x: Tensor) -> Tensor:
    return torch.stack([torch.sigmoid(x), torch.tanh(x)])


WIDE = "_mm512_scalef_ps"  # an instruction that only AVX-512 has


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize(("implementation", "is_fast"), [("compiled", False), ("prepacked", True)])
def test_only_prepacked_code_has_them(
    monkeypatch: pytest.MonkeyPatch, implementation: Implementation, is_fast: bool, wide: bool
) -> None:
    wide = wide and exponentials._has_wide_vectors()
    monkeypatch.setattr(exponentials, "_has_wide_vectors", lambda: wide)
    x = torch.cat([torch.linspace(-20, 20, 1000), torch.tensor(ODD)])
    with torch.inference_mode(), fresh_cache():
        found, [code] = run_and_get_code(compiled.compiled(activations, implementation), x)
    assert (exponentials.FAST in code, WIDE in code) == (is_fast and not wide, is_fast and wide)
    torch.testing.assert_close(found, activations(x.double()).float(), rtol=1e-5, atol=1e-6, equal_nan=True)
    if is_fast and wide:
        torch.testing.assert_close(found, activations(x.double()).float(), rtol=1e-6, atol=3e-7, equal_nan=True)
        zero = 1000 + ODD.index(0.0)
        assert found[:, zero].tolist() == [0.5, 0.0]


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("implementation", ["compiled", "prepacked"])
def test_small_values_keep_their_digits(
    monkeypatch: pytest.MonkeyPatch, implementation: Implementation, dtype: torch.dtype, wide: bool
) -> None:
    wide = wide and exponentials._has_wide_vectors()
    monkeypatch.setattr(exponentials, "_has_wide_vectors", lambda: wide)
    x = torch.cat([torch.logspace(-30, 1, 1000), -torch.logspace(-30, 1, 1000)]).to(dtype)
    with torch.inference_mode(), fresh_cache():
        found = compiled.compiled(activations, implementation)(x)
    tolerance = 2e-6 if dtype is torch.float32 else 1e-14
    torch.testing.assert_close(found, activations(x.double()).to(dtype), rtol=tolerance, atol=0)


def test_the_polynomial_is_as_exact_as_float32_needs() -> None:
    rest = np.linspace(-0.5, 0.5, 100_001)
    found = np.polynomial.polynomial.polyval(rest, (1.0, *exponentials.COEFFICIENTS))
    assert np.abs(found / 2**rest - 1).max() < 1.1e-7


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_are_as_exact_as_they_are(dtype: torch.dtype) -> None:
    x = torch.cat([torch.linspace(-20, 20, 1000), torch.tensor(ODD)]).to(dtype)
    with torch.inference_mode():
        found = compiled.compiled(activations, "prepacked")(x)
    torch.testing.assert_close(found, activations(x), equal_nan=True)


def test_a_torch_that_writes_other_code_is_left_as_it_is() -> None:
    written = exponentials._written("tanh", lambda x: f"1 / (1 + other({x}))", lambda: "short")
    assert written("x") == "1 / (1 + other(x))"
