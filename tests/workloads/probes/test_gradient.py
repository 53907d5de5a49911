import math
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.store.records import Case
from rnnbench.workloads.prepare import Built, build
from rnnbench.workloads.probes import gradient
from tests.doubles import workload as small

LINEAR = """
import torch
from torch import nn


class Linear(nn.Module):
    def __init__(self, input_size, hidden_size, factor=0.5):
        super().__init__()
        self.factor = factor
        self.weight = nn.Linear(input_size, hidden_size)

    def forward(self, input, state):
        return self.factor * state + self.weight(input)
"""


def linear(folder: Path, factor: float, **changes: Any) -> Built:
    (folder / "linear.py").write_text(LINEAR)
    workload = small.workload(**{"reference": "none", "phase": "training", "seq_len": 9} | changes)
    return build(Case(f"linear.py:Linear(factor={factor})", "loop", workload), folder)


@pytest.mark.parametrize("factor", [0.25, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("task", ["many_to_many", "many_to_one"])
def test_it_is_the_factor_of_a_linear_recurrence(tmp_path: Path, factor: float, task: str) -> None:
    readings = gradient.probe(linear(tmp_path, factor, task=task))
    assert readings.values["gradient_factor"] == pytest.approx(factor)


@pytest.mark.parametrize(
    ("factor", "changes"),
    [
        (0.5, {"phase": "inference"}),
        (0.5, {"seq_len": 1}),
        (0.5, {"lengths": "varied"}),
        (1e-60, {"dtype": "float32"}),
    ],
)
def test_it_is_missing_with_its_reason(
    tmp_path: Path, factor: float, changes: dict[str, Any], snapshot: SnapshotAssertion
) -> None:
    readings = gradient.probe(linear(tmp_path, factor, **changes))
    assert not readings.values
    assert readings.missing["gradient_factor"] == snapshot


@pytest.mark.parametrize("implementation", ["loop", "hoisted", "torch.nn"])
def test_it_is_a_cells_own_and_not_its_implementations(implementation: str) -> None:
    axes: dict[str, Any] = {"phase": "training", "seq_len": 6, "hidden_size": 16}
    case = small.reference_case("lstm", **axes) if implementation == "torch.nn" else small.case("lstm", **axes)
    factor = gradient.probe(build(case, Path())).values["gradient_factor"]
    expected = gradient.probe(build(small.case("lstm", **axes), Path())).values["gradient_factor"]
    assert factor == pytest.approx(expected)
    assert 0 < factor < 1
    assert not math.isnan(factor)
