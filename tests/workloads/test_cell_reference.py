"""Another cell as the reference: the same work is compared, or the reason why not is told."""

from pathlib import Path
from typing import Any

import pytest

from rnnbench.store.records import Case, Implementation
from rnnbench.workloads import referee
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import build
from rnnbench.workloads.referee import ParityError
from tests.doubles import workload as small

FILE = """
import torch
from torch import nn

class Old(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.x, self.h = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)
    def forward(self, input, state=None):
        h, count = state or (input.new_zeros(len(input), self.h.out_features), input.new_zeros(len(input), 1))
        h = torch.tanh(self.x(input) + self.h(h))
        return h, (h, count + 1)

class New(Old):
    def project(self, input):
        return self.x(input)
    def forward(self, input, state):
        h, count = state
        return torch.tanh(torch.addmm(self.x(input) + self.h.bias, h, self.h.weight.T)), count + 1

class Wrong(Old):
    def forward(self, input, state=None):
        h, (_, count) = super().forward(input, state)
        return 1.001 * h, (1.001 * h, count)

class Larger(Old):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.more = nn.Parameter(torch.zeros(1))
    def forward(self, input, state=None):
        return super().forward(input + self.more, state)

class Whole(nn.GRU):
    pass

class Same(nn.GRU):
    def forward(self, input, state=None):
        outputs, h = super().forward(input, state)
        return outputs.clone(), h
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the cells' file."""
    (tmp_path / "mine.py").write_text(FILE)
    return tmp_path


def parity(folder: Path, cell: str, reference: str, implementation: Implementation = "loop", **changes: Any) -> str:
    case = Case(cell, implementation, small.workload(reference=reference, **changes))
    built = build(case, folder)
    found = observe(built).parity
    timed = built.timed_call()
    with timed.mode():
        timed.call()
    referee.compare(built, timed, lambda: referee.reference_of(case, folder), lambda: build(case, folder))
    return found


@pytest.mark.parametrize("phase", ["inference", "training", "step"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_layers": 2, "bidirectional": True},
        {"lengths": "varied"},
        {"task": "many_to_one"},
        {"task": "encoder_decoder"},
    ],
)
def test_a_rewritten_cell_is_compared_with_the_old_one(folder: Path, phase: Any, changes: Any) -> None:
    assert parity(folder, "mine.py:New", "mine.py:Old", phase=phase, **changes) == "agrees"
    assert parity(folder, "mine.py:Old", "mine.py:Old", "reference", phase=phase, **changes) == "is the reference"


def test_a_shipped_cell_is_a_reference_and_is_compared_with_one(folder: Path) -> None:
    assert parity(folder, "gru", "gru", phase="training") == "agrees"  # torch.nn.GRU
    assert parity(folder, "torch.nn:LSTMCell", "lstm", phase="training") == "agrees"
    assert parity(folder, "min_gru", "min_gru", phase="training").startswith("not compared: the class asks for that")
    assert parity(folder, "min_gru", "mine.py:Old") == "not compared: its state is not that of mine.py:Old"


def test_a_module_that_runs_whole_sequences_is_a_reference(folder: Path) -> None:
    assert parity(folder, "mine.py:Same", "mine.py:Whole", "sequence", phase="training") == "agrees"
    assert parity(folder, "mine.py:Old", "mine.py:Whole").startswith("not compared: its state is not that of")


def test_another_function_of_the_same_parameters_is_found(folder: Path) -> None:
    with pytest.raises(ParityError, match="of the reference's largest value"):
        parity(folder, "mine.py:Wrong", "mine.py:Old")


def test_other_parameters_are_told(folder: Path) -> None:
    assert (
        parity(folder, "mine.py:Larger", "mine.py:Old") == "not compared: its parameters are not those of mine.py:Old"
    )
