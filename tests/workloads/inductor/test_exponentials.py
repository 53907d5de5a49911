"""Shorter exponentials: in graphs of `prepacked` only, as exact as an activation needs, and NaN stays NaN."""

import numpy as np
import pytest
import torch
from torch import Tensor

from rnnbench.store.records import Implementation
from rnnbench.workloads import compiled
from rnnbench.workloads.inductor import exponentials

pytestmark = pytest.mark.usefixtures("one_thread", "quick_compiler")
ODD = [float("nan"), float("inf"), -float("inf"), 200.0, -200.0, 0.0, -0.0, 1e-30]
SMALL = torch.logspace(-30, 1, 1000)


def activations(x: Tensor) -> Tensor:
    return torch.stack([torch.sigmoid(x), torch.tanh(x)])


WIDE = "_mm512_scalef_ps"  # an instruction that only AVX-512 has


@pytest.mark.parametrize(
    ("implementation", "dtype", "wide"),
    [
        ("compiled", torch.float32, True),
        ("compiled", torch.float64, True),
        ("prepacked", torch.float32, True),
        ("prepacked", torch.float32, False),
        ("prepacked", torch.float64, True),
        ("prepacked", torch.bfloat16, True),
    ],
)
def test_only_prepacked_code_has_them_and_all_code_is_exact_also_where_values_are_small(
    monkeypatch: pytest.MonkeyPatch, implementation: Implementation, dtype: torch.dtype, wide: bool
) -> None:
    from torch._inductor.utils import run_and_get_code

    wide = wide and exponentials._has_wide_vectors()
    monkeypatch.setattr(exponentials, "_has_wide_vectors", lambda: wide)
    x = torch.cat([torch.linspace(-20, 20, 1000), torch.tensor(ODD), SMALL, -SMALL]).to(dtype)
    with torch.inference_mode():
        values, [code] = run_and_get_code(compiled.compiled(activations, implementation), x)
    exact = activations(x.double()).to(dtype)
    ordinary, small = slice(0, 1000 + len(ODD)), slice(1000 + len(ODD), None)
    if dtype is torch.float32:
        short = implementation == "prepacked"
        assert (exponentials.FAST in code, WIDE in code) == (short and not wide, short and wide)
        relative, absolute = (1e-6, 3e-7) if short and wide else (1e-5, 1e-6)
        torch.testing.assert_close(
            values[:, ordinary], exact[:, ordinary], rtol=relative, atol=absolute, equal_nan=True
        )
        if short and wide:
            assert values[:, 1000 + ODD.index(0.0)].tolist() == [0.5, 0.0]
    else:
        torch.testing.assert_close(values[:, ordinary], activations(x)[:, ordinary], equal_nan=True)
    if dtype is not torch.bfloat16:
        tolerance = 2e-6 if dtype is torch.float32 else 1e-14
        torch.testing.assert_close(values[:, small], exact[:, small], rtol=tolerance, atol=0)


def test_the_polynomial_is_as_exact_as_float32_needs() -> None:
    rest = np.linspace(-0.5, 0.5, 100_001)
    found = np.polynomial.polynomial.polyval(rest, (1.0, *exponentials.COEFFICIENTS))
    assert np.abs(found / 2**rest - 1).max() < 1.1e-7


def test_a_torch_that_writes_other_code_is_left_as_it_is() -> None:
    written = exponentials._written("tanh", lambda x: f"1 / (1 + other({x}))", lambda: "short")
    assert written("x") == "1 / (1 + other(x))"
