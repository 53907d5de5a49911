"""The cores that may be used, and those that are."""

import os


def allowed_cores() -> list[int]:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def measuring_cores(number: int) -> list[int]:
    """The same cores for all workers: the last ones allowed, away from those that systems prefer for interrupts."""
    return allowed_cores()[-number:]
