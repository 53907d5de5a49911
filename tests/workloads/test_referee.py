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
from rnnbench.errors import UserError
from rnnbench.store.records import Case, DType, Phase
from rnnbench.suite import suites
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
    call.end()
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


def passes(cell: str, implementation: Any, **axes: Any) -> bool:
    """Verify a case after a few calls; returns whether it makes sense at all."""
    case = small.case(cell, implementation, **axes)
    try:
        built, call = timed(case)
    except Skip:
        return False
    if built.unequal:
        referee.verify_alone(built, call, lambda: build(case, Path()))
    else:
        referee.verify(built, call, referee.GroupReference.of(case, Path()))
    referee.check_repeats(built, call)
    return True


def test_the_reference_that_is_built_later_has_the_same_weights() -> None:
    case = small.case("lstm", phase="training")
    built, later = build(case, Path()), build(reference_case(case), Path())
    pairs = zip(built.reference.parameters(), later.model.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


def test_the_reference_runs_once_for_the_cases_of_a_group() -> None:
    cases = [small.case("lstm", implementation, phase="training") for implementation in ("loop", "hoisted")]
    reference = referee.GroupReference.of(cases[0], Path())
    calls: list[object] = []
    reference.model.register_forward_hook(lambda module, given, result: calls.append(result))
    for case in cases:
        referee.verify(*timed(case), reference)
    assert (len(calls), len(reference.runs)) == (1, 1)
    built, call = timed(cases[1])
    with torch.no_grad():
        next(built.model.body.parameters()).mul_(1.01)
    with pytest.raises(ParityError, match="is off by"):
        referee.verify(built, call, reference)


def test_without_a_reference_a_case_must_do_what_a_new_instance_does_and_give_finite_values() -> None:
    built, call = timed(small.case("vanilla", reference="none"))

    def anew() -> Built:
        return build(built.case, Path())

    referee.verify_alone(built, call, anew)
    with torch.no_grad():
        next(built.model.body.parameters()).mul_(1.01)
    with pytest.raises(ParityError, match=r"output is off by .* of a new instance's largest value"):
        referee.verify_alone(built, call, anew)
    with torch.no_grad():
        next(built.model.body.parameters()).fill_(torch.nan)
    with pytest.raises(ParityError, match="output has NaN or infinite values"):
        referee.verify_alone(built, call, anew)


def counts(*operators: int) -> Any:
    """A function that returns these numbers of operators, one after the other."""
    calls = iter(operators)
    return lambda: next(calls)


def test_less_in_every_second_call_is_told_and_less_now_and_then_is_chance() -> None:
    assert referee.kept_results(counts(*[9, 1] * referee.REPEATS), lambda number: None).startswith(
        "keeps results: a second"
    )
    assert referee.kept_results(counts(9, 1, 9, 1, 9, 9), lambda number: None) == ""


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
    referee.compare(case, timed, lambda: referee.GroupReference(case.model), make, repeats=True)


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


@pytest.mark.parametrize("input", ["token:3", "tokens", "tokens:0", "frames:3xx", "frames:", "features:3"])
def test_another_input_is_refused(tmp_path: Path, input: str) -> None:
    (tmp_path / "s.toml").write_text(f'name = "s"\n[[sweep]]\ncell = "gru"\ninput = "{input}"')
    with pytest.raises(UserError, match=r"expected features, tokens:N \(such as tokens:100\) or frames:CxHxW"):
        suites.read(str(tmp_path / "s.toml"))
