"""Kernels and traces from torch's profiler, for invented and real events."""

import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from rnnbench.profiling import profiler
from rnnbench.profiling.profiler import HELD, bytes_held, kernels, look, write_trace
from rnnbench.workloads.phases import TimedCall


@dataclass
class Kernel:
    duration: float  # microseconds


@dataclass
class Event:
    name: str
    kernels: list[Kernel] = field(default_factory=list)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-100, 100)), max_size=50))
def test_what_is_held_is_never_negative_and_a_block_from_before_does_not_count(changes: list[tuple[int, int]]) -> None:
    events = [
        {"name": "[memory]", "ts": index, "pid": 1, "args": {"Addr": address, "Bytes": size}}
        for index, (address, size) in enumerate(changes)
    ]
    held = [event["args"]["bytes"] for event in bytes_held([{"name": "aten::mm"}, *events])]
    assert len(held) == len(changes)
    assert min(held, default=0) >= 0
    freed = [{"name": "[memory]", "ts": 0, "pid": 1, "args": {"Addr": 9, "Bytes": -8}}]
    assert [event["args"]["bytes"] for event in bytes_held(freed)] == [0]


def test_kernels_are_summed_by_what_launched_them() -> None:
    events = [Event("aten::mm", [Kernel(10.0), Kernel(5.0)]), Event("aten::tanh", [Kernel(2.0)]), Event("x")]
    summed = kernels([*events, Event("cudaStreamSynchronize")])
    assert summed is not None
    assert (summed.launches, summed.host_waits) == (3, 1)
    assert summed.seconds == pytest.approx({"products": 15e-6, "pointwise": 2e-6})
    assert kernels([Event("aten::mm")]) is None


@pytest.mark.usefixtures("one_thread")
def test_a_trace_has_frames_operators_and_a_line_of_the_bytes_held_and_is_cut_if_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, input = nn.Linear(4, 4), torch.randn(2, 4)

    def call() -> None:
        layer(input).tanh().sum().backward()

    def looked() -> Any:
        return look(TimedCall(call, torch.enable_grad), lambda: layer.zero_grad(set_to_none=True), lambda: None)

    file = tmp_path / "traces" / "t.gz"
    assert write_trace(looked(), file) == []
    with gzip.open(file, "rt") as packed:
        events = json.load(packed)["traceEvents"]
    names = {event["name"] for event in events}
    assert {"aten::addmm", HELD} <= names
    assert any("test_profiler.py(" in name and name.endswith(": call") for name in names)
    assert max(event["args"]["bytes"] for event in events if event["name"] == HELD) >= 2 * 4 * 4
    monkeypatch.setattr(profiler, "MAX_EVENTS", 3)
    [note] = write_trace(looked(), file)
    assert note.startswith("the trace has the first 3 of ")
