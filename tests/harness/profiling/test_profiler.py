"""Lines, stacks and traces from torch's profiler, for invented and real events."""

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

from rnnbench.harness.machine import scratch
from rnnbench.harness.profiling import profiler
from rnnbench.harness.profiling.profiler import cut, frame, held, kernels, see, thinned
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
    line = held((float(index), address, size) for index, (address, size) in enumerate(changes))
    assert min(size for _, size in line) >= 0
    thin = thinned(line, 7)
    assert len(thin) <= 7
    assert max(size for _, size in thin) == max(size for _, size in line)


def test_kernels_are_summed_by_what_launched_them() -> None:
    flat = [Event("aten::mm", [Kernel(10.0), Kernel(5.0)]), Event("aten::tanh", [Kernel(2.0)]), Event("x")]
    summed = kernels([*flat, Event("cudaStreamSynchronize")])
    assert summed is not None
    assert (summed.launches, summed.host_waits) == (3, 1)
    assert summed.seconds == pytest.approx({"products": 15e-6, "pointwise": 2e-6})
    assert kernels([Event("aten::mm")]) is None


def test_a_trace_that_is_too_large_keeps_its_beginning_and_says_so() -> None:
    events: list[dict[str, Any]] = [
        {"name": "thread"},
        *({"name": str(index), "ts": float(9 - index)} for index in range(10)),
    ]
    kept, notes = cut(events, 3)
    assert [event["name"] for event in kept] == ["thread", "9", "8", "7"]
    assert notes == ["the trace has the first 3 of 10 events"]
    assert cut(events, 10) == (events, [])


def test_frames_are_told_without_their_folders() -> None:
    assert frame("/home/me/my_cell.py(31): forward") == "my_cell.py(31): forward"
    assert frame("aten::addmm") == "aten::addmm"


@pytest.mark.usefixtures("one_thread")
def test_one_call_gives_a_trace_stacks_and_the_memory_of_both_parts(tmp_path: Path) -> None:
    layer, input = nn.Linear(4, 4), torch.randn(2, 4)

    def call() -> None:
        layer(input).tanh().sum().backward()

    found = see(
        TimedCall(call, torch.enable_grad), lambda: layer.zero_grad(set_to_none=True), lambda: None, tmp_path / "t.gz"
    )
    assert found.allocations > 3
    assert found.allocated_bytes >= 2 * 4 * 4
    assert [part for part, _ in found.memory_parts] == ["forward", "backward"]
    assert max(size for _, size in found.memory) > 0
    assert found.kernels is None
    stacks = [";".join(stack) for stack in found.stacks]
    assert any("call;" in stack and stack.endswith("aten::addmm") for stack in stacks)
    assert not any(stack.startswith("profiler.py") for stack in stacks)
    with gzip.open(tmp_path / "t.gz", "rt") as file:
        assert any(event.get("name") == "aten::addmm" for event in json.load(file)["traceEvents"])


@pytest.mark.usefixtures("one_thread")
def test_the_shorter_of_two_looks_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiler, "TRIES", 1)
    timed = TimedCall(lambda: torch.ones(2).tanh(), torch.inference_mode)
    found = see(timed, lambda: None, lambda: None, None)
    assert any(stack[-1] == "aten::tanh" for stack in found.stacks)
    assert not found.notes


def test_a_trace_on_its_way_to_its_file_lies_where_the_next_start_removes_what_a_killed_one_has_left(
    tmp_path: Path,
) -> None:
    folders: list[Path] = []

    class Watched:
        def export_chrome_trace(self, path: str) -> None:
            folders.append(Path(path).parent)
            Path(path).write_text('{"traceEvents": []}')

    assert profiler._write_trace(Watched(), tmp_path / "trace.json.gz") == []
    assert folders[0].name.startswith(scratch.PREFIX)
    assert not folders[0].exists()
