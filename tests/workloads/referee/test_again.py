"""A case that has been timed is compared with its reference again; every cell of rnnbench agrees then, too."""

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnbench.cells import CELLS
from rnnbench.store.records import Case, DType, Phase
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.prepare import Built, build
from rnnbench.workloads.referee import again
from rnnbench.workloads.referee.agreement import ParityError
from tests.doubles import workload as small

IMPLEMENTATIONS: Any = ("loop", "hoisted", "transposed", "torch.nn-cell", "torch.nn-padded")
AXES: list[dict[str, Any]] = [
    {"num_layers": 2, "bidirectional": True, "dropout": 0.5},
    {"lengths": "varied"},
    {"task": "many_to_one"},
    {"task": "encoder_decoder", "output_len": 3},
    {"task": "one_to_many", "input_size": 2},
]


CONDITIONAL = """
import torch
from torch import nn
class Conditional(nn.GRUCell):
    def forward(self, input, h):
        h = super().forward(input, h)
        return torch.cond(input.sum() > -1e9, lambda x: x * 1.0, lambda x: x + 1.0, (h,))
"""


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
        again.verify_alone(built, call, lambda: build(case, Path()))
    else:
        again.verify(built, call, again.GroupReference(build(again.reference_case(case), Path()).model))
    again.check_repeats(built, call)
    return True


def test_the_reference_that_is_built_later_has_the_same_weights() -> None:
    case = small.case("lstm", phase="training")
    built, later = build(case, Path()), build(again.reference_case(case), Path())
    pairs = zip(built.reference.parameters(), later.model.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


def test_the_reference_runs_once_for_the_cases_of_a_group() -> None:
    cases = [small.case("lstm", implementation, phase="training") for implementation in ("loop", "hoisted")]
    reference = again.GroupReference(build(again.reference_case(cases[0]), Path()).model)
    calls: list[object] = []
    reference.model.register_forward_hook(lambda module, given, result: calls.append(result))
    for case in cases:
        again.verify(*timed(case), reference)
    assert (len(calls), len(reference.runs)) == (1, 1)
    built, call = timed(cases[1])
    with torch.no_grad():
        next(built.model.body.parameters()).mul_(1.01)
    with pytest.raises(ParityError, match="is off by"):
        again.verify(built, call, reference)


def test_a_weight_that_has_changed_is_noticed() -> None:
    built, call = timed(small.case("gru"))
    reference = again.GroupReference(build(again.reference_case(built.case), Path()).model)
    with torch.no_grad():
        next(built.model.body.parameters()).mul_(1.01)
    with pytest.raises(ParityError, match="is off by"):
        again.verify(built, call, reference)


def test_without_a_reference_a_case_must_do_what_a_new_instance_does_and_give_finite_values() -> None:
    built, call = timed(small.case("vanilla", reference="none"))

    def anew() -> Built:
        return build(built.case, Path())

    again.verify_alone(built, call, anew)
    with torch.no_grad():
        next(built.model.body.parameters()).mul_(1.01)
    with pytest.raises(ParityError, match=r"output is off by .* of a new instance's largest value"):
        again.verify_alone(built, call, anew)
    with torch.no_grad():
        next(built.model.body.parameters()).fill_(torch.nan)
    with pytest.raises(ParityError, match="output has NaN or infinite values"):
        again.verify_alone(built, call, anew)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's own, while it traces
@pytest.mark.parametrize("phase", ["inference", "training"])
def test_a_cell_with_a_higher_order_operator_is_checked_and_works_afterwards(phase: Phase, tmp_path: Path) -> None:
    (tmp_path / "conditional.py").write_text(CONDITIONAL)
    case = Case("conditional.py:Conditional", "loop", small.workload(reference="gru", phase=phase, dtype="float32"))
    built, call = timed(case, tmp_path)
    again.check_repeats(built, call)
    with call.mode():
        call.call()


def counts(*operators: int) -> Any:
    """A function that returns these numbers of operators, one after the other."""
    calls = iter(operators)
    return lambda: next(calls)


def test_less_in_every_second_call_is_told_and_less_now_and_then_is_chance() -> None:
    assert again.kept_results(counts(*[9, 1] * again.REPEATS), lambda number: None).startswith(
        "keeps results: a second"
    )
    assert again.kept_results(counts(9, 1, 9, 1, 9, 9), lambda number: None) == ""
