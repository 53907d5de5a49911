"""Stacks of invented events."""

from dataclasses import dataclass, field
from typing import Any

from torch._C._profiler import _EventType

from rnnbench.harness.profiling.stacks import OWN_FRAME, folded_stacks, frame


@dataclass
class TreeEvent:
    name: str
    duration_time_ns: int
    tag: Any
    children: list[Any] = field(default_factory=list)


def test_frames_are_told_without_their_folders() -> None:
    assert frame("/home/me/my_cell.py(31): forward") == "my_cell.py(31): forward"
    assert frame("aten::addmm") == "aten::addmm"


def test_the_time_of_frames_that_are_left_out_is_kept() -> None:
    operator = TreeEvent("aten::mm", 40, _EventType.TorchOp)
    shown = TreeEvent("nn.Module: Model_0", 90, _EventType.PyCall, [operator])
    own = TreeEvent("rnnbench/workloads/model.py(67): forward", 100, _EventType.PyCall, [shown])
    module = TreeEvent("nn.Module: Outer_0", 120, _EventType.PyCall, [own])
    assert folded_stacks([module]) == {
        (OWN_FRAME,): 30,
        ("nn.Module: Model_0",): 50,
        ("nn.Module: Model_0", "aten::mm"): 40,
    }
