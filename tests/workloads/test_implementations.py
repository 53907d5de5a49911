from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rnnbench.workloads.implementations import RUNS
from rnnbench.workloads.prepare import build
from tests import workload as small


@pytest.mark.parametrize("cell", ["vanilla", "lstm", "gru"])
def test_hoisting_changes_nothing_in_what_is_computed(cell: str) -> None:
    loop, hoisted = (build(small.case(cell, implementation), Path()) for implementation in ("loop", "hoisted"))
    torch.testing.assert_close(loop.model(loop.input, loop.state), hoisted.model(hoisted.input, hoisted.state))


def test_outputs_have_a_row_for_every_step() -> None:
    for cell, stacked, state in (
        (nn.GRUCell(3, 5), False, torch.zeros(2, 5)),
        (nn.LSTMCell(3, 5), False, (torch.zeros(2, 5), torch.zeros(2, 5))),
    ):
        outputs, _ = RUNS["loop"](cell, torch.randn(4, 2, 3), state, stacked)
        assert outputs.shape == (4, 2, 5)


def test_hoisting_calls_the_projection_once_for_the_whole_sequence() -> None:
    built = build(small.case("vanilla", "hoisted"), Path())
    body: Any = built.model.body
    calls: list[torch.Size] = []
    project = body.project

    def counted(input):
        calls.append(input.shape)
        return project(input)

    body.project = counted
    built.model(built.input, built.state)
    assert calls == [built.input.shape]
