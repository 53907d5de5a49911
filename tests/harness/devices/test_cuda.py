"""Tests that need a GPU: clocks, memory of known size, energy against power, single cards, cases that break one.

`tests/gpu/test_truth.py` compares the same instruments with other tools, which takes minutes.
"""

import gc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnbench.cells.parity import allowed
from rnnbench.harness.devices import Cuda
from rnnbench.harness.devices.cuda import _buffer
from rnnbench.harness.machine import global_state
from rnnbench.store.folder import RunFolder
from rnnbench.store.records import Case, Group
from rnnbench.suite.file import Settings
from rnnbench.workloads.calls import count
from rnnbench.workloads.observe import _check_parity
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.prepare import build
from tests.doubles import workload as small
from tests.doubles.fakes import run_into
from tests.doubles.stored import rows
from tests.doubles.visits import operations

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device or driver"),
]
MEGABYTE = 1 << 20


def block(size: int) -> TimedCall:
    return TimedCall(lambda: torch.empty(size, dtype=torch.uint8, device="cuda"), torch.inference_mode)


def test_a_known_block_is_the_allocators_peak() -> None:
    assert count(block(64 * MEGABYTE), torch.device("cuda"))["peak_bytes"] == 64 * MEGABYTE
    assert Cuda("cuda").reserved_bytes(block(64 * MEGABYTE)) == 64 * MEGABYTE


def memory_reserved(card: str = "cuda") -> int:
    gc.collect()
    Cuda.empty_cache()
    return torch.cuda.memory_reserved(card)


def test_twenty_observations_leave_the_memory_that_they_found() -> None:
    worker = operations()
    torch.empty(1, device="cuda")  # creates the context
    reserved = []
    before = memory_reserved()
    gc.disable()
    try:
        for number in range(20):
            changes: Any = {"phase": ("inference", "training")[number % 2], "hidden_size": 256 + number, "seq_len": 16}
            case = small.case("lstm", "cudagraph", device="cuda", dtype="float32", batch_size=64, **changes)
            reply = worker.handle({"op": "observe", "case": case.axes(), "root": ".", "compiled_steps": 32})
            assert reply["ok"], reply
            reserved.append(torch.cuda.memory_reserved())
    finally:
        gc.enable()
    print("reserved before:", before, "and after each:", reserved)
    assert reserved == [before] * 20


# In bfloat16, cuDNN's layers copy their weights in each call: torch flattens none in that type.
@pytest.mark.filterwarnings("ignore:RNN module weights are not part of single contiguous chunk of memory")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "tf32", "float32"])
@pytest.mark.parametrize("cell", ["vanilla", "lstm", "gru"])
def test_right_cells_agree_with_cudnn_over_hundreds_of_steps(cell: str, dtype: Any) -> None:
    sizes: Any = {"seq_len": 256, "batch_size": 32, "hidden_size": 256, "input_size": 64, "phase": "training"}
    before = global_state.capture()
    global_state.restore(before | Cuda.settings(dtype) | {"threads": 1})
    try:
        built = build(small.case(cell, "hoisted", device="cuda", dtype=dtype, **sizes), Path())
        parity, error = _check_parity(built)
    finally:
        global_state.restore(before)
    print(
        cell, dtype, error, "allowed", allowed("gradient of weight", dtype, steps=256, batch=32, hidden=256, output=2)
    )
    assert parity == "agrees"


def spin(seconds: float) -> Callable[[], None]:
    """A call of one kernel that lasts at least `seconds`."""
    device = Cuda("cuda")
    return lambda: device.hold(seconds)


def test_a_kernel_that_holds_the_device_lasts_at_least_as_long_as_it_is_to() -> None:
    for seconds in (1e-4, 5e-3):
        lasts = Cuda("cuda").clock(spin(seconds), 3, 1).batch_seconds
        assert seconds <= min(lasts) <= max(lasts) < 20 * seconds  # an idle card runs at a low clock


def test_a_flush_writes_twice_what_the_cache_holds_and_is_not_clocked() -> None:
    device = Cuda("cuda")
    cold = device.clock_cold(spin(0.0), calls=50)
    assert _buffer("cuda").nbytes >= 2 * torch.cuda.get_device_properties("cuda").L2_cache_size
    assert min(cold.batch_seconds) < min(device.clock(device.flush, 50, 1).batch_seconds)
    assert cold.seconds < cold.host_seconds


CELLS = """
import torch
from torch import nn

class Large(nn.RNNCell):
    def forward(self, input, h):
        torch.empty(1 << 44, dtype=torch.uint8, device=input.device)
        return super().forward(input, h)

class Astray(nn.RNNCell):
    def forward(self, input, h):
        torch.zeros(4, device=input.device)[torch.full((1,), 99, device=input.device)]
        return super().forward(input, h)
"""


def test_a_case_that_is_too_large_and_one_that_breaks_the_context_fail_alone(tmp_path: Path) -> None:
    (tmp_path / "cells.py").write_text(CELLS)
    axes: Any = {"device": "cuda", "dtype": "float32"}
    bad = [Case(f"cells.py:{name}", "loop", small.workload(**axes)) for name in ("Large", "Astray")]
    good = (small.case("vanilla", **axes), small.reference_case(**axes))
    with closing(RunFolder.create(tmp_path, "test")) as folder:
        run_into(folder, [Group(small.workload(**axes), (*bad, *good))], Settings(replicates=2, precision=None))
    cases = rows(folder.path).drop_duplicates("case").set_index("case")[["status", "reason"]]
    assert set(cases.loc[[case.key for case in bad], "status"]) == {"failed"}
    assert str(cases.loc[bad[0].key, "reason"]).startswith("out of memory: CUDA out of memory")
    assert "CUDA error: device-side assert triggered" in str(cases.loc[bad[1].key, "reason"])
    assert set(cases.loc[[case.key for case in good], "status"]) == {"measured"}
