"""The loss, the clipping and the optimizer of the phase `step`, by name or from a file."""

from pathlib import Path
from typing import Any

import pytest
import torch
from syrupy.assertion import SnapshotAssertion

from rnnbench import suites
from rnnbench.cells import CellError
from rnnbench.errors import UserError
from rnnbench.store.records import LOSSES, OPTIMIZERS
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import Built, build
from rnnbench.workloads.training.step import LOSS_FUNCTIONS, OPTIMIZER_CLASSES, TrainingStep
from tests.doubles import workload as small

FILE = """
import torch

def slow_sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.5, momentum=0.9, weight_decay=0.1)

def squares(output, target):
    return 3 * (output - target).square().sum()

def nothing(parameters):
    return None

seven = 7
"""


def built(folder: Path = Path(), **changes: Any) -> Built:
    return build(small.case("gru", phase="step", **changes), folder)


def gradients(case: Built) -> list[torch.Tensor]:
    timed = case.timed_call()
    with timed.mode():
        timed.call()
    return [parameter.grad.clone() for parameter in case.model.parameters() if parameter.grad is not None]


def test_every_name_has_its_class_or_function() -> None:
    assert tuple(OPTIMIZER_CLASSES) == OPTIMIZERS
    assert ("none", *LOSS_FUNCTIONS) == LOSSES


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weights_stay_the_same_and_have_gradients(optimizer: str, loss: str) -> None:
    case = built(optimizer=optimizer, loss=loss)
    before = [parameter.detach().clone() for parameter in case.model.parameters()]
    assert len(gradients(case)) == len(before)
    assert all(torch.equal(old, new) for old, new in zip(before, case.model.parameters(), strict=True))


@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if name != "sgd"])
def test_weights_in_float16_stay_numbers(optimizer: str) -> None:
    weight = torch.nn.Parameter(torch.ones(3, dtype=torch.float16))
    made = TrainingStep(OPTIMIZER_CLASSES[optimizer]).made_optimizer([weight])
    for gradient in (0.0, 1e-4, 1.0):
        weight.grad = torch.full_like(weight, gradient)
        made.step()
    assert weight.tolist() == [1.0] * 3


@pytest.mark.parametrize("clip", [0.01, 1e6])
def test_gradients_are_clipped_together(clip: float) -> None:
    free, clipped = (torch.cat([each.flatten() for each in gradients(built(clip=norm))]) for norm in (0.0, clip))
    norm = min(float(free.norm()), clip)
    torch.testing.assert_close(clipped, free * (norm / float(free.norm())), rtol=1e-4, atol=1e-9)


def test_functions_of_a_file_are_used_and_the_learning_rate_is_zero(tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text(FILE)
    case = built(tmp_path, optimizer="parts.py:slow_sgd", loss="parts.py:squares")
    before = [parameter.detach().clone() for parameter in case.model.parameters()]
    triple = gradients(case)
    assert all(torch.equal(old, new) for old, new in zip(before, case.model.parameters(), strict=True))
    mean = gradients(built(tmp_path, loss="mse"))
    numbers = case.output_shape[0] * case.output_shape[1] * case.output_shape[2]
    for one, other in zip(triple, mean, strict=True):
        torch.testing.assert_close(one, 3 * numbers * other)
    assert observe(case).parity == "agrees"


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "parts.py:nothing"},
        {"optimizer": "parts.py:adamm"},
        {"loss": "parts.py:seven"},
        {"loss": "none.py:mine"},
    ],
)
def test_what_can_not_be_used_is_told(tmp_path: Path, changes: dict[str, str], snapshot: SnapshotAssertion) -> None:
    (tmp_path / "parts.py").write_text(FILE)
    with pytest.raises(CellError) as fault:
        observe(built(tmp_path, **changes))
    assert str(fault.value).replace(str(tmp_path), "FOLDER") == snapshot


def test_only_steps_have_them(tmp_path: Path) -> None:
    text = """
name = "s"
[[sweep]]
cell = "gru"
phase = ["training", "step"]
optimizer = ["sgd", "adam"]
clip = [0.0, 1.0]
"""
    (tmp_path / "s.toml").write_text(text)
    groups = suites.read(str(tmp_path / "s.toml")).groups({}, None, most=None)
    assert [(w.phase, w.optimizer, w.clip) for w in (group.workload for group in groups)] == [
        ("training", "adam", 0.0),
        ("step", "sgd", 0.0),
        ("step", "sgd", 1.0),
        ("step", "adam", 0.0),
        ("step", "adam", 1.0),
    ]
    assert {group.sweep for group in groups} == {0}
    for change, words in (("optimizer = 'sgdd'", "'sgdd' is not one of"), ("loss = 'mee'", "(did you mean 'mse'?)")):
        (tmp_path / "s.toml").write_text(f'name = "s"\n[[sweep]]\ncell = "gru"\n{change}')
        with pytest.raises(UserError) as fault:
            suites.read(str(tmp_path / "s.toml"))
        assert words in str(fault.value)
