"""Compiled code gets one form of all calls, so that no call of a measured shape compiles it again."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rnnbench.speedup.one_form import BatchDims, in_one_form

Form = tuple[bool, ...]


def form_of(*tensors: Tensor) -> Form:
    """Return what torch's compiler tells calls apart by, beside sizes and types."""
    kinds = [(tensor.is_inference(), tensor.is_contiguous(), tensor.requires_grad) for tensor in tensors]
    return (torch.is_inference_mode_enabled(), torch.is_grad_enabled(), *(part for kind in kinds for part in kind))


@pytest.fixture
def layer() -> nn.GRU:
    return nn.GRU(4, 6)


@pytest.mark.parametrize("has_grad", [False, True])
def test_all_calls_without_gradients_have_one_form(layer: nn.GRU, has_grad: bool) -> None:
    forms: list[Form] = []

    def compiled(module: Any, input: Tensor, state: Any) -> Any:
        forms.append(form_of(input, *(() if state is None else state)))
        return input

    run = in_one_form(compiled)
    turned = torch.randn(3, 5, 4).transpose(0, 1)
    state = (torch.zeros(1, 1, 6).expand(1, 3, 6),)
    with torch.inference_mode():
        run(layer, turned, state)
        run(layer, torch.randn(5, 3, 4), (torch.randn(1, 3, 6),))
    with torch.no_grad():
        run(layer, torch.randn(5, 3, 4), state)
    layer.requires_grad_(requires_grad=False)
    run(layer, turned, state)
    assert set(forms) == {(False, False, *(False, True, False) * 2)}
    forms.clear()
    if has_grad:
        layer.requires_grad_()
        outputs = run(layer, turned.requires_grad_(), state)
        assert outputs.requires_grad
        run(layer, torch.randn(5, 3, 4), None)
        assert forms == [(False, True, False, True, True, False, True, False), (False, True, False, True, False)]


def test_the_first_call_at_each_size_says_which_dimension_is_the_batch_and_the_user_s_tensors_stay_as_they_are(
    layer: nn.GRU,
) -> None:
    marks: list[list[set[int]]] = []

    def marked(tensor: Tensor) -> set[int]:
        return getattr(tensor, "_dynamo_weak_dynamic_indices", set())

    def compiled(module: Any, input: Tensor, state: Any) -> Any:
        marks.append([marked(each) for each in (input, *state)])
        return input

    run = in_one_form(compiled, BatchDims(1, 0))
    input = torch.randn(5, 3, 4)
    state = (torch.zeros(3, 6), torch.zeros(1, 6))  # the second is one for all sequences
    with torch.no_grad():
        run(layer, input, state)
        run(layer, input, state)
        run(layer, torch.randn(5, 1, 4), state)  # for one sequence, torch makes code apart
        run(nn.GRU(4, 6), input, state)
    assert marks == [[{1}, {0}, set()], [set()] * 3, [set()] * 3, [{1}, {0}, set()]]
    assert not marked(input)
    run(layer.requires_grad_(), torch.randn(6, 3, 4), state)
    assert marks[-1] == [set()] * 3
