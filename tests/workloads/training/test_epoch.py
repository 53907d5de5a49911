"""Training from a loader, end to end."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from rnnbench.store.records import Case
from rnnbench.workloads.data.datasets import WindowDataset
from rnnbench.workloads.data.loader import loader
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import build
from rnnbench.workloads.training.epoch import train
from tests.doubles import workload as small

ROOT = Path()
EPOCH: dict[str, Any] = {"phase": "epoch", "samples": 7, "batch_size": 3}


@pytest.mark.parametrize("case", [small.case("gru"), small.case("deep"), small.reference_case("lstm")])
def test_training_from_a_loader_lowers_the_loss(case: Case) -> None:
    """The series is a sum of two waves, and each target is the next value."""
    torch.manual_seed(0)
    steps = torch.arange(161, dtype=torch.float64)
    wave = torch.sin(steps / 3) + 0.5 * torch.sin(steps / 7)
    series = wave[:-1, None].repeat(1, case.workload.input_size)
    targets = wave[1:, None].repeat(1, case.workload.output_size).reshape(20, 8, -1)
    built = build(case, ROOT)
    batches = loader(WindowDataset(series, targets, 8, 8), "per_item", 3, generator=torch.Generator().manual_seed(0))

    def loss() -> float:
        with torch.no_grad():
            losses: list[Tensor] = [
                mse_loss(built.model(inputs, built.state_of(inputs.shape[1]))[0], wanted) for inputs, wanted in batches
            ]
        return float(torch.stack(losses).mean())

    before = loss()
    optimizer = torch.optim.Adam(built.model.parameters(), lr=0.02)
    for _ in range(6):
        train(built.model, batches, built.state_of, optimizer)
    assert loss() < before / 2


@pytest.mark.parametrize("cell", ["gru", "lstm", "deep"])
def test_an_epoch_with_a_last_batch_that_is_smaller_changes_no_weight_and_leaves_gradients(cell: str) -> None:
    built = build(small.case(cell, **EPOCH), ROOT)
    before = [parameter.detach().clone() for parameter in built.model.parameters()]
    timed = built.timed_call()
    with timed.mode():
        timed.call()
        timed.call()
    for old, parameter in zip(before, built.model.parameters(), strict=True):
        assert torch.equal(old, parameter)
        assert parameter.grad is not None


def test_an_epoch_may_be_smaller_than_a_batch() -> None:
    built = build(small.case("gru", **EPOCH | {"samples": 2}), ROOT)
    timed = built.timed_call()
    with timed.mode():
        timed.call()
    assert all(parameter.grad is not None for parameter in built.model.parameters())


@pytest.mark.parametrize("case", [small.case("gru", **EPOCH), small.reference_case("lstm", **EPOCH, dtype="float32")])
def test_an_epoch_is_checked_and_counted_as_its_steps(case: Case) -> None:
    epoch = observe(build(case, ROOT))
    changes: dict[str, Any] = {"phase": "step", "samples": 0, "batch_size": 7}
    make = small.reference_case if case.is_reference else small.case
    name: Any = case.workload.reference if case.is_reference else case.cell
    step = observe(build(make(name, dtype=case.workload.dtype, **changes), ROOT))
    assert epoch.parity == ("is the reference" if case.is_reference else "agrees")
    assert epoch.metrics["macs"] == step.metrics["macs"]
    assert epoch.metrics["operators"] > 2 * step.metrics["operators"]
    assert epoch.metrics["parameters"] == step.metrics["parameters"]
