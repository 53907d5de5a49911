from typing import Any

import pytest
import torch
from syrupy.assertion import SnapshotAssertion
from torch import nn
from torch.nn.utils import prune

from rnnbench.adapt.calls import can_hoist
from rnnbench.cells.gru import GRUCell
from rnnbench.store.records import Case
from rnnbench.workloads.implementations import SequenceOptions, Skip, check_makes_sense, loop, step_by_step
from tests.doubles import workload as small


def test_a_sequence_that_has_ended_keeps_its_state_and_shows_zeros() -> None:
    cell, input, h = nn.LSTMCell(3, 5), torch.randn(4, 2, 3), (torch.randn(2, 5), torch.randn(2, 5))
    mask = torch.tensor([[True, True], [True, True], [True, False], [True, False]])[..., None]
    outputs, final = loop(cell, input, h, SequenceOptions(mask=mask))
    _, short = loop(cell, input[:2], h, SequenceOptions())
    assert not outputs[2:, 1].any()
    for masked, alone in zip(final, short, strict=True):
        assert torch.equal(masked[1], alone[1])


@pytest.mark.parametrize(
    ("rows", "dtype", "projections"),
    [(15, torch.float32, 1), (16, torch.float32, 4), (16, torch.bfloat16, 1), (64, torch.float64, 4)],
)
def test_wide_steps_are_not_hoisted_where_rnnbench_makes_their_products(
    rows: int, dtype: torch.dtype, projections: int
) -> None:
    cell, calls = GRUCell(3, 5).to(dtype), 0
    project = cell.project

    def counted(input: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return project(input)

    cell.__dict__["project"] = counted
    step_by_step(cell, torch.randn(4, rows, 3, dtype=dtype), torch.randn(rows, 5, dtype=dtype), SequenceOptions())
    assert calls == projections


STREAM: dict[str, Any] = {"task": "streaming", "seq_len": 1}
FED: dict[str, Any] = {"task": "one_to_many", "input_size": 2}
DROPPING: dict[str, Any] = {"num_layers": 2, "dropout": 0.5}
SENSELESS: list[tuple[Any, dict[str, Any]]] = [
    ("loop", {"task": "one_to_one"}),
    ("loop", {"task": "one_to_many"}),
    ("loop", {"output_len": 3}),
    ("loop", {"task": "encoder_decoder", "bidirectional": True}),
    ("loop", {**FED, "lengths": "varied"}),
    ("loop", {"dropout": 0.5}),
    ("loop", {**STREAM, "seq_len": 4}),
    ("loop", {**STREAM, "phase": "training"}),
    ("loop", {**STREAM, "bidirectional": True}),
    ("hoisted", STREAM),
    ("scan", STREAM),
    ("hoisted", FED),
    ("cudagraph", {}),
    ("cudagraph", {"device": "cuda", "phase": "training", **DROPPING}),
    ("reduce-overhead", {}),
    ("reduce-overhead", {"device": "cuda", "phase": "training"}),
    ("torch.nn-cudagraph", {"device": "cuda", "lengths": "varied"}),
    ("prepacked", {"device": "cuda"}),
    ("torch.nn-flattened", {"dtype": "bfloat16"}),
    ("torch.nn-flattened", {"dtype": "float32", "device": "cuda"}),
    ("torch.nn-padded", {}),
    ("torch.nn-padded", {"lengths": "varied", "bidirectional": True}),
    ("torch.nn-padded", {"lengths": "varied", "task": "encoder_decoder"}),
]


def test_what_makes_no_sense_is_skipped_with_its_reason(snapshot: SnapshotAssertion) -> None:
    reasons = {}
    for implementation, changes in SENSELESS:
        with pytest.raises(Skip) as raised:
            check_makes_sense(Case("gru", implementation, small.workload(reference="gru", **changes)))
        reasons[f"{implementation} {changes}"] = str(raised.value)
    assert reasons == snapshot


def test_a_cell_with_hooks_is_called_in_each_step() -> None:
    cell = GRUCell(4, 6)
    assert can_hoist(cell)
    prune.l1_unstructured(cell, "weight_hh", 0.5)
    assert not can_hoist(cell)
    assert can_hoist(prune.remove(cell, "weight_hh"))
