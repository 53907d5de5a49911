"""The cores that a process may use, and the cores that workers do use."""

import os
from pathlib import Path

SYSTEM = Path("/sys/devices/system/cpu")


def allowed_cores() -> list[int]:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def measuring_cores(number: int) -> list[int]:
    """The last allowed cores, the same for all workers: systems prefer the first cores for interrupts."""
    return allowed_cores()[-number:]


def preparing_cores(number: int, sides: int) -> list[list[int]]:
    """For each side, `number` cores for work that is not timed.

    The sets are disjoint if there are enough cores; otherwise all are the set of `measuring_cores`.
    """
    cores = allowed_cores()
    if number * sides > len(cores):
        return [measuring_cores(number)] * sides
    return [cores[len(cores) - number * (side + 1) :][:number] for side in range(sides)]


def cores_apart(number: int, root: Path = SYSTEM) -> list[tuple[int, ...]]:
    """Disjoint sets of `number` allowed cores, the last cores first; no physical core is in two sets.

    At least one core is left for the coordinator.
    """
    last: dict[str, int] = {}  # physical core -> the last of its allowed threads
    for core in allowed_cores():
        siblings = root / f"cpu{core}" / "topology" / "thread_siblings_list"
        last[siblings.read_text() if siblings.exists() else str(core)] = core
    cores = sorted(last.values())
    return [tuple(cores[end - number : end]) for end in range(len(cores), number, -number)]
