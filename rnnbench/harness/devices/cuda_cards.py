"""Which cards this process sees as CUDA's devices, as far as that is known without torch."""

import os
from functools import cache

from rnnbench.harness.devices import nvml
from rnnbench.store.metrics import Unavailable


def not_among(name: str, count: int) -> str:
    """Return why there is no device with this name among so many cards; empty if there is one."""
    if count and name in ("cuda", *(f"cuda:{index}" for index in range(count))):
        return ""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    seen = f"cuda:0 to cuda:{count - 1}"
    if count <= 1:
        seen = "cuda:0" if count else "no card"
    why = f" (CUDA_VISIBLE_DEVICES={visible}; its cards are numbered from 0)" if visible is not None else ""
    return f"no device {name!r}: this process sees {seen}{why}"


def gpu_named(name: str) -> nvml.Gpu:
    """Return the GPU that CUDA has under this name in this process; raises Unavailable if that is not known."""
    gpus = nvml.visible()
    index = int(name.partition(":")[2] or 0)
    if index >= len(gpus):
        raise Unavailable(not_among(name, len(gpus)))
    return gpus[index]


@cache
def near_cores(name: str) -> tuple[int, ...]:
    """Return the cores of the host that are nearest to a device; empty if they are not known."""
    try:
        return tuple(nvml.near_cores(gpu_named(name)))
    except Unavailable:
        return ()
