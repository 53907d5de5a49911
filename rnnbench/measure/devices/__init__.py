"""What differs from device to device. A new one is a class beside these and a line in `BACKENDS`.

Importing this package does not import torch.
"""

from rnnbench.measure.devices.cpu import Cpu
from rnnbench.measure.devices.cuda import Cuda
from rnnbench.measure.devices.device import Call, Clocked, Device
from rnnbench.store.records import DType

__all__ = ["BACKENDS", "Call", "Clocked", "Cpu", "Cuda", "Device", "lacks", "open_device", "why_not"]

BACKENDS: dict[str, type[Cpu] | type[Cuda]] = {"cpu": Cpu, "cuda": Cuda}


def why_not(name: str) -> str:
    """Why a device can't be used on this machine, in a clause; empty where it can."""
    backend = BACKENDS.get(name.partition(":")[0])
    if backend is None:
        return f"no device {name!r}; there are {', '.join(BACKENDS)} (and cuda:0, cuda:1, ...)"
    return backend.why_not(name)


def lacks(name: str, dtype: DType) -> str:
    """Why a device for which `why_not` is empty can't work in a type; empty where it can."""
    return BACKENDS[name.partition(":")[0]].lacks(dtype)


def open_device(name: str) -> Device:
    """The device of a name for which `why_not` is empty."""
    return BACKENDS[name.partition(":")[0]](name)
