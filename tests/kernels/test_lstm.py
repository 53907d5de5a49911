"""rnnbench's own LSTM in C: outputs, states and gradients are those of torch.nn.LSTM in float64, at every size."""

import platform
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from rnnbench.kernels import direct, lstm
from rnnbench.store.metrics import Unavailable

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(isinstance(lstm.functions(), str), reason="this machine can't build rnnbench's own LSTM"),
]
TOLERANCE = 1e-5  # of the largest value
# Whole vectors of units and parts of one, with any number of lanes; rows of one tile and of several, and of two parts.
HIDDEN = st.sampled_from([1, 3, 8, 15, 16, 17, 31, 33, 48, 70])
BATCH = st.sampled_from([1, 2, 3, 4, 5, 6, 7, 12, 13, 17, 49, 97])


def results(run: Any, tensors: list[Tensor]) -> list[Tensor]:
    """Outputs, the last h and c, and the gradients of all tensors for a fixed gradient of each of them."""
    outputs, h, c = run(*tensors)
    total = sum((each * torch.linspace(-1, 1, each.numel()).view_as(each)).sum() for each in (outputs, h, c))
    assert isinstance(total, Tensor)
    return [each.detach() for each in (outputs, h, c, *torch.autograd.grad(total, tensors))]


def expected(tensors: list[Tensor], *, is_reverse: bool) -> list[Tensor]:
    def run(input: Tensor, h: Tensor, c: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        given = input.flip(0) if is_reverse else input
        outputs, last_h, last_c = torch.lstm(given, (h, c), list(weights), True, 1, 0.0, True, False, False)
        return outputs.flip(0) if is_reverse else outputs, last_h, last_c

    with torch.enable_grad():
        return results(run, [each.detach().double().requires_grad_() for each in tensors])


def tensors_of(steps: int, batch: int, features: int, hidden: int) -> list[Tensor]:
    """Input, state, weights and biases of a layer."""
    torch.manual_seed(0)
    shapes = [(steps, batch, features), (1, batch, hidden), (1, batch, hidden), (4 * hidden, features)]
    made = [torch.randn(*shape) for shape in (*shapes, (4 * hidden, hidden), (4 * hidden,), (4 * hidden,))]
    return [(each if number < 3 else hidden**-0.5 * each).requires_grad_() for number, each in enumerate(made)]


def check(tensors: list[Tensor], *, is_reverse: bool = False) -> None:
    def run(input: Tensor, h: Tensor, c: Tensor, *weights: Any) -> tuple[Tensor, Tensor, Tensor]:
        return lstm.layer(input, (h, c), weights, is_reverse=is_reverse)

    found, wanted = results(run, tensors), expected(tensors, is_reverse=is_reverse)
    with torch.no_grad():
        inferred = run(*tensors)
    for one, other in zip([*found, *inferred], [*wanted, *wanted[:3]], strict=True):
        assert (one - other).abs().max() <= TOLERANCE * max(1.0, float(other.abs().max()))


@given(
    sizes=st.tuples(st.sampled_from([1, 2, 5]), BATCH, st.sampled_from([1, 7, 16, 40]), HIDDEN),
    is_reverse=st.booleans(),
)
def test_outputs_states_and_gradients_are_those_of_float64(sizes: tuple[int, int, int, int], is_reverse: bool) -> None:
    check(tensors_of(*sizes), is_reverse=is_reverse)


@pytest.fixture
def two_threads(one_thread: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lstm, "MIN_SHARED", 0)
    torch.set_num_threads(2)  # the other fixture sets it back


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("sizes", [(9, 1, 5, 70), (5, 8, 40, 33), (3, 50, 7, 100), (1, 2, 3, 4)])
@pytest.mark.parametrize("is_reverse", [False, True])
def test_two_threads_that_meet_in_each_step_compute_the_same(
    sizes: tuple[int, int, int, int], is_reverse: bool
) -> None:
    check(tensors_of(*sizes), is_reverse=is_reverse)


@pytest.mark.parametrize("lacks", [(1, 2), (5, 6), (5,)])
def test_a_state_of_zeros_and_biases_may_be_left_out(lacks: tuple[int, ...]) -> None:
    tensors = tensors_of(5, 3, 4, 18)
    given: list[Any] = [None if number in lacks else each for number, each in enumerate(tensors)]
    state = None if 1 in lacks else given[1:3]
    zeros = [torch.zeros_like(each) if number in lacks else each for number, each in enumerate(tensors)]
    found = lstm.layer(given[0], state, given[3:])
    wanted = expected([each.detach().requires_grad_() for each in zeros], is_reverse=False)
    for one, other in zip(found, wanted[:3], strict=True):
        torch.testing.assert_close(one.double(), other, rtol=TOLERANCE, atol=TOLERANCE)
    weight = torch.autograd.grad(found[0].square().sum(), given[4])[0]
    reference = nn.LSTM(4, 18)
    for name, each in zip(("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"), zeros[3:], strict=True):
        getattr(reference, name).data.copy_(each.detach())
    reference(zeros[0], (zeros[1], zeros[2]))[0].square().sum().backward()
    torch.testing.assert_close(weight, reference.weight_hh_l0.grad)


@torch.no_grad()
def test_small_and_large_sums_and_values_that_are_no_numbers_are_kept() -> None:
    input, h, c, *weights = (each.detach() for each in tensors_of(2, 3, 16, 16))
    for scale in (1e-6, 1.0, 1e3, 1e8):
        given = [scale * each for each in weights]
        found, wanted = lstm.layer(input, (h, c), given), expected([input, h, c, *given], is_reverse=False)
        torch.testing.assert_close(found[2].double(), wanted[2].detach(), rtol=1e-5, atol=1e-11)
    input[0, 1, 0] = float("nan")
    outputs = lstm.layer(input, (h, c), weights)[0]
    assert outputs.isnan().any(2).tolist() == [[False, True, False]] * 2


def test_inputs_weights_and_gradients_may_lie_in_any_order() -> None:
    tensors = tensors_of(6, 4, 10, 20)
    turned = [each.detach().transpose(0, -1).contiguous().transpose(0, -1).requires_grad_() for each in tensors]
    wide = torch.randn(6, 4, 30)[:, :, ::3].requires_grad_()
    check(turned)
    check([wide, *tensors[1:]])
    outputs = lstm.layer(tensors[0], None, tensors[3:])[0]
    of_mean = torch.autograd.grad(outputs.sum(), tensors[3])[0]  # its gradient has strides of zero
    assert of_mean.isfinite().all()


def test_only_tensors_of_fitting_types_and_shapes_are_read() -> None:
    input, h, c, *weights = tensors_of(2, 3, 4, 5)
    given: Any = weights
    assert lstm.fits(input, (h, c), given)
    assert lstm.fits(input, None, [*given[:2], None, None])
    assert not lstm.fits(input.double(), (h, c), given)
    assert not lstm.fits(input[..., :3], (h, c), given)
    assert not lstm.fits(torch.complex(input, input).conj().imag, (h, c), given)
    assert not lstm.fits(input, (h[:, :2], c), given)
    assert not lstm.fits(input, (h, c.double()), given)
    for number in range(4):
        for other in (given[number][:-1], given[number].double(), given[number].to("meta")):
            assert not lstm.fits(input, (h, c), [*given[:number], other, *given[number + 1 :]])
    with torch.autocast("cpu", torch.bfloat16):
        assert not lstm.fits(input, (h, c), given)


def test_without_a_compiler_the_reason_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    lstm.functions.cache_clear()
    with pytest.raises(Unavailable, match="no C compiler was found"):
        lstm.layer(tensors_of(1, 1, 1, 1)[0], None, tensors_of(1, 1, 1, 1)[3:])
    lstm.functions.cache_clear()


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the options are those of this family")
@pytest.mark.parametrize("option", ["-mno-avx512f", "-mno-avx", "-march=x86-64"])
def test_code_for_older_processors_computes_the_same(
    option: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(direct, "BUILD_OPTIONS", ("-O1", *direct.BUILD_OPTIONS[1:], option))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    lstm.functions.cache_clear()
    for sizes in ((3, 1, 5, 17), (3, 7, 9, 40), (2, 13, 20, 33)):
        check(tensors_of(*sizes))
        check(tensors_of(*sizes), is_reverse=True)
    lstm.functions.cache_clear()
