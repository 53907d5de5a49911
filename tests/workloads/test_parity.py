"""The gate lets equal cells pass and finds each kind of difference, before a case is timed and again afterwards.

Every cell of rnnbench agrees then, too; and inputs that are no vectors of numbers: tokens and frames.
"""

from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rnnbench.cells import CELLS
from rnnbench.cells.gru import GRUCell
from rnnbench.store.parity import AGREES
from rnnbench.store.records import Case, DType, Phase
from rnnbench.workloads import parity
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.observe import _check_parity, observe
from rnnbench.workloads.parity import TOLERANCES, ParityError, allowed, errors, relative_error
from rnnbench.workloads.prepare import Built, build, reference_case
from tests.adapt import awkward
from tests.doubles import workload as small

ROOT = Path()
EQUAL = [name for name, spec in CELLS.items() if not spec.unequal]


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", EQUAL)
def test_every_cell_agrees_with_its_reference_in_every_dtype(name: str, dtype: DType) -> None:
    for implementation in ("loop", "hoisted"):
        try:
            measurement = observe(build(small.case(name, implementation, dtype=dtype, seq_len=9), ROOT))
        except Skip:
            continue
        assert str(measurement.parity) == "agrees"
        assert measurement.parity_error is not None
        assert measurement.parity_error <= TOLERANCES[dtype]


def differences(candidate: nn.Module, reference: nn.Module) -> dict[str, float]:
    candidate.load_state_dict(reference.state_dict())
    return compared(candidate, reference, torch.randn(4, 2, 3).double(), torch.randn(1, 2, 5).double())


def compared(candidate: nn.Module, reference: nn.Module, input: Any, state: Any) -> dict[str, float]:
    return errors((candidate, candidate), (reference, reference), dict, input, state)


class Layer(nn.Module):
    """A torch.nn layer that can change one of its inputs, outputs or gradients."""

    def __init__(self, change: str = "") -> None:
        super().__init__()
        self.layer = nn.RNN(3, 5).double()
        self.change = change

    def forward(self, x, h):
        if self.change == "input gradient":
            x = x.detach() + 0 * x
        output, final = self.layer(x, h.detach() if self.change == "state gradient" else h)
        if self.change == "output":
            output = output + 1e-6
        if self.change == "final state":
            final = final * (1 + 1e-6)
        if self.change == "nan":
            output = output * float("nan")
        return output, final


@pytest.mark.parametrize(
    ("change", "quantity"),
    [
        ("output", "output"),
        ("final state", "final h"),
        ("input gradient", "gradient of input"),
        ("state gradient", "gradient of initial h"),
    ],
)
def test_a_difference_is_found_where_it_is(change: str, quantity: str) -> None:
    result = differences(Layer(change), Layer())
    assert result[quantity] > 1e-7
    assert max(error for name, error in result.items() if "gradient" not in name and name != quantity) < 1e-9


class Keeping(nn.Module):
    """Keeps its inputs' running sum, twice that sum, and so on, beside its output."""

    def __init__(self, *, off: int | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones((), dtype=torch.float64))
        self.off = off  # the index of the tensor of the final state that is wrong

    def forward(self, x, state):
        total = self.weight * x.sum(0, keepdim=True)
        final = [total + index * part for index, part in enumerate(state)]
        if self.off is not None:
            final[self.off] = final[self.off] + 1
        return self.weight * x, tuple(final)


@pytest.mark.parametrize(
    ("count", "off", "name"),
    [(2, 0, "final h"), (2, 1, "final c"), (3, 1, "final state 1"), (3, 2, "final state 2")],
)
def test_every_tensor_of_a_state_is_compared(count: int, off: int, name: str) -> None:
    state = tuple(torch.randn(1, 2, 3).double() for _ in range(count))
    result = compared(Keeping(off=off), Keeping(), torch.randn(4, 2, 3).double(), state)
    assert [quantity for quantity, error in result.items() if error > 0] == [name]
    assert len(result) == 1 + count + 1 + count + 1  # output, final state, gradients of input, state and weight


def test_nan_does_not_pass() -> None:
    assert not max(differences(Layer("nan"), Layer()).values()) <= 1.0


def test_a_parameter_that_no_gradient_reaches_is_named() -> None:
    class Unused(Layer):
        def forward(self, x, h):
            return x.new_ones(4, 2, 5) * h.sum(), h

    with pytest.raises(ValueError, match=r"no gradient reaches layer.weight_ih_l0"):
        differences(Unused(), Layer())


WEIGHT = "gradient of body.layer.weight_hh_l0"
DTYPES: tuple[DType, ...] = ("float64", "float32", "tf32", "float16", "bfloat16")


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_tolerance_grows_with_the_sum_and_a_gradient_of_zero_never_passes(dtype: DType) -> None:
    tolerances = [allowed(WEIGHT, dtype, steps=10**power, batch=64, hidden=8, output=10) for power in range(12)]
    assert tolerances == sorted(tolerances)
    assert tolerances[-1] < 1


@pytest.mark.parametrize(
    ("dtype", "steps", "batch", "hidden"),
    [
        ("bfloat16", 2048, 1, 8),  # 256 failed at 1e-1
        ("float16", 512, 1, 8),
        ("float32", 128, 64, 32),
        ("float64", 128, 2, 16),
        ("bfloat16", 1, 64, 64),
    ],
)
@pytest.mark.parametrize("name", ["vanilla", "lstm", "gru"])
def test_right_cells_agree_at_every_length(name: str, dtype: DType, steps: int, batch: int, hidden: int) -> None:
    sizes: Any = {"seq_len": steps, "batch_size": batch, "hidden_size": hidden, "dtype": dtype, "phase": "training"}
    assert _check_parity(build(small.case(name, **sizes), ROOT))[0] == AGREES


class NoBias(GRUCell):
    """Adds no bias to the input's products."""

    def project(self, input):
        return super().project(input) - self.bias_ih


class Swapped(GRUCell):
    """Swaps the reset gate and the update gate."""

    def advance(self, projected, h):
        r, z, n = projected.chunk(3, dim=-1)
        return super().advance(torch.cat((z, r, n), dim=-1), h)


class Stale(GRUCell):
    """Averages the new state and the old one."""

    def advance(self, projected, h):
        return super().advance(projected, h) / 2 + h / 2


@pytest.mark.parametrize("wrong", [NoBias, Swapped, Stale])
@pytest.mark.parametrize(
    ("dtype", "steps"),
    [(dtype, steps) for dtype in ("float64", "float32", "float16", "bfloat16") for steps in (1, 64)]
    + [("bfloat16", 512)],
)
def test_wrong_cells_fail_in_every_type_at_every_length(wrong: type[GRUCell], dtype: DType, steps: int) -> None:
    sizes: Any = {"seq_len": steps, "batch_size": 2, "hidden_size": 32, "dtype": dtype, "phase": "training"}
    built = build(small.case("gru", **sizes), ROOT)
    cells: Any = built.model.body
    cells.cells[0].__class__ = wrong
    with pytest.raises(ParityError, match=f"is allowed .{dtype}"):
        _check_parity(built)


def test_the_imaginary_part_counts_too() -> None:
    right = torch.complex(torch.ones(3), torch.ones(3))
    assert relative_error(right.conj(), right) == pytest.approx(2**0.5)
    assert relative_error(right.real, right) == pytest.approx(0.5**0.5)
    assert relative_error(right, right) == 0


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
    parity.compare(built, call, lambda: build(reference_case(case), root), lambda: build(case, root))


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
    assert str(observe(case).parity) == "not compared: there is no reference"
    timed = case.timed_call()
    with timed.mode():
        timed.call()
    parity.compare(case, timed, lambda: case, make)


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
