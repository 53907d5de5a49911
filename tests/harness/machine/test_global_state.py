"""Settings of torch and of the process that a cell may change for all later code."""

import gc
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from rnnbench.harness import devices
from rnnbench.harness.machine import global_state
from rnnbench.harness.machine.global_state import CORES, PROCESS, TORCH
from rnnbench.store.records import DType

BACKENDS: Any = torch.backends
NEWER_NAMES = global_state.HAS_PRECISIONS


def inverts(holder: Any, name: str) -> Callable[[], object]:
    return lambda: setattr(holder, name, not getattr(holder, name))


# setting -> how a cell changes it for all later cases
CHANGES: dict[str, Callable[[], object]] = {
    "threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "default dtype": lambda: torch.set_default_dtype(torch.float64),
    "default device": lambda: torch.set_default_device("cpu"),
    "grad mode": lambda: torch.set_grad_enabled(not torch.is_grad_enabled()),
    "anomaly mode": lambda: torch.autograd.set_detect_anomaly(True),
    "deterministic algorithms": lambda: torch.use_deterministic_algorithms(True),
    "flushing of denormals": lambda: torch.set_flush_denormal(True),
    "float32 matmul precision": lambda: torch.set_float32_matmul_precision("medium"),
    "oneDNN": inverts(BACKENDS.mkldnn, "enabled"),
    "cuDNN": inverts(BACKENDS.cudnn, "deterministic"),
    "cuDNN TF32": inverts(BACKENDS.cudnn, "allow_tf32"),
    "cuBLAS float16 sums": inverts(BACKENDS.cuda.matmul, "allow_fp16_reduced_precision_reduction"),
    "cuBLAS bfloat16 sums": inverts(BACKENDS.cuda.matmul, "allow_bf16_reduced_precision_reduction"),
    "garbage collection": lambda: gc.disable() if gc.isenabled() else gc.enable(),
    "garbage collection thresholds": lambda: gc.set_threshold(1, 1, 1),
    "recursion limit": lambda: sys.setrecursionlimit(sys.getrecursionlimit() + 1),
    "warning filters": lambda: warnings.simplefilter("ignore"),
    "current folder": lambda: os.chdir("/"),
    "environment variables": lambda: os.environ.update(OMP_NUM_THREADS="64", RNNBENCH_NEW="1"),
    CORES: lambda: os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]),
}
if NEWER_NAMES:
    CHANGES["float32 precision"] = lambda: setattr(torch.backends, "fp32_precision", "tf32")


@pytest.fixture
def before() -> Iterator[dict[str, Any]]:
    state = global_state.capture()
    yield state
    global_state.restore(state)


@pytest.mark.filterwarnings("ignore:set_default_dtype|Anomaly Detection")
@pytest.mark.parametrize("name", TORCH | PROCESS)
def test_what_a_cell_changes_is_put_back(name: str) -> None:
    if name == CORES and len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core allows no other choice of cores")
    settings = TORCH if name in TORCH else PROCESS
    state = global_state.capture(settings)
    CHANGES[name]()
    assert global_state.capture(settings)[name] != state[name]
    global_state.restore(state, settings)
    assert global_state.capture(settings) == state


@pytest.mark.parametrize(
    ("dtype", "precision", "tf32"),
    [("float32", "highest", False), ("tf32", "high", True), ("bfloat16", "highest", False)],
)
def test_tf32_is_on_or_off_in_products_and_in_cudnn_alike(
    dtype: DType, precision: str, tf32: bool, before: dict[str, Any]
) -> None:
    global_state.restore(before | devices.backend("cuda:1").settings(dtype))
    assert torch.get_float32_matmul_precision() == precision
    assert torch.backends.cudnn.allow_tf32 == tf32
    assert global_state.capture()["cuDNN"] == before["cuDNN"]


@pytest.mark.skipif(not NEWER_NAMES, reason="torch before 2.9")
@pytest.mark.parametrize(
    "holder", [torch.backends, BACKENDS.cudnn, BACKENDS.cudnn.rnn, BACKENDS.cuda.matmul, BACKENDS.mkldnn]
)
@pytest.mark.parametrize("dtype", ["float32", "tf32"])
def test_what_a_case_has_set_by_torchs_newer_names_is_put_back(
    holder: Any, dtype: DType, before: dict[str, Any]
) -> None:
    global_state.restore(before | devices.backend("cuda").settings(dtype))
    wanted = global_state.capture()
    holder.fp32_precision = "ieee" if dtype == "tf32" else "tf32"
    global_state.restore(before | devices.backend("cuda").settings(dtype))
    assert global_state.capture() == wanted
