"""Tests of conversions that keep complex numbers complex."""

import pytest
import torch
from torch import nn

from rnnbench.cells.states import convert, in_precision


@pytest.mark.parametrize(
    ("given", "wanted", "expected"),
    [
        (torch.float32, torch.float64, torch.float64),
        (torch.float32, torch.bfloat16, torch.bfloat16),
        (torch.complex64, torch.float64, torch.complex128),
        (torch.complex128, torch.float32, torch.complex64),
        (torch.complex64, torch.bfloat16, torch.complex64),
        (torch.int64, torch.float64, torch.int64),
        (torch.bool, torch.float16, torch.bool),
    ],
)
def test_each_kind_of_number_stays_what_it_is(given: torch.dtype, wanted: torch.dtype, expected: torch.dtype) -> None:
    assert in_precision(torch.ones(2, dtype=given), wanted).dtype == expected


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
