"""What differs from device to device. A new one is a class beside these and a line in `BACKENDS`.

Importing this package does not import torch.
"""

from collections.abc import Mapping
from typing import Any

from rnnbench.harness.devices.cpu import Cpu
from rnnbench.harness.devices.cuda import Cuda
from rnnbench.harness.devices.device import Backend, Blocks, Call, Card, Clocked, Device, Monitor
from rnnbench.harness.devices.meters import Meter

__all__ = [
    "BACKENDS",
    "Blocks",
    "Call",
    "Card",
    "Clocked",
    "Cpu",
    "Cuda",
    "Device",
    "Meter",
    "Monitor",
    "about",
    "backend",
    "described",
    "empty_caches",
    "is_shared",
    "open_device",
    "standing",
    "why_not",
]

BACKENDS: Mapping[str, Backend] = {"cpu": Cpu, "cuda": Cuda}


def why_not(name: str) -> str:
    """Why a device can't be used on this machine, in a clause; empty where it can."""
    kind = name.partition(":")[0]
    if kind not in BACKENDS:
        return f"no device {name!r}; there are {', '.join(BACKENDS)} (and cuda:0, cuda:1, ...)"
    return backend(name).why_not(name)


def backend(name: str) -> Backend:
    """The class that devices of this name are of; there must be one."""
    return BACKENDS[name.partition(":")[0]]


def empty_caches() -> None:
    """Give back the memory that torch keeps for later calls, on devices of all kinds."""
    for one in BACKENDS.values():
        one.empty_cache()


def is_shared(name: str) -> bool:
    """Whether several workers at once may observe cases on a device; cases of one that there is not are skipped."""
    kind = name.partition(":")[0]
    return kind not in BACKENDS or BACKENDS[kind].is_shared


def open_device(name: str) -> Device:
    """The device of a name for which `why_not` is empty."""
    return backend(name)(name)


def about() -> dict[str, Any]:
    """What torch was built with for all kinds of devices, and which it sees."""
    return {key: value for one in BACKENDS.values() for key, value in one.about().items()}


def standing() -> dict[str, Any]:
    """What drivers say of all devices at this moment, in the same places."""
    return {key: value for one in BACKENDS.values() for key, value in one.standing().items()}


def described() -> dict[str, Any]:
    """What drivers say of all devices, for the environment of a run; without torch."""
    return {key: value for one in BACKENDS.values() for key, value in one.described().items()}
