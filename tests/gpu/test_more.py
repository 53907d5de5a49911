"""Modules of the caller's own process on a GPU.

On a GPU only, except with DEVICE=cpu, which tries the tests.
"""

import math
import re
from collections.abc import Iterable
from typing import Any, cast

import pytest
import torch
from torch import nn

import rnnbench
from rnnbench.harness.live.measuring import LivePhase
from tests.gpu.cases import DEVICE, NEEDS_DEVICE, ON_CPU

pytestmark = NEEDS_DEVICE


# Why a way has no time though nothing is wrong. A warning of the compiler that became an error is none of these.
EXPECTED = r"nothing to hoist|s to compile it|did not end within|which the budget does not hold"


def loop_of(layer: nn.LSTM) -> nn.Module:
    """Return a loop over torch's cell, with the weights of a layer."""
    return rnnbench.same_weights(rnnbench.unroll(nn.LSTMCell(layer.input_size, layer.hidden_size)), like=layer)


@pytest.mark.parametrize("phase", ["inference", "training"])
def test_modules_on_a_gpu_are_measured_there_with_equal_outputs(phase: LivePhase) -> None:
    layer = nn.LSTM(256, 256)
    modules, input = {"loop": loop_of(layer).to(DEVICE), "torch": layer.to(DEVICE)}, torch.randn(32, 32, 256).to(DEVICE)
    measured = rnnbench.measure(modules, input, phase=phase, budget=20.0, progress=False)
    print(measured)
    assert measured.frame["ratio"]["loop"] > 0
    assert "agree" in measured.frame["parity"]["loop"]
    assert torch.device(measured.device).type == torch.device(DEVICE).type


def test_the_fastest_way_to_run_a_module_on_a_gpu_computes_the_same() -> None:
    layer, input = nn.LSTM(64, 64).to(DEVICE).eval(), torch.randn(16, 8, 64).to(DEVICE)
    loop = loop_of(layer).to(DEVICE).eval()
    fastest = rnnbench.fastest(loop, input, budget=30.0 if ON_CPU else 90.0, progress=False)
    print(fastest)
    rows = list(cast("Iterable[Any]", fastest.frame.itertuples()))
    used = [row for row in rows if not row.reason]
    assert all(re.search(EXPECTED, row.reason) for row in rows if row.reason)
    assert len(used) > 1 or ON_CPU  # on a busy processor nothing may be compiled in time
    assert all(math.isfinite(row.seconds) for row in used) or len(used) == 1  # what is left alone is not timed
    with torch.inference_mode():
        assert torch.allclose(fastest(input)[0], loop(input)[0], rtol=1e-2, atol=1e-2)
