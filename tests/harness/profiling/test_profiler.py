"""Memory lines, kernels and traces from torch's profiler, for invented and real events."""

import gzip
import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from rnnbench.cells.lstm import LSTMCell
from rnnbench.harness.profiling import profiler
from rnnbench.harness.profiling.profiler import bytes_held, first_events, kernels, run_profiler, thinned
from rnnbench.workloads.model import OutputHead
from rnnbench.workloads.phases import TimedCall

SIZES = st.lists(st.tuples(st.integers(0, 5), st.integers(-100, 100)), max_size=50)


@dataclass
class Kernel:
    duration: float  # microseconds


@dataclass
class Event:
    name: str
    kernels: list[Kernel] = field(default_factory=list)


@given(SIZES)
def test_what_is_held_is_never_negative_and_no_peak_is_lost(changes: list[tuple[int, int]]) -> None:
    line = bytes_held((float(index), address, size) for index, (address, size) in enumerate(changes))
    assert min(size for _, size in line) >= 0
    thin = thinned(line, 7)
    assert len(thin) <= 7
    assert max(size for _, size in thin) == max(size for _, size in line)


def test_kernels_are_summed_by_what_launched_them() -> None:
    flat = [Event("aten::mm", [Kernel(10.0), Kernel(5.0)]), Event("aten::tanh", [Kernel(2.0)]), Event("x")]
    summed = kernels([*flat, Event("cudaStreamSynchronize")])
    assert (summed.launches, summed.host_waits) == (3, 1)
    assert summed.seconds == pytest.approx({"products": 15e-6, "pointwise": 2e-6})
    assert kernels([Event("aten::mm")]) is None


def test_a_trace_that_is_too_large_keeps_its_beginning_and_says_so() -> None:
    events: list[dict[str, Any]] = [
        {"name": "thread"},
        *({"name": str(index), "ts": float(9 - index)} for index in range(10)),
    ]
    kept, notes = first_events(events, 3)
    assert [event["name"] for event in kept] == ["thread", "9", "8", "7"]
    assert notes == ["the trace has the first 3 of 10 events"]
    assert first_events(events, 10) == (events, [])


@pytest.mark.usefixtures("one_thread")
def test_one_call_gives_a_trace_stacks_and_the_memory_of_both_parts(tmp_path: Path) -> None:
    layer, input = nn.Linear(4, 4), torch.randn(2, 4)

    def call() -> None:
        layer(input).tanh().sum().backward()

    found = run_profiler(
        TimedCall(call, torch.enable_grad), lambda: layer.zero_grad(set_to_none=True), lambda: None, tmp_path / "t.gz"
    )
    assert found.allocations > 3
    assert found.allocated_bytes >= 2 * 4 * 4
    assert [part for part, _ in found.memory_parts] == ["forward", "backward"]
    assert max(size for _, size in found.memory) > 0
    assert found.kernels is None
    stacks = [";".join(stack) for stack in found.stacks]
    assert any("call;" in stack and stack.endswith("aten::addmm") for stack in stacks)
    assert any(stack.startswith("test_profiler.py") for stack in stacks)
    assert not any(stack.startswith("profiler.py") for stack in stacks)
    with gzip.open(tmp_path / "t.gz", "rt") as file:
        assert any(event.get("name") == "aten::addmm" for event in json.load(file)["traceEvents"])


@pytest.mark.usefixtures("one_thread")
def test_frames_of_this_package_are_left_out_but_not_those_of_the_cells_that_it_measures() -> None:
    cell, head, states = LSTMCell(4, 4), OutputHead(4, 2, "linear"), (torch.zeros(2, 4), torch.zeros(2, 4))
    timed = TimedCall(partial(_step, cell, head, torch.ones(2, 4), states), torch.inference_mode)
    stacks = run_profiler(timed, lambda: None, lambda: None, None).stacks
    frames = {name for stack in stacks for name in stack}
    assert any(name.startswith("lstm.py(") for name in frames)
    assert "nn.Module: LSTMCell_0" in frames
    assert "nn.Module: OutputHead_0" not in frames
    assert not any(name.startswith("model.py(") for name in frames)
    assert any(stack[-2:] == ("aten::linear", "aten::addmm") for stack in stacks)  # of the head too


def _step(cell: LSTMCell, head: OutputHead, input: torch.Tensor, states: tuple[torch.Tensor, torch.Tensor]) -> None:
    head(cell(input, states)[0])


@pytest.mark.usefixtures("one_thread")
def test_the_shorter_of_two_looks_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiler, "TRIES", 1)
    timed = TimedCall(lambda: torch.ones(2).tanh(), torch.inference_mode)
    found = run_profiler(timed, lambda: None, lambda: None, None)
    assert any(stack[-1] == "aten::tanh" for stack in found.stacks)
    assert not found.notes
