"""Inputs that are no vectors of numbers: tokens and frames."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnbench import suites
from rnnbench.errors import UserError
from rnnbench.store.records import Case
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import Built, build
from rnnbench.workloads.referee import again
from tests.adapt import awkward
from tests.doubles import workload as small

FOLDER = Path(awkward.__file__).parent


def built(cell: str, input: str, implementation: Any = "loop", **changes: Any) -> Built:
    workload = small.workload(**{"reference": "none", "input": input, "dtype": "float32"} | changes)
    return build(Case(f"awkward.py:{cell}", implementation, workload), FOLDER)


@pytest.mark.parametrize("phase", ["inference", "training", "step"])
@pytest.mark.parametrize("task", ["many_to_many", "many_to_one"])
@pytest.mark.parametrize(
    ("cell", "input", "implementation"),
    [("Tokens", "tokens:11", "loop"), ("TokenLayer", "tokens:11", "sequence"), ("Frames", "frames:2x5x4", "loop")],
)
def test_they_are_read(cell: str, input: str, implementation: Any, task: Any, phase: Any) -> None:
    make = partial(built, cell, input, implementation, task=task, phase=phase)
    case = make()
    assert observe(case).parity == "not compared: there is no reference"
    timed = case.timed_call()
    with timed.mode():
        timed.call()
    again.compare(case, timed, lambda: again.GroupReference(case.model), make, repeats=True)


def test_tokens_are_whole_numbers_below_their_number_and_change_from_window_to_window() -> None:
    case = built("Tokens", "tokens:3", seq_len=50)
    assert case.input.shape == (50, 3)
    assert sorted(case.input.unique().tolist()) == [0, 1, 2]
    inputs = case.timed_call().inputs
    before = inputs.tensors[0].clone()
    inputs.renew("another window")
    assert not torch.equal(before, inputs.tensors[0])
    assert sorted(inputs.tensors[0].unique().tolist()) == [0, 1, 2]
    assert built("Frames", "frames:2x5x4").input.shape == (4, 3, 2, 5, 4)


@pytest.mark.parametrize(
    ("cell", "input", "implementation"),
    [("Tokens", "tokens:11", "loop"), ("TokenLayer", "tokens:11", "sequence"), ("Frames", "frames:2x5x4", "loop")],
)
@pytest.mark.parametrize("phase", ["inference", "training"])
def test_another_cell_that_reads_them_is_the_reference(cell: str, input: str, implementation: Any, phase: Any) -> None:
    case = built(cell, input, implementation, reference=f"awkward.py:{cell}", phase=phase)
    assert observe(case).parity == "agrees"
    timed = case.timed_call()
    reference = again.GroupReference(build(again.reference_case(case.case), FOLDER).model)
    again.compare(case, timed, lambda: reference, lambda: case, repeats=True)


def test_torch_nn_reads_features_alone() -> None:
    for changes, words in (
        ({"reference": "gru"}, "torch.nn.GRU reads features, but the input is tokens:3"),
        ({"task": "one_to_many", "output_size": 5}, "one_to_many gives features as inputs"),
        ({"phase": "epoch", "samples": 4}, "an epoch gives features as inputs"),
    ):
        with pytest.raises(Skip, match=words):
            built("Tokens", "tokens:3", **changes)


@pytest.mark.parametrize("input", ["token:3", "tokens", "tokens:0", "frames:3xx", "frames:", "features:3"])
def test_another_input_is_refused(tmp_path: Path, input: str) -> None:
    (tmp_path / "s.toml").write_text(f'name = "s"\n[[sweep]]\ncell = "gru"\ninput = "{input}"')
    with pytest.raises(UserError, match=r"expected features, tokens:N \(such as tokens:100\) or frames:CxHxW"):
        suites.read(str(tmp_path / "s.toml"))
