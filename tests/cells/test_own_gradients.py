"""Calls that take gradients of their own fail in inference mode, and are told from calls that fail anyway."""

import pytest
import torch

from rnnbench.cells.states import fails_in_inference_mode, outside_inference_mode


def learns() -> torch.Tensor:
    with torch.enable_grad():
        w = torch.ones(2, requires_grad=True)
        (gradient,) = torch.autograd.grad((w * w).sum(), w)
    return gradient


def breaks() -> None:
    raise AssertionError("anywhere")


@pytest.mark.parametrize(("call", "fails"), [(learns, True), (lambda: torch.ones(2), False), (breaks, False)])
def test_only_a_call_that_works_outside_of_inference_mode_takes_gradients(call: object, fails: bool) -> None:
    assert fails_in_inference_mode(call) is fails  # type: ignore[arg-type]


def test_random_numbers_go_on_as_if_nothing_had_been_tried() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    fails_in_inference_mode(lambda: torch.rand(5))
    assert torch.equal(torch.rand(1), expected)


def test_outside_of_inference_mode_a_call_takes_gradients_only_if_it_asks_for_them() -> None:
    with torch.inference_mode(), outside_inference_mode():
        assert not torch.is_inference_mode_enabled()
        assert not torch.is_grad_enabled()
        assert torch.equal(learns(), torch.full((2,), 2.0))
