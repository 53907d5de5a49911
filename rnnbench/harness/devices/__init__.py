"""What differs from device to device. To add a device: a class beside these, and a line in `BACKENDS`.

Importing this package does not import torch.
"""

from collections.abc import Mapping

from rnnbench.harness.devices.cpu import Cpu
from rnnbench.harness.devices.cuda import Cuda
from rnnbench.harness.devices.device import Blocks, Call, Clocked, Meter

__all__ = [
    "BACKENDS",
    "Blocks",
    "Call",
    "Clocked",
    "Cpu",
    "Cuda",
    "Device",
    "Meter",
    "backend",
    "is_shared",
    "open_device",
    "why_not",
]

Device = Cpu | Cuda
BACKENDS: Mapping[str, type[Cpu] | type[Cuda]] = {"cpu": Cpu, "cuda": Cuda}


def why_not(name: str) -> str:
    """Why a device can't be used on this machine, as a clause; empty if it can be used."""
    kind = name.partition(":")[0]
    if kind not in BACKENDS:
        return f"no device {name!r}; there are {', '.join(BACKENDS)} (and cuda:0, cuda:1, ...)"
    return backend(name).why_not(name)


def backend(name: str) -> type[Cpu] | type[Cuda]:
    """The class of the device with this name; raises KeyError for an unknown kind of device."""
    return BACKENDS[name.partition(":")[0]]


def is_shared(name: str) -> bool:
    """Whether workers may observe cases on a device at once; True for an unknown device, whose cases are skipped."""
    kind = name.partition(":")[0]
    return kind not in BACKENDS or BACKENDS[kind].is_shared


def open_device(name: str) -> Device:
    """Open the device with this name, for which `why_not` must be empty."""
    return backend(name)(name)
