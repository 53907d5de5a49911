"""Layers in rnnbench's own C: outputs, states and gradients are those of torch.nn's in float64, at every size."""

import platform
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rnnbench.kernels import direct, recurrence
from rnnbench.kernels.recurrence import CELLS, CellCode
from rnnbench.speedup import fused
from rnnbench.store.metrics import Unavailable

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(
        isinstance(recurrence.functions(CELLS["lstm"]), str), reason="this machine can't build rnnbench's own layers"
    ),
]
TOLERANCE = 1e-5  # of the largest value
# Whole vectors of units and parts of one, with any number of lanes; rows of one tile and of several, and of two parts.
HIDDEN = st.sampled_from([1, 3, 8, 15, 16, 17, 31, 33, 48, 70])
BATCH = st.sampled_from([1, 2, 3, 4, 5, 6, 7, 12, 13, 17, 49, 97])
LSTM = CELLS["lstm"]
GRU = CELLS["gru"]
every_cell = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)


def results(run: Any, tensors: list[Tensor]) -> list[Tensor]:
    """Outputs, the last states, and the gradients of all tensors for a fixed gradient of each of them."""
    shown = run(*tensors)
    total = sum((each * torch.linspace(-1, 1, each.numel()).view_as(each)).sum() for each in shown)
    assert isinstance(total, Tensor)
    return [each.detach() for each in (*shown, *torch.autograd.grad(total, tensors))]


def expected(cell: CellCode, tensors: list[Tensor], *, is_reverse: bool) -> list[Tensor]:
    function: Any = getattr(torch, cell.name)

    def run(input: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        state: Any = others[0] if cell.states == 1 else others[: cell.states]
        turned = input.flip(0) if is_reverse else input
        outputs, *final = function(turned, state, list(others[cell.states :]), True, 1, 0.0, True, False, False)
        return outputs.flip(0) if is_reverse else outputs, *final

    with torch.enable_grad():
        return results(run, [each.detach().double().requires_grad_() for each in tensors])


def tensors_of(cell: CellCode, steps: int, batch: int, features: int, hidden: int) -> list[Tensor]:
    """Input, states, weights and biases of a layer."""
    torch.manual_seed(0)
    rows = cell.gates * hidden
    shapes = [(steps, batch, features), *[(1, batch, hidden)] * cell.states]
    weights = [(rows, features), (rows, hidden), (rows,), (rows,)]
    random = [torch.randn(*shape) for shape in shapes] + [hidden**-0.5 * torch.randn(*shape) for shape in weights]
    return [each.requires_grad_() for each in random]


def run_layer(cell: CellCode, tensors: Any, *, is_reverse: bool = False) -> tuple[Tensor, ...]:
    input, *others = tensors
    return recurrence.layer(cell, input, others[: cell.states], others[cell.states :], is_reverse=is_reverse)


def check(cell: CellCode, tensors: list[Tensor], *, is_reverse: bool = False) -> None:
    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        return run_layer(cell, tensors, is_reverse=is_reverse)

    computed = results(run, tensors)
    wanted = expected(cell, tensors, is_reverse=is_reverse)
    with torch.no_grad():
        inferred = run(*tensors)
    assert len(computed) == len(wanted)
    for one, other in zip([*computed, *inferred], [*wanted, *wanted[: len(inferred)]], strict=True):
        assert (one - other).abs().max() <= TOLERANCE * max(1.0, float(other.abs().max()))


@given(
    cell=st.sampled_from([*CELLS.values()]),
    sizes=st.tuples(st.sampled_from([1, 2, 5]), BATCH, st.sampled_from([1, 7, 16, 40]), HIDDEN),
    is_reverse=st.booleans(),
)
def test_outputs_states_and_gradients_are_those_of_float64(
    cell: CellCode, sizes: tuple[int, int, int, int], is_reverse: bool
) -> None:
    check(cell, tensors_of(cell, *sizes), is_reverse=is_reverse)


@every_cell
def test_a_weight_of_more_columns_than_a_block_is_summed_in_blocks(cell: CellCode) -> None:
    check(cell, tensors_of(cell, 2, 7, 520, 20))  # a block has 512


@pytest.fixture
def two_threads(one_thread: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recurrence, "MIN_SHARED", 0)
    torch.set_num_threads(2)  # the other fixture sets it back


@pytest.mark.usefixtures("two_threads")
@every_cell
@pytest.mark.parametrize("sizes", [(9, 1, 5, 70), (5, 8, 40, 33), (3, 50, 7, 100), (1, 2, 3, 4)])
@pytest.mark.parametrize("is_reverse", [False, True])
def test_two_threads_that_meet_in_each_step_compute_the_same(
    cell: CellCode, sizes: tuple[int, int, int, int], is_reverse: bool
) -> None:
    check(cell, tensors_of(cell, *sizes), is_reverse=is_reverse)


@every_cell
@pytest.mark.parametrize("lacks", ["states", "biases", "one bias"])
def test_a_state_of_zeros_and_biases_may_be_left_out(cell: CellCode, lacks: str) -> None:
    tensors = tensors_of(cell, 5, 3, 4, 18)
    missing = {"states": [*range(1, 1 + cell.states)], "biases": [-2, -1], "one bias": [-2]}[lacks]
    given: list[Any] = list(tensors)
    zeros = [each.detach().requires_grad_() for each in tensors]
    for number in missing:
        given[number] = None
        zeros[number] = torch.zeros_like(tensors[number])
    state = None if lacks == "states" else given[1 : 1 + cell.states]
    computed = recurrence.layer(cell, given[0], state, given[1 + cell.states :])
    for one, other in zip(computed, expected(cell, zeros, is_reverse=False), strict=False):
        torch.testing.assert_close(one.double(), other, rtol=TOLERANCE, atol=TOLERANCE)
    weight = torch.autograd.grad(computed[0].square().sum(), given[-3])[0]
    kinds: Any = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn_tanh": nn.RNN}
    reference = kinds[cell.name](4, 18)
    for name, each in zip(("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"), zeros[-4:], strict=True):
        getattr(reference, name).data.copy_(each.detach())
    first = tuple(zeros[1 : 1 + cell.states])
    reference(zeros[0], first if len(first) > 1 else first[0])[0].square().sum().backward()
    torch.testing.assert_close(weight, reference.weight_hh_l0.grad)


@every_cell
@torch.no_grad()
def test_small_and_large_sums_and_values_that_are_no_numbers_are_kept(cell: CellCode) -> None:
    tensors = [each.detach() for each in tensors_of(cell, 2, 3, 16, 16)]
    first = 1 + cell.states
    for scale in (1e-6, 1.0, 1e3, 1e8):
        scaled = [*tensors[:first], *(scale * each for each in tensors[first:])]
        wanted = expected(cell, scaled, is_reverse=False)
        computed = run_layer(cell, scaled)
        # Large terms of a sum may leave a small rest, with the error that float32 has in the terms.
        error = 1e-11 if scale < 1 else 1e-6 * scale
        torch.testing.assert_close(computed[-1].double(), wanted[cell.states].detach(), rtol=1e-5, atol=error)
    tensors[0][0, 1, 0] = float("nan")
    outputs = run_layer(cell, tensors)[0]
    assert outputs.isnan().any(2).tolist() == [[False, True, False]] * 2


@every_cell
def test_inputs_weights_and_gradients_may_lie_in_any_order(cell: CellCode) -> None:
    tensors = tensors_of(cell, 6, 4, 10, 20)
    turned = [each.detach().transpose(0, -1).contiguous().transpose(0, -1).requires_grad_() for each in tensors]
    wide = torch.randn(6, 4, 30)[:, :, ::3].requires_grad_()
    check(cell, turned)
    check(cell, [wide, *tensors[1:]])
    outputs = recurrence.layer(cell, tensors[0], None, tensors[1 + cell.states :])[0]
    of_mean = torch.autograd.grad(outputs.sum(), tensors[-4])[0]  # its gradient has strides of zero
    assert of_mean.isfinite().all()


def test_only_tensors_of_fitting_types_and_shapes_are_read() -> None:
    input, h, c, *weights = tensors_of(LSTM, 2, 3, 4, 5)
    given: Any = weights
    assert recurrence.fits(LSTM, input, (h, c), given)
    assert recurrence.fits(LSTM, input, None, [*given[:2], None, None])
    assert not recurrence.fits(LSTM, input.double(), (h, c), given)
    assert not recurrence.fits(LSTM, input[..., :3], (h, c), given)
    assert not recurrence.fits(LSTM, torch.complex(input, input).conj().imag, (h, c), given)
    assert not recurrence.fits(LSTM, input, (h[:, :2], c), given)
    assert not recurrence.fits(LSTM, input, (h, c.double()), given)
    assert not recurrence.fits(LSTM, input, (h,), given)
    assert not recurrence.fits(GRU, input, (h,), given)
    for number in range(4):
        for other in (given[number][:-1], given[number].double(), given[number].to("meta")):
            assert not recurrence.fits(LSTM, input, (h, c), [*given[:number], other, *given[number + 1 :]])
    with torch.autocast("cpu", torch.bfloat16):
        assert not recurrence.fits(LSTM, input, (h, c), given)


def test_without_a_compiler_the_reason_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    recurrence.functions.cache_clear()
    with pytest.raises(Unavailable, match="no C compiler was found"):
        run_layer(LSTM, tensors_of(LSTM, 1, 1, 1, 1))
    recurrence.functions.cache_clear()


def test_a_library_that_is_given_is_never_built(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"no\.so"):
        recurrence.use_library(LSTM, tmp_path / "no.so")
    with pytest.raises(OSError, match="rnnbench_layer_forward"):
        recurrence.use_library(LSTM, Path(torch._C.__file__))
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the options are those of this family")
@pytest.mark.parametrize("option", ["-mno-avx512f", "-mno-avx", "-march=x86-64"])
def test_code_for_older_processors_computes_the_same(
    option: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(direct, "BUILD_OPTIONS", ("-O1", *direct.BUILD_OPTIONS[1:], option))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    recurrence.functions.cache_clear()
    for cell in CELLS.values():
        for sizes in ((3, 1, 5, 17), (3, 7, 9, 40), (2, 13, 20, 33)):
            check(cell, tensors_of(cell, *sizes))
            check(cell, tensors_of(cell, *sizes), is_reverse=True)
    recurrence.functions.cache_clear()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_second_derivatives_and_checkpoints_are_those_of_the_layer(kind: Any, bias: bool) -> None:
    layer = kind(5, 6, num_layers=2, bidirectional=True, bias=bias)
    input = torch.randn(4, 3, 5)

    def loss(run: Any) -> Any:
        return lambda given: run(given)[0].square().sum()

    def fused_layer(given: Tensor) -> Any:
        return fused.run_layer(layer, given, None)

    ones = torch.ones_like(input)
    for product in (torch.autograd.functional.hvp, torch.autograd.functional.vhp, torch.autograd.functional.jvp):
        expected = product(loss(layer), input, ones)[1]
        assert expected.abs().max() > 0
        torch.testing.assert_close(product(loss(fused_layer), input, ones)[1], expected, rtol=1e-4, atol=1e-5)
    weight = layer.weight_hh_l0
    of_weight = []
    for run in (layer, fused_layer):
        first = torch.autograd.grad(loss(run)(input), weight, create_graph=True)[0]
        of_weight.append(torch.autograd.grad(first.square().sum(), list(layer.parameters())))
    torch.testing.assert_close(of_weight[1], of_weight[0], rtol=1e-3, atol=1e-4)
    given = input.clone().requires_grad_()
    checkpoint(loss(fused_layer), given, use_reentrant=False).backward()
    [expected] = torch.autograd.grad(loss(layer)(given), given)
    torch.testing.assert_close(given.grad, expected, rtol=1e-4, atol=1e-5)
