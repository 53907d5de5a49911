"""The inputs that calls take in turn."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.workloads.inputs import COUNT, fixed, in_turn

shapes = st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 20))


@given(shapes, st.sampled_from([torch.float64, torch.float32, torch.float16]))
def test_they_are_like_the_given_one_and_differ_from_each_other(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    values = torch.randn(shape).to(dtype)
    inputs = in_turn(values)
    assert len(inputs.tensors) == COUNT
    for tensor in inputs.tensors:
        assert (tensor.shape, tensor.dtype, tensor.is_contiguous()) == (values.shape, dtype, True)
        assert tensor.data_ptr() % 64 == inputs.tensors[0].data_ptr() % 64
        assert tensor._base is None
        assert tensor.abs().max() <= 1.11 * values.abs().max()
    assert len({tensor.data_ptr() for tensor in inputs.tensors}) == COUNT


def test_they_take_little_more_memory_than_one() -> None:
    inputs = in_turn(torch.randn(1000, 10, 10))
    assert {tensor.untyped_storage().nbytes() for tensor in inputs.tensors} == {400_000 + (COUNT - 1) * 64}
    assert not any(torch.equal(tensor, inputs.tensors[0]) for tensor in inputs.tensors[1:])


@given(shapes, st.text(max_size=3), st.text(max_size=3))
def test_equal_seeds_give_equal_values_and_others_other_values(shape: tuple[int, ...], seed: str, other: str) -> None:
    values = torch.randn(shape)
    inputs, twin = in_turn(values), in_turn(values)
    inputs.renew(seed)
    before = [tensor.clone() for tensor in inputs.tensors]
    twin.renew(other)
    twin.renew(seed)
    assert all(map(torch.equal, inputs.tensors, twin.tensors))
    inputs.renew(other)
    assert all(map(torch.equal, before, inputs.tensors)) == (seed == other)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.enable_grad])
def test_new_values_come_in_place_in_any_autograd_mode(mode: type) -> None:
    inputs = in_turn(torch.randn(3, 2, 5))
    before, addresses = inputs.tensors[1].clone(), [tensor.data_ptr() for tensor in inputs.tensors]
    with mode():
        inputs.renew("other")
    assert not torch.equal(before, inputs.tensors[1])
    assert [tensor.data_ptr() for tensor in inputs.tensors] == addresses


def test_the_input_of_a_recording_stays_the_same_tensor() -> None:
    input = torch.randn(3, 2, 5)
    before, inputs = input.clone(), fixed(input)
    assert inputs.tensors[0] is input
    inputs.renew("other")
    assert not torch.equal(before, input)
