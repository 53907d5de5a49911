"""A worker's clock against the coordinator's: how long a window took, and how long the coordinator waited for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low

from rnnbench.store.records import Window

CLAIM_FACTOR = 2.0  # a wait may be so many times as long as what the worker claims
OTHER_SECONDS = 0.05  # and longer by what a worker does around a window, and by a call that is not clocked


@dataclass(frozen=True)
class Wait:
    """The seconds that the coordinator waited for a window, by its own clock."""

    window: Window
    seconds: float

    @property
    def excess(self) -> float:
        """Seconds beyond what the worker's claim allows; below zero if it allows more."""
        claimed = self.window.host_seconds
        return self.seconds - CLAIM_FACTOR * claimed - claimed / self.window.calls - OTHER_SECONDS


def clock_fault(waits: Sequence[Wait]) -> str:
    """The fault of a worker's clock, from all windows of a case in a visit; empty if there is none.

    A window or two may be late because the machine is busy or a process was stopped, so more than half of them count.
    """
    if median_low(wait.excess for wait in waits) <= 0:
        return ""
    claimed, passed = sum(wait.window.host_seconds for wait in waits), sum(wait.seconds for wait in waits)
    return f"its clock says {claimed:.2g} s where {passed:.2g} s passed"
