"""Find a device whose clock can't be trusted before anything is measured on it: twice the work takes twice as long.

Both calls queue equally many kernels, so a clock that does not wait for the device would see no difference.
"""

from collections.abc import Callable
from functools import cache

from rnnbench.harness.devices import backend, open_device, why_not
from rnnbench.harness.devices.device import Call, Device

LEAST_RATIO = 1.6  # times as long that twice the work may take
MOST_RATIO = 2.5
CLOCK_TRIES = 3  # of which the shortest counts
TRY_SECONDS = 0.02  # of a try
MAX_QUEUED_CALLS = 100  # all tries together fit into a queue, in which a host that does not wait never has to
PRODUCT_SIZE = 2048  # of a square product


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
    multiply = work or (lambda times: product(device.name, times))
    once = multiply(1)
    twice = multiply(2)
    device.clock(twice, 1, 1)  # libraries set themselves up
    seconds = device.clock(once, 1, 1).seconds
    calls = min(MAX_QUEUED_CALLS, max(1, round(TRY_SECONDS / seconds))) if seconds > 0 else MAX_QUEUED_CALLS
    short, long = (min(device.clock(call, 1, calls).seconds for _ in range(CLOCK_TRIES)) for call in (once, twice))
    if short <= 0:
        return f"the clock of {device.name} stands still: {calls:,} products took no time"
    if LEAST_RATIO <= long / short <= MOST_RATIO:
        return ""
    return f"the clock of {device.name} can't be trusted: twice the work took {long / short:.2f} times as long"


def product(name: str, times: int) -> Call:
    """Return a call that multiplies two matrices on a device, one of them `times` as wide."""
    import torch

    matrix = torch.ones(PRODUCT_SIZE, PRODUCT_SIZE, device=name, dtype=torch.float32)
    right = torch.ones(PRODUCT_SIZE, times * PRODUCT_SIZE, device=name, dtype=torch.float32)
    out = torch.empty(PRODUCT_SIZE, times * PRODUCT_SIZE, device=name, dtype=torch.float32)
    return lambda: torch.mm(matrix, right, out=out)
