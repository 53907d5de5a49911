"""Modules of the caller's own process on a GPU.

On a GPU only, except with DEVICE=cpu, which tries the tests.
"""

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import nn

import rnnbench
from rnnbench.harness import devices
from rnnbench.harness.live.measuring import LivePhase
from rnnbench.speedup.search import FastestPhase
from rnnbench.speedup.ways import INFERENCE_STEPS, TRAINING_STEPS
from rnnbench.store.implementations import Implementation
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import build
from tests.gpu.cases import DEVICE, NEEDS_DEVICE, ON_CPU, case

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


@pytest.mark.parametrize(
    ("phase", "length"), [("inference", 2 * INFERENCE_STEPS + 1), ("training", TRAINING_STEPS + 1)]
)
def test_the_fastest_way_to_run_a_module_on_a_gpu_in_several_pieces_computes_the_same(
    phase: FastestPhase, length: int
) -> None:
    layer = nn.LSTM(64, 64).to(DEVICE).train(phase == "training")
    input = torch.randn(length, 8, 64).to(DEVICE)
    loop = loop_of(layer).to(DEVICE)
    fastest = rnnbench.fastest(loop, input, phase=phase, budget=30.0 if ON_CPU else 110.0, progress=False)
    print(fastest)
    rows = list(cast("Iterable[Any]", fastest.frame.itertuples()))
    used = [row for row in rows if not row.reason]
    assert all(re.search(EXPECTED, row.reason) for row in rows if row.reason)
    assert len(used) > 1 or ON_CPU  # on a busy processor nothing may be compiled in time
    assert all(math.isfinite(row.seconds) for row in used) or len(used) == 1  # what is left alone is not timed
    with torch.inference_mode():
        assert torch.allclose(fastest(input)[0], loop(input)[0], rtol=1e-2, atol=1e-2)
    if phase == "training":
        for mine, theirs in zip(
            gradients_of_two_passes(fastest, input), gradients_of_two_passes(loop, input), strict=True
        ):
            assert torch.allclose(mine, theirs, rtol=1e-2, atol=1e-2)


def gradients_of_two_passes(module: nn.Module, input: torch.Tensor) -> list[torch.Tensor]:
    """Return the gradients that two backward passes add up, as micro-batches make them."""
    module.zero_grad()
    for _ in range(2):
        module(input)[0].sum().backward()
    return [cast("torch.Tensor", each.grad).clone() for each in module.parameters()]


@pytest.mark.parametrize(
    ("implementation", "changes"),
    [
        ("torch.nn-flattened", {"dtype": "bfloat16"}),
        ("torch.nn-cudagraph", {}),
        ("torch.nn-cudagraph", {"phase": "training"}),
        ("reduce-overhead", {}),
        ("loop", {"dtype": "autocast-bfloat16"}),
        ("cudagraph", {"dtype": "autocast-bfloat16", "phase": "training"}),
        ("loop", {"caches": "cold"}),
        ("torch.nn", {"caches": "cold"}),
    ],
)
def test_a_case_that_only_a_card_can_show_agrees_and_has_a_time(
    implementation: Implementation, changes: dict[str, Any]
) -> None:
    try:
        built = build(case("lstm", implementation, 32, **changes), Path())
    except Skip as skip:
        pytest.skip(str(skip))
    measurement = observe(built)
    assert built.case.is_reference or str(measurement.parity) in ("agrees", "within rounding"), measurement
    device = devices.open_device(DEVICE)
    timed = built.timed_call()
    with timed.mode():
        is_cold = built.case.workload.caches == "cold"
        clocked = device.clock_cold(timed.call, 5) if is_cold else device.clock(timed.call, 5, 1)
    print(built.case.key, min(clocked.batch_seconds))
    assert min(clocked.batch_seconds) > 0
