"""A case that has been timed is compared with its reference again; every cell of rnnbench agrees then, too.

Inputs that are no vectors of numbers: tokens and frames.
"""

from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnbench.cells import CELLS
from rnnbench.store.records import Case, DType, Phase
from rnnbench.workloads import referee
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import Built, build, reference_case
from rnnbench.workloads.referee import ParityError
from tests.adapt import awkward
from tests.doubles import workload as small

IMPLEMENTATIONS: Any = ("loop", "hoisted", "transposed", "torch.nn-cell", "torch.nn-padded")
AXES: list[dict[str, Any]] = [
    {"num_layers": 2, "bidirectional": True, "dropout": 0.5},
    {"lengths": "varied"},
    {"task": "many_to_one"},
    {"task": "encoder_decoder", "output_len": 3},
    {"task": "one_to_many", "input_size": 2},
]


def timed(case: Case, root: Path = Path()) -> tuple[Built, Any]:
    """A case without its reference, after a few calls, as a worker keeps it."""
    built = build(case, root)
    kept = replace(built, reference=built.model)
    call = kept.timed_call()
    with call.mode():
        for _ in range(3):
            call.call()
    call.close()
    return kept, call


@pytest.mark.parametrize(("phase", "dtype"), [("inference", "float16"), ("training", "float32")])
def test_every_cell_and_implementation_passes(phase: Phase, dtype: DType) -> None:
    passed = [passes(cell, way, phase=phase, dtype=dtype) for cell, way in product(CELLS, IMPLEMENTATIONS)]
    assert sum(passed) >= 15


@pytest.mark.parametrize("phase", ["inference", "training", "step", "epoch"])
def test_every_task_and_shape_passes(phase: Phase) -> None:
    samples = 6 if phase == "epoch" else 0
    passed = [passes("lstm", "loop", phase=phase, dtype="bfloat16", samples=samples, **axes) for axes in AXES]
    assert any(passed)


def verify(built: Built, call: Any, root: Path = Path()) -> None:
    """Compare a case again, as a worker does."""
    case = built.case
    referee.compare(built, call, lambda: build(reference_case(case), root), lambda: build(case, root))


def passes(cell: str, implementation: Any, **axes: Any) -> bool:
    """Verify a case after a few calls; returns whether it makes sense at all."""
    try:
        verify(*timed(small.case(cell, implementation, **axes)))
    except Skip:
        return False
    return True


@pytest.mark.parametrize(
    ("reference", "message"),
    [("rnn", "of the reference's largest value"), ("none", "output is off by .* of a new instance's largest value")],
)
def test_what_a_case_computes_after_timing_must_be_right_and_finite(reference: Any, message: str) -> None:
    built, call = timed(small.case("vanilla", reference=reference))
    verify(built, call)
    for factor, words in ((1.01, message), (torch.nan, "has NaN or infinite values")):
        with torch.no_grad():
            next(built.model.body.parameters()).mul_(factor)
        with pytest.raises(ParityError, match=words):
            verify(built, call)


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
    referee.compare(case, timed, lambda: case, make)


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


def test_torch_nn_reads_features_alone() -> None:
    for changes, words in (
        ({"reference": "gru"}, "torch.nn.GRU reads features, but the input is tokens:3"),
        ({"task": "one_to_many", "output_size": 5}, "one_to_many gives features as inputs"),
        ({"phase": "epoch", "samples": 4}, "an epoch gives features as inputs"),
    ):
        with pytest.raises(Skip, match=words):
            built("Tokens", "tokens:3", **changes)
