from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from syrupy.assertion import SnapshotAssertion
from torch import Tensor

from rnnbench.store.records import Case
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import Built, build
from rnnbench.workloads.referee import again
from rnnbench.workloads.referee.agreement import ParityError
from rnnbench.workloads.streaming import StepStream
from tests.adapt import awkward
from tests.doubles import workload as small

FOLDER = Path(awkward.__file__).parent
STREAM: dict[str, Any] = {"task": "streaming", "seq_len": 1}


def built(cell: str = "gru", implementation: Any = "loop", **changes: Any) -> Built:
    return build(small.case(cell, implementation, **STREAM | changes), Path())


@pytest.mark.parametrize("cell", ["vanilla", "combined", "deep", "lstm", "gru", "min_gru", "lmu"])
@pytest.mark.parametrize("implementation", ["loop", "transposed"])
def test_its_calls_are_the_steps_of_one_sequence(cell: str, implementation: str) -> None:
    case = built(cell, implementation)
    timed = case.timed_call()
    whole = build(replace(case.case, workload=replace(case.case.workload, task="many_to_many", seq_len=9)), Path())
    inputs = timed.inputs
    taken = torch.cat([inputs.tensors[number % len(inputs.tensors)] for number in range(9)])
    with timed.mode():
        outputs: list[Any] = [timed.call() for _ in range(9)]
        expected, _ = whole.model(taken, case.state)
    assert torch.allclose(torch.cat(outputs), expected)


def test_a_window_begins_with_the_first_state() -> None:
    case = built()
    stream = StepStream(case.model, [torch.ones(1, 3, 5, dtype=torch.float64)], case.state)
    with torch.inference_mode():
        first, second = stream.step(), stream.step()
        stream.restart()
        assert torch.equal(stream.step(), first)
    assert not torch.equal(first, second)
    timed = case.timed_call()
    assert timed.inputs is not None
    with timed.mode():
        firsts: list[Any] = []
        for _ in range(2):
            timed.renew("a window")
            firsts += [timed.call() for _ in timed.inputs.tensors]  # all inputs, so that the same one comes first again
    assert torch.equal(firsts[0], firsts[len(timed.inputs.tensors)])


@pytest.mark.parametrize(
    ("implementation", "changes"),
    [
        ("loop", {"seq_len": 4}),
        ("loop", {"phase": "training"}),
        ("loop", {"bidirectional": True}),
        ("hoisted", {}),
        ("scan", {}),
    ],
)
def test_what_makes_no_sense_is_skipped(
    implementation: str, changes: dict[str, Any], snapshot: SnapshotAssertion
) -> None:
    with pytest.raises(Skip) as raised:
        built("gru", implementation, **changes)
    assert str(raised.value) == snapshot


@pytest.mark.parametrize(
    ("cell", "implementation", "input"),
    [
        ("Tutorial", "loop", "features"),
        ("Named", "loop", "features"),
        ("Matrix", "loop", "features"),
        ("Frames", "loop", "frames:2x5x4"),
        ("Tokens", "loop", "tokens:11"),
    ],
)
def test_strangers_carry_their_own_states(cell: str, implementation: Any, input: str) -> None:
    workload = small.workload(reference="none", input=input, dtype="float32", **STREAM)
    case = build(Case(f"awkward.py:{cell}", implementation, workload), FOLDER)
    timed = case.timed_call()
    with timed.mode():
        first, second = timed.call(), timed.call()
    assert isinstance(first, Tensor)
    assert isinstance(second, Tensor)
    assert first.shape[:2] == (1, 3)
    assert bool(second.isfinite().all())


def test_a_module_without_a_state_has_none_to_carry() -> None:
    workload = small.workload(reference="none", dtype="float32", **STREAM)
    with pytest.raises(Skip, match="streaming goes on from a state, but BatchFirst takes none"):
        build(Case("awkward.py:BatchFirst", "sequence", workload), FOLDER)


def test_a_stream_that_leaves_that_of_its_reference_is_found_after_timing(tmp_path: Path) -> None:
    (tmp_path / "forgetful.py").write_text(
        "from torch import nn\n\n\nclass Forgetful(nn.GRUCell):\n    steps = 0\n\n"
        "    def forward(self, input, state):\n        self.steps += 1\n"
        "        return super().forward(input, state * (1 if self.steps % 12 else 0.5))\n"
    )
    case = Case("forgetful.py:Forgetful", "loop", small.workload(reference="gru", **STREAM))
    made = build(case, tmp_path)
    assert observe(made).parity == "agrees"
    reference = again.GroupReference(build(again.reference_case(case), tmp_path).model)
    with pytest.raises(ParityError, match="output of step 16 is off"):
        again.verify(made, made.timed_call(), reference)
