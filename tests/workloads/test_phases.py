"""The loss, the clipping and the optimizer of the phase `step`, by name or from a file.

The inputs that calls take in turn.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from rnnbench.cells import CellError
from rnnbench.errors import UserError
from rnnbench.store.records import CAPTURABLE, LOSSES, OPTIMIZERS, Case
from rnnbench.suite import suites
from rnnbench.workloads import parity
from rnnbench.workloads.observe import observe
from rnnbench.workloads.parity import ParityError
from rnnbench.workloads.phases import (
    COUNT,
    in_turn,
    make_optimizer,
    resting,
)
from rnnbench.workloads.prepare import Built, build, reference_case
from tests.adapt import awkward
from tests.doubles import workload as small


@pytest.mark.parametrize("phase", ["training", "step"])
def test_a_later_call_finds_the_gradients_of_the_first_and_adds_nothing_to_them(phase: str) -> None:
    case = build(small.case("gru", phase=phase), Path())
    timed = case.timed_call()
    with timed.mode():
        timed.call()
        first: list[Any] = [parameter.grad.clone() for parameter in case.model.parameters()]
        for _ in range(COUNT):  # the last of them has the input of the first
            timed.call()
    for before, parameter in zip(first, case.model.parameters(), strict=True):
        assert before.abs().max() > 0
        assert torch.equal(before, parameter.grad)  # type: ignore[arg-type]


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


HERE = [name for name in OPTIMIZERS if not name.endswith(CAPTURABLE)]  # a processor records no graphs


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optimizer", HERE)
def test_weights_stay_the_same_and_have_gradients(optimizer: str, loss: str) -> None:
    case = built(optimizer=optimizer, loss=loss)
    before = [parameter.detach().clone() for parameter in case.model.parameters()]
    assert len(gradients(case)) == len(before)
    assert all(torch.equal(old, new) for old, new in zip(before, case.model.parameters(), strict=True))


@pytest.mark.parametrize("optimizer", [name for name in HERE if not name.startswith("sgd")])
def test_weights_in_float16_stay_numbers(optimizer: str) -> None:
    weight = torch.nn.Parameter(torch.ones(3, dtype=torch.float16))
    made = resting(make_optimizer(optimizer), [weight])
    for gradient in (0.0, 1e-4, 1.0):
        weight.grad = torch.full_like(weight, gradient)
        made.step()
    assert weight.tolist() == [1.0] * 3


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_end_of_an_optimizers_name_is_the_option_that_it_is_built_with(name: str) -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    [group] = resting(make_optimizer(name), [weight]).param_groups
    assert bool(group.get("fused")) == name.endswith("-fused")
    assert bool(group.get("capturable")) == name.endswith("-capturable")


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
    work = case.case.workload
    numbers = work.output_steps * work.batch_size * work.output_size
    for one, other in zip(triple, mean, strict=True):
        torch.testing.assert_close(one, 3 * numbers * other)
    assert str(observe(case).parity) == "agrees"


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
    groups = suites.read_suite(str(tmp_path / "s.toml")).groups({}, None)
    assert [(w.phase, w.optimizer, w.clip) for w in (group.workload for group in groups)] == [
        ("training", "adam", 0.0),
        ("step", "sgd", 0.0),
        ("step", "sgd", 1.0),
        ("step", "adam", 0.0),
        ("step", "adam", 1.0),
    ]
    assert {group.sweep for group in groups} == {0}
    for change, words in (("optimizer = 'sgdd'", "'sgdd': expected one of"), ("loss = 'mee'", "(did you mean 'mse'?)")):
        (tmp_path / "s.toml").write_text(f'name = "s"\n[[sweep]]\ncell = "gru"\n{change}')
        with pytest.raises(UserError) as fault:
            suites.read_suite(str(tmp_path / "s.toml"))
        assert words in str(fault.value)


shapes = st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 20))


@given(shapes, st.sampled_from([torch.float64, torch.float32, torch.float16]))
def test_they_are_like_the_given_one_and_differ_from_each_other(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    values = torch.randn(shape).to(dtype)
    inputs = in_turn(values)
    assert len(inputs.tensors) == COUNT
    for tensor in inputs.tensors:
        assert (tensor.shape, tensor.dtype, tensor.is_contiguous()) == (values.shape, dtype, True)
        assert tensor.data_ptr() % 64 == inputs.tensors[0].data_ptr() % 64
        assert tensor._base is None
        assert tensor.abs().max() <= 1.11 * values.abs().max()
    assert len({tensor.data_ptr() for tensor in inputs.tensors}) == COUNT


@given(shapes, st.text(max_size=3), st.text(max_size=3))
def test_equal_seeds_give_equal_values_and_others_other_values(shape: tuple[int, ...], seed: str, other: str) -> None:
    values = torch.randn(shape)
    inputs, twin = in_turn(values), in_turn(values)
    inputs.renew(seed)
    before = [tensor.clone() for tensor in inputs.tensors]
    twin.renew(other)
    twin.renew(seed)
    assert all(map(torch.equal, inputs.tensors, twin.tensors))
    inputs.renew(other)
    assert all(map(torch.equal, before, inputs.tensors)) == (seed == other)


FOLDER = Path(awkward.__file__).parent
STREAM: dict[str, Any] = {"task": "streaming", "seq_len": 1}


def streamed(cell: str = "gru", implementation: Any = "loop", **changes: Any) -> Built:
    return build(small.case(cell, implementation, **STREAM | changes), Path())


@pytest.mark.parametrize("cell", ["vanilla", "combined", "deep", "lstm", "gru", "min_gru", "lmu"])
@pytest.mark.parametrize("implementation", ["loop", "transposed"])
def test_its_calls_are_the_steps_of_one_sequence(cell: str, implementation: str) -> None:
    case = streamed(cell, implementation)
    timed = case.timed_call()
    whole = build(replace(case.case, workload=replace(case.case.workload, task="many_to_many", seq_len=9)), Path())
    inputs = timed.inputs
    taken = torch.cat([inputs.tensors[number % len(inputs.tensors)] for number in range(9)])
    with timed.mode():
        outputs: list[Any] = [timed.call() for _ in range(9)]
        expected, _ = whole.model(taken, case.state)
    assert torch.allclose(torch.cat(outputs), expected)


def test_a_window_begins_with_the_first_state() -> None:
    timed = streamed().timed_call()
    assert timed.inputs is not None
    with timed.mode():
        firsts: list[Any] = []
        for _ in range(2):
            timed.renew("a window")
            firsts += [timed.call() for _ in timed.inputs.tensors]  # all inputs, so that the same one comes first again
    assert torch.equal(firsts[0], firsts[len(timed.inputs.tensors)])
    assert not torch.equal(firsts[0], firsts[1])


def test_a_stream_that_leaves_that_of_its_reference_is_found_after_timing(tmp_path: Path) -> None:
    (tmp_path / "forgetful.py").write_text(
        "from torch import nn\n\n\nclass Forgetful(nn.GRUCell):\n    steps = 0\n\n"
        "    def forward(self, input, state):\n        self.steps += 1\n"
        "        return super().forward(input, state * (1 if self.steps % 12 else 0.5))\n"
    )
    case = Case("forgetful.py:Forgetful", "loop", small.workload(reference="gru", **STREAM))
    made = build(case, tmp_path)
    assert str(observe(made).parity) == "agrees"
    with pytest.raises(ParityError, match="output of step 16 is off"):
        parity.compare(
            made, made.timed_call(), lambda: build(reference_case(case), tmp_path), lambda: build(case, tmp_path)
        )
