"""The cores that a process may use, and the cores that workers do use."""

import os
from collections import Counter
from functools import cache
from pathlib import Path

from rnnbench.harness.machine.system_files import file_text

SYSTEM = Path("/sys/devices/system/cpu")


def allowed_cores() -> list[int]:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def measuring_cores(number: int, root: Path = SYSTEM) -> list[int]:
    """The allowed cores on which workers are timed, the same for all workers.

    The cores of the fastest kind come first, since a laptop may have two kinds. Two threads of one physical core are
    taken, or cores of two packages, only if the others are too few. Of equal cores the last ones are taken: systems
    prefer the first ones for interrupts.
    """
    return sorted(_best_first(tuple(allowed_cores()), root)[:number])


def preparing_cores(number: int, sides: int, root: Path = SYSTEM) -> list[list[int]]:
    """For each side, `number` cores for work that is not timed.

    The sets are disjoint if there are enough cores; otherwise all are the set of `measuring_cores`.
    """
    cores = _best_first(tuple(allowed_cores()), root)
    if number * sides > len(cores):
        return [measuring_cores(number, root)] * sides
    return [sorted(cores[number * side :][:number]) for side in range(sides)]


@cache
def _best_first(cores: tuple[int, ...], root: Path) -> list[int]:
    """Cores in the order in which `measuring_cores` takes them."""
    taken = Counter[str]()  # physical core -> how many of its threads come earlier
    order = {}
    for core in reversed(cores):
        siblings, package = _siblings(core, root), _number(core, root, "topology/physical_package_id")
        order[core] = (_speed(core, root), -taken[siblings], package, core)
        taken[siblings] += 1
    return sorted(order, key=lambda core: order[core], reverse=True)


def _siblings(core: int, root: Path) -> str:
    """The threads of a core's physical core; the core alone if the system does not tell."""
    return _text(core, root, "topology/thread_siblings_list") or str(core)


def _speed(core: int, root: Path) -> tuple[int, int]:
    """How fast a core can be beside the others: its capacity, then its highest clock rate; 0 where not known.

    Some systems give all cores one capacity though their clock rates differ.
    """
    return _number(core, root, "cpu_capacity"), _number(core, root, "cpufreq/cpuinfo_max_freq")


def _number(core: int, root: Path, name: str) -> int:
    text = _text(core, root, name)
    return int(text) if text.isdecimal() else 0


def _text(core: int, root: Path, name: str) -> str:
    return file_text(root / f"cpu{core}" / name)
