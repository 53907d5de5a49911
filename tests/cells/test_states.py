"""The two forms of a state, conversions that keep complex numbers, and calls that take gradients of their own."""

import pytest
import torch
from torch import nn

from rnnbench.cells.states import (
    convert,
    copy_values,
    fails_in_inference_mode,
    leaves,
    same_values,
    storage_address,
    to_cell,
    to_layer,
)

H, C = torch.randn(3, 2, 4), torch.randn(3, 2, 4)


@pytest.mark.parametrize(
    ("layer_state", "stacked"), [(H, True), (H[:1], False), ((H, C), True), ((H[:1], C[:1]), False)]
)
def test_a_state_comes_back_from_the_cells_form(layer_state, stacked: bool) -> None:
    back = to_layer(to_cell(layer_state, stacked=stacked), stacked=stacked)
    assert all(torch.equal(*pair) for pair in zip(leaves(layer_state), leaves(back), strict=True))


def test_a_module_keeps_its_complex_parameters_and_buffers() -> None:
    module = nn.Linear(2, 2)
    module.register_parameter("kernel", nn.Parameter(torch.tensor([1 + 2j])))
    module.register_buffer("poles", torch.tensor([1j]))
    module.register_buffer("steps", torch.tensor(3))
    convert(module, "cpu", torch.float64)
    assert {name: value.dtype for name, value in module.state_dict().items()} == {
        "weight": torch.float64,
        "bias": torch.float64,
        "kernel": torch.complex128,
        "poles": torch.complex128,
        "steps": torch.int64,
    }
    assert module.poles == torch.tensor([1j])


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


LAYOUTS = [torch.strided, torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc]


def matrix(layout: torch.layout, *, seed: int = 0) -> torch.Tensor:
    dense = torch.randn(6, 6, generator=torch.Generator().manual_seed(seed)).relu()
    if layout == torch.strided:
        return dense
    blocks = (2, 2) if layout in (torch.sparse_bsr, torch.sparse_bsc) else None
    return dense.to_sparse(layout=layout, blocksize=blocks)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.filterwarnings("ignore:Sparse .* tensor support is in beta state")
def test_values_of_every_layout_are_compared_and_copied(layout: torch.layout) -> None:
    one, other = matrix(layout), matrix(layout, seed=1)  # with another number of values
    assert same_values(one, one.clone())
    assert not same_values(one, other)
    copy_values(one, other)
    assert one.layout == layout
    assert same_values(one, other)
    assert storage_address(one) == storage_address(one.detach())
    dense = torch.zeros(6, 6)
    copy_values(dense, one)
    assert torch.equal(dense, one.to_dense())
