"""A cell that learns while it runs, by a gradient in each step, is timed in every phase and task."""

from pathlib import Path
from typing import Any

import pytest
import torch

from rnnbench.store.records import Case
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import build
from tests.doubles import workload as small

CELL = """
import torch
from torch import nn

class Learning(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.key = nn.Linear(input_size, hidden_size, bias=False)
        self.query = nn.Linear(input_size, hidden_size, bias=False)
        self.hidden_size = hidden_size

    def initial_state(self, batch_size):
        return self.key.weight.new_zeros(batch_size, self.hidden_size, self.hidden_size)

    def forward(self, input, state):
        key, query, trains = self.key(input), self.query(input), torch.is_grad_enabled()
        with torch.enable_grad():
            memory = state if state.requires_grad else state.detach().requires_grad_()
            error = (torch.einsum("bij,bj->bi", memory, key) - key).square().sum()
            (gradient,) = torch.autograd.grad(error, memory, create_graph=trains)
        new = memory - 0.1 * gradient
        new = new if trains else new.detach()
        return torch.einsum("bij,bj->bi", new, query), new
"""


@pytest.mark.parametrize(
    "changes",
    [{"phase": "inference"}, {"phase": "training"}, {"phase": "inference", "task": "streaming", "seq_len": 1}],
)
def test_a_cell_that_takes_gradients_in_its_steps_is_observed_and_timed(tmp_path: Path, changes: Any) -> None:
    (tmp_path / "mine.py").write_text(CELL)
    case = Case("mine.py:Learning", "loop", small.workload(reference="none", **changes))
    built = build(case, tmp_path)
    assert built.model.takes_own_gradients
    assert observe(built).works
    timed = build(case, tmp_path).timed_call()
    with timed.mode():
        timed.call()
        timed.call()


def test_other_cells_run_in_inference_mode(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from torch import nn\nclass Mine(nn.GRUCell):\n    weights_from = None\n")
    modes = []
    built = build(Case("mine.py:Mine", "loop", small.workload(reference="gru")), tmp_path)
    built.model.register_forward_pre_hook(lambda *_: modes.append(torch.is_inference_mode_enabled()))
    timed = built.timed_call()
    with timed.mode():
        timed.call()
    assert not built.model.takes_own_gradients
    assert modes == [True]
