"""torch's settings for a case."""

import pytest
import torch

from rnnbench.measure import devices, torch_state
from rnnbench.store.records import DType


@pytest.mark.parametrize(
    ("dtype", "precision", "tf32"),
    [("float32", "highest", False), ("tf32", "high", True), ("bfloat16", "highest", False)],
)
def test_tf32_is_on_or_off_in_products_and_in_cudnn_alike(dtype: DType, precision: str, tf32: bool) -> None:
    before = torch_state.capture()
    try:
        torch_state.restore(before | devices.backend("cuda:1").settings(dtype))
        assert torch.get_float32_matmul_precision() == precision
        assert torch.backends.cudnn.allow_tf32 == tf32
        assert torch_state.capture()["cuDNN"] == before["cuDNN"]
    finally:
        torch_state.restore(before)
    assert torch_state.capture() == before


def test_a_setting_that_torch_refuses_to_tell_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("mix of the legacy and new APIs")

    assert torch_state.tf32_allowed(torch_state.capture()) == (torch.backends.cudnn.allow_tf32, False)
    monkeypatch.setitem(torch_state.SETTINGS, "cuDNN TF32", (refuse, refuse))
    state = torch_state.capture()
    torch_state.restore(state)
    assert "threads" in state
    assert torch_state.tf32_allowed(state) == (None, False)


@pytest.mark.skipif(not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="torch before 2.9")
def test_what_a_case_has_set_by_torchs_newer_names_is_put_back() -> None:
    before = torch_state.capture()
    try:
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        torch_state.restore(before)
        assert torch_state.capture() == before
        assert torch.backends.cuda.matmul.fp32_precision != "tf32"
    finally:
        torch.set_float32_matmul_precision("highest")
