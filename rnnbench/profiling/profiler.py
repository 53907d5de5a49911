"""One call under torch's profiler: its trace, for Perfetto, and the kernels that it launched.

The profiler slows the call, so no time is taken from it but that of a GPU's kernels, which have a clock of their own.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch

from rnnbench.profiling.operators import category
from rnnbench.store.profiles import Category, Kernels
from rnnbench.workloads.calls import ProfilerEvent  # that module mutes the profiler's log before its first use
from rnnbench.workloads.phases import TimedCall

LOOKS = 2  # the last is kept: the first in a process is slow
NO_ACTIVITY = "torch's profiler can't see what this device does: it was built without CUPTI, or does not find it"
NO_KERNELS = "torch's profiler saw no kernel of this call: another profiler may hold CUPTI, or the driver forbids it"
WAITS = ("cudaDeviceSynchronize", "cudaStreamSynchronize", "cudaEventSynchronize")


def look(timed: TimedCall, drop_gradients: Callable[[], object], synchronize: Callable[[], object]) -> Any:
    """Return torch's profile of one call, with Python's frames, shapes and blocks of memory."""
    supported: Any = torch.profiler.supported_activities  # untyped in torch
    with timed.mode():
        timed.call()
        for _ in range(LOOKS):
            drop_gradients()  # the profiler complains if a block is freed whose allocation it did not see
            synchronize()
            with torch.profiler.profile(
                activities=supported(), profile_memory=True, with_stack=True, record_shapes=True
            ) as profiled:
                timed.call()
                synchronize()
    return profiled


def kernels(events: Iterable[ProfilerEvent]) -> Kernels | None:
    """Sum the kernels of a profile by the category of the operator that launched them; None if there are none."""
    seconds: dict[Category, float] = defaultdict(float)
    launches = waits = 0
    for event in events:
        waits += event.name in WAITS
        for kernel in event.kernels:
            seconds[category(event.name)] += kernel.duration / 1e6
            launches += 1
    return Kernels(launches, dict(seconds), waits) if launches else None


def no_kernels() -> str:
    """Say why a profile of a device that launches kernels shows none."""
    supported: Any = torch.profiler.supported_activities  # untyped in torch
    return NO_KERNELS if supported() - {torch.profiler.ProfilerActivity.CPU} else NO_ACTIVITY
