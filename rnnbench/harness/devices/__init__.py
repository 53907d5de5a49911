"""What differs from device to device. To add a device: a class beside these, and a line in `BACKENDS`.

Importing this package does not import torch.
"""

from collections.abc import Callable, Iterable, Mapping

from rnnbench.harness.devices.cpu import Cpu
from rnnbench.harness.devices.cuda import Cuda
from rnnbench.harness.devices.device import Blocks, Call, Clocked, Counters, Device, Meter

__all__ = [
    "BACKENDS",
    "Blocks",
    "Call",
    "Clocked",
    "Counters",
    "Cpu",
    "Cuda",
    "Device",
    "Meter",
    "backend",
    "core_choices",
    "is_forkable",
    "is_shared",
    "kinds_to_ask",
    "open_device",
    "pulses_tell",
    "why_not",
]

BACKENDS: Mapping[str, type[Device]] = {"cpu": Cpu, "cuda": Cuda}


def why_not(name: str) -> str:
    """Return why a device can't be used on this machine, as a clause; empty if it can be used."""
    return backend(name).why_not(name)


def backend(name: str) -> type[Device]:
    """Return the class of the device with this name; that of the processor, which refuses it, for an unknown one."""
    return BACKENDS.get(name.partition(":")[0], Cpu)


def is_shared(name: str) -> bool:
    """Return True if workers may observe cases on a device at once, as they may on one that nobody knows."""
    return backend(name).is_shared


def is_forkable(name: str) -> bool:
    """Return True if a worker may use a device that was forked from a process which has only imported torch."""
    return backend(name).is_forkable


def kinds_to_ask(names: Iterable[str]) -> list[str]:
    """Return the kinds of devices, such as cuda, of which each forked worker must ask whether it can use them."""
    return sorted({name.partition(":")[0] for name in names if not backend(name).runs_host_code})


def pulses_tell(name: str, threads: int) -> bool:
    """Return True if pulses beside calls on a device, by so many threads of torch, show if their core is quiet.

    They show the state of one core while it is a host's: not those of several threads, nor a GPU's.
    """
    return threads == 1 and backend(name).is_shared


def core_choices(name: str, number: int) -> list[list[int]]:
    """Return the sets of cores, of equal use, on which calls on a device by so many threads of torch may be timed."""
    return backend(name).core_choices(name, number)


def open_device(name: str) -> Device:
    """Open the device with this name, for which `why_not` must be empty."""
    open_it: Callable[[str], Device] = backend(name)
    return open_it(name)
