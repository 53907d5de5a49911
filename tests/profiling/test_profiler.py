"""Kernels and traces from torch's profiler, for invented and real events."""

from dataclasses import dataclass, field

import pytest

from rnnbench.profiling.profiler import kernels


@dataclass
class Kernel:
    duration: float  # microseconds


@dataclass
class Event:
    name: str
    kernels: list[Kernel] = field(default_factory=list)


def test_kernels_are_summed_by_what_launched_them() -> None:
    events = [Event("aten::mm", [Kernel(10.0), Kernel(5.0)]), Event("aten::tanh", [Kernel(2.0)]), Event("x")]
    summed = kernels([*events, Event("cudaStreamSynchronize")])
    assert summed is not None
    assert (summed.launches, summed.host_waits) == (3, 1)
    assert summed.seconds == pytest.approx({"products": 15e-6, "pointwise": 2e-6})
    assert kernels([Event("aten::mm")]) is None
