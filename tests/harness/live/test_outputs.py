"""The comparison of outputs before timing, and settings under which arms compute with unequal precision."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from rnnbench import measure
from rnnbench.harness.live.outputs import uneven
from rnnbench.harness.machine.torch_state import TorchState
from tests.harness.live.modules import INPUT, QUICK, Loop

pytestmark = pytest.mark.usefixtures("one_thread")

LAYERS: TorchState = {"cuDNN TF32": True, "float32 matmul precision": "highest"}
PRODUCTS: TorchState = {"cuDNN TF32": False, "float32 matmul precision": "high"}


@pytest.mark.parametrize(
    ("dtype", "device", "settings", "starts"),
    [
        (torch.float32, "cuda:0", LAYERS, "cuDNN's layers may use TF32 and matrix products may not"),
        (torch.float32, "cuda:0", PRODUCTS, "matrix products may use TF32 and cuDNN's layers may not"),
        (torch.float32, "cuda:0", LAYERS | {"float32 matmul precision": "high"}, ""),
        (
            torch.float32,
            "cuda:0",
            {"float32 matmul precision": "highest"},
            "",
        ),  # a setting that torch does not report is not judged
        (torch.float16, "cuda:0", LAYERS, ""),
        (torch.float32, "cpu", LAYERS, ""),
    ],
)
def test_tf32_on_one_side_only_is_told(dtype: torch.dtype, device: str, settings: TorchState, starts: str) -> None:
    message = uneven(dtype, device, settings)
    assert message.startswith(starts)
    assert bool(message) is bool(starts)


def test_other_weights_are_timed_and_told() -> None:
    measured = measure({"mine": Loop(), "torch": nn.LSTM(3, 5)}, INPUT, **QUICK)
    assert measured.frame["parity"]["mine"].startswith("differs by ")
    assert measured.frame["parity"]["mine"].endswith(" of the largest value: times only")


def test_values_that_are_not_finite_are_told() -> None:
    arms: dict[str, Callable[..., object]] = {
        "base": lambda x: x + 1,
        "nan": lambda x: x / (x - x),
        "again": lambda x: x + 1,
    }
    values = torch.ones(6)
    measured = measure(arms, values, **QUICK)
    assert measured.frame["parity"].tolist() == [
        "is the reference",
        "6 of 6 values are NaN or infinite: times only",
        "agrees",
    ]
    measured = measure(arms, values, reference="nan", **QUICK)
    assert measured.frame["parity"].tolist() == [
        "not compared, as nan's output is not finite: times only",
        "is the reference, 6 of 6 values are NaN or infinite",
        "not compared, as nan's output is not finite: times only",
    ]


@pytest.mark.parametrize(
    ("dtype", "error", "agrees"),
    [
        (torch.float64, 1e-8, False),
        (torch.float32, 1e-5, True),
        (torch.float32, 1e-3, False),
        (torch.bfloat16, 3e-2, True),
        (torch.complex64, 1e-5, True),
        (torch.int64, 0, True),
        (torch.int64, 1, False),
    ],
)
def test_outputs_agree_within_the_tolerance_of_their_type(dtype: torch.dtype, error: float, agrees: bool) -> None:
    ones = torch.ones(4, dtype=dtype)
    measured = measure({"base": lambda x: x.clone(), "mine": lambda x: x + error}, ones, **QUICK)
    assert (measured.frame["parity"]["mine"] == "agrees") is agrees


def test_outputs_of_two_types_are_compared_by_the_coarser() -> None:
    measured = measure({"base": lambda x: x + 0, "half": lambda x: x.half() + 0}, torch.randn(9), **QUICK)
    assert measured.frame["parity"]["half"] == "agrees (float16 against float32)"


def test_dropout_draws_the_same_in_all_arms() -> None:
    arms = {name: nn.Dropout(0.5) for name in ("a", "b")}
    assert measure(arms, torch.ones(100), **QUICK).frame["parity"]["b"] == "agrees"
