"""Outputs of live modules are compared before and after they are timed."""

import re
from collections.abc import Callable

import pytest
import torch
from torch import nn

from rnnbench import measure
from rnnbench.harness.live.live_parity import uneven
from rnnbench.harness.machine import global_state
from tests.harness.live import INPUT, QUICK, loop

pytestmark = pytest.mark.usefixtures("one_thread", "short_turns")


@pytest.mark.parametrize(
    ("dtype", "device", "allowed", "starts"),
    [
        (torch.float32, "cuda:0", (True, False), "cuDNN's layers may use TF32 and matmuls may not"),
        (torch.float32, "cuda:0", (False, True), "matmuls may use TF32 and cuDNN's layers may not"),
        (torch.float32, "cuda:0", (True, True), ""),
        (torch.float16, "cuda:0", (True, False), ""),
        (torch.float32, "cpu", (True, False), ""),
    ],
)
def test_tf32_on_one_side_only_is_told(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, device: str, allowed: tuple[bool, bool], starts: str
) -> None:
    monkeypatch.setattr(global_state, "tf32_allowed", lambda: allowed)
    message = uneven(dtype, device)
    assert message.startswith(starts)
    assert bool(message) is bool(starts)


def test_other_weights_and_values_that_are_not_finite_are_timed_and_told() -> None:
    told = measure({"mine": loop(), "torch": nn.LSTM(3, 5)}, INPUT, **QUICK).frame["parity"]["mine"]
    assert re.fullmatch(r"differs by .* of the maximum: times only; use rnnbench\.same_weights", told)
    modules: dict[str, Callable[..., object]] = {
        "base": lambda x: x + 1,
        "nan": lambda x: x / (x - x),
        "again": lambda x: x + 1,
    }
    values = torch.ones(6)
    measured = measure(modules, values, **QUICK)
    assert measured.frame["parity"].tolist() == [
        "is the reference",
        "6 of 6 values are NaN or infinite: times only",
        "agrees",
    ]
    measured = measure(modules, values, reference="nan", **QUICK)
    assert measured.frame["parity"].tolist() == [
        "not compared, as nan's output is NaN or infinite: times only",
        "is the reference, 6 of 6 values are NaN or infinite",
        "not compared, as nan's output is NaN or infinite: times only",
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
