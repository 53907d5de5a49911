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
    "pulses_tell",
    "why_not",
]

Device = Cpu | Cuda
BACKENDS: Mapping[str, type[Cpu] | type[Cuda]] = {"cpu": Cpu, "cuda": Cuda}


def why_not(name: str) -> str:
    """Return why a device can't be used on this machine, as a clause; empty if it can be used."""
    return backend(name).why_not(name)


def backend(name: str) -> type[Cpu] | type[Cuda]:
    """Return the class of the device with this name; that of the processor, which refuses it, for an unknown one."""
    return BACKENDS.get(name.partition(":")[0], Cpu)


def is_shared(name: str) -> bool:
    """Return whether workers may observe cases on a device at once, as they may on one that nobody knows."""
    return backend(name).is_shared


def pulses_tell(name: str, threads: int) -> bool:
    """Return whether pulses beside calls on a device, by so many threads of torch, show if their core is quiet.

    They show the state of one core while it is a host's: not those of several threads, nor a GPU's.
    """
    return threads == 1 and backend(name).is_shared


def open_device(name: str) -> Device:
    """Open the device with this name, for which `why_not` must be empty."""
    return backend(name)(name)
