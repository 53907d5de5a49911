"""What differs from device to device. To add a device: a class beside these, and a line in `BACKENDS`.

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
    "current_readings",
    "described",
    "empty_caches",
    "is_shared",
    "open_device",
    "why_not",
]

BACKENDS: Mapping[str, Backend] = {"cpu": Cpu, "cuda": Cuda}


def why_not(name: str) -> str:
    """Why a device can't be used on this machine, as a clause; empty if it can be used."""
    kind = name.partition(":")[0]
    if kind not in BACKENDS:
        return f"no device {name!r}; there are {', '.join(BACKENDS)} (and cuda:0, cuda:1, ...)"
    return backend(name).why_not(name)


def backend(name: str) -> Backend:
    """The class of the device with this name; raises KeyError for an unknown kind of device."""
    return BACKENDS[name.partition(":")[0]]


def empty_caches() -> None:
    """Release the memory that torch keeps for later calls, on all devices."""
    for device_class in BACKENDS.values():
        device_class.empty_cache()


def is_shared(name: str) -> bool:
    """Whether workers may observe cases on a device at once; True for an unknown device, whose cases are skipped."""
    kind = name.partition(":")[0]
    return kind not in BACKENDS or BACKENDS[kind].is_shared


def open_device(name: str) -> Device:
    """Open the device with this name, for which `why_not` must be empty."""
    return backend(name)(name)


def about() -> dict[str, Any]:
    """What torch was built with for each kind of device, and which devices it sees."""
    return {key: value for device_class in BACKENDS.values() for key, value in device_class.about().items()}


def current_readings() -> dict[str, Any]:
    """The drivers' readings of all devices at this moment, under the keys of `described`."""
    return {key: value for device_class in BACKENDS.values() for key, value in device_class.current_readings().items()}


def described() -> dict[str, Any]:
    """The drivers' descriptions of all devices, for the environment of a run; does not use torch."""
    return {key: value for device_class in BACKENDS.values() for key, value in device_class.described().items()}
