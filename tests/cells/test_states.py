import pytest
import torch

from rnnbench.cells.states import output, tensors, to_cell, to_layer

H, C = torch.randn(3, 2, 4), torch.randn(3, 2, 4)


@pytest.mark.parametrize(
    ("layer_state", "stacked"), [(H, True), (H[:1], False), ((H, C), True), ((H[:1], C[:1]), False)]
)
def test_a_state_comes_back_from_the_cells_form(layer_state, stacked: bool) -> None:
    back = to_layer(to_cell(layer_state, stacked=stacked), stacked=stacked)
    assert all(torch.equal(*pair) for pair in zip(tensors(layer_state), tensors(back), strict=True))


@pytest.mark.parametrize("layer_state", [H, (H, C)])
def test_the_output_is_the_top_layers_h(layer_state) -> None:
    assert torch.equal(output(to_cell(layer_state, stacked=True), stacked=True), H[-1])
