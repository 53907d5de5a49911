"""A cell of TorchScript does what the same class does that is not scripted."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rnnbench.store.records import Case
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import build
from tests.doubles import workload as small

jit: Any = torch.jit  # untyped in part


class Scripted(torch.jit.ScriptModule):
    """Keeps a list of tensors, and says what it begins with in a function that is not scripted."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.x = nn.Parameter(torch.randn(input_size, hidden_size))
        self.h = nn.Parameter(torch.randn(hidden_size, hidden_size))

    def init_hidden(self, batch_size: int) -> list[Tensor]:
        return [torch.ones(batch_size, self.hidden_size)]

    def forward(self, input: Tensor, hidden: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        h = torch.tanh(input @ self.x + hidden[0] @ self.h)
        return h, [h]

    forward = jit.script_method(forward)  # as a decorator its comment would be read as code


def scripted_pair(input_size: int, hidden_size: int) -> Any:
    """A scripted module of another class, with an output beside the state."""
    return torch.jit.script(Pair(input_size, hidden_size))


class Pair(nn.Module):
    """Returns its state twice."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.cell = nn.GRUCell(input_size, hidden_size)

    def forward(self, input: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.cell(input, h)
        return 2 * h, h


class BatchFirst(nn.Module):
    """Runs whole sequences, the batch first, and takes no state."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.x = nn.Linear(input_size, hidden_size)

    def forward(self, input: Tensor) -> Tensor:
        return torch.cumsum(self.x(input), dim=1)


def scripted_layer(input_size: int, hidden_size: int) -> Any:
    """A scripted module that runs whole sequences."""
    return torch.jit.script(BatchFirst(input_size, hidden_size))


@pytest.mark.parametrize("phase", ["inference", "training"])
@pytest.mark.parametrize(
    ("name", "implementation"), [("Scripted", "loop"), ("scripted_pair", "loop"), ("scripted_layer", "sequence")]
)
def test_it_is_run(name: str, implementation: Any, phase: Any) -> None:
    workload = small.workload(reference="none", phase=phase)
    measurement = observe(build(Case(f"test_scripted.py:{name}", implementation, workload), Path(__file__).parent))
    assert measurement.metrics["operators"] > 0
