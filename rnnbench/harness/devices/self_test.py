"""Find a device whose clock can't be trusted before anything is measured on it: twice the work takes twice as long.

Both calls queue equally many kernels, so a clock that does not wait for the device would see no difference.
"""

from collections.abc import Callable
from functools import cache

from rnnbench.harness.devices import backend, open_device, why_not
from rnnbench.harness.devices.device import Call, Device

LEAST = 1.6  # times as long that twice the work may take
MOST = 2.5
TRIES = 3  # of which the shortest counts
SECONDS = 0.02  # of a try
MAX_CALLS = 100  # all tries together fit into a queue, in which a host that does not wait never has to
SIZE = 2048  # of a square product


def why_not_timed(name: str) -> str:
    """Return why no call can be timed on the device with this name, as a clause; empty if calls can.

    It can't be used, or its clock can't be trusted, which is tried once in a process.
    """
    return why_not(name) or ("" if backend(name).has_known_clock else _fault_of(name))


@cache
def _fault_of(name: str) -> str:
    return clock_fault(open_device(name))


def clock_fault(device: Device, work: Callable[[int], Call] | None = None) -> str:
    """Return why the clock of a device can't be trusted, as a clause; empty if twice the work takes twice as long.

    `work`: makes a call with so many times the work, in one kernel; by default a product of matrices.
    """
    made = work or (lambda times: product(device.name, times))
    once = made(1)
    twice = made(2)
    device.clock(twice, 1, 1)  # libraries set themselves up
    seconds = device.clock(once, 1, 1).seconds
    calls = min(MAX_CALLS, max(1, round(SECONDS / seconds))) if seconds > 0 else MAX_CALLS
    short, long = (min(device.clock(call, 1, calls).seconds for _ in range(TRIES)) for call in (once, twice))
    if short <= 0:
        return f"the clock of {device.name} stands still: {calls:,} products took no time"
    if LEAST <= long / short <= MOST:
        return ""
    return f"the clock of {device.name} can't be trusted: twice the work took {long / short:.2f} times as long"


def product(name: str, times: int) -> Call:
    """Return a call that multiplies two matrices on a device, one of them `times` as wide."""
    import torch

    left = torch.ones(SIZE, SIZE, device=name, dtype=torch.float32)
    right = torch.ones(SIZE, times * SIZE, device=name, dtype=torch.float32)
    out = torch.empty(SIZE, times * SIZE, device=name, dtype=torch.float32)
    return lambda: torch.mm(left, right, out=out)
