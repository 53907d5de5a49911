"""The cores that may be used, and those that are."""

import os
from pathlib import Path

SYSTEM = Path("/sys/devices/system/cpu")


def allowed_cores() -> list[int]:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def measuring_cores(number: int) -> list[int]:
    """The same cores for all workers: the last ones allowed, away from those that systems prefer for interrupts."""
    return allowed_cores()[-number:]


def cores_apart(number: int, root: Path = SYSTEM) -> list[tuple[int, ...]]:
    """Sets of so many allowed cores, the last ones first: no physical core is in two places.

    One is left over for the coordinator.
    """
    last: dict[str, int] = {}  # of the allowed threads of a physical core
    for core in allowed_cores():
        siblings = root / f"cpu{core}" / "topology" / "thread_siblings_list"
        last[siblings.read_text() if siblings.exists() else str(core)] = core
    cores = sorted(last.values())
    return [tuple(cores[end - number : end]) for end in range(len(cores), number, -number)]
