"""The processor: what it is, the cores, the time and the memory that a process may use, and the cores of workers.

Its identity comes from the text files of Linux; other systems tell less.
"""

import fcntl
import math
import os
import platform
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from rnnbench.store.run_info import UNKNOWN_HYPERVISOR, Cache, Processor, instruction_sets

SYSTEM = Path("/sys/devices/system/cpu")
SHORTEST_WAIT = 20e-6  # seconds; less is the scatter of the clocks themselves
MAX_READINGS = 3  # one after another; a slow system never reads in less than the shortest wait
SCHEDSTAT = Path("/proc/thread-self/schedstat")  # nanoseconds: of running, of waiting for a core
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
AFTER_STREAMS = 3  # the first descriptor that is none of the standard streams
OWN_GROUP = Path("/proc/self/cgroup")
GROUPS = Path("/sys/fs/cgroup")


def file_text(file: Path) -> str:
    """Return a small file of the system without the white space around it; empty if it can't be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def allowed_cores() -> list[int]:
    """Return the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def measuring_cores(number: int, near: Collection[int] = ()) -> list[int]:
    """Return the allowed cores on which workers are timed, the same for all workers; those `near` a device come first.

    The cores of the fastest kind come first, since a laptop may have two kinds. Two threads of one physical core are
    taken, or cores of two packages, only if the others are too few. Of equal cores the last ones are taken: systems
    prefer the first ones for interrupts.
    """
    in_order = sorted(_best_first(tuple(allowed_cores()), SYSTEM), key=lambda core: core not in near)
    return sorted(in_order[:number])


def measuring_choices(number: int) -> list[list[int]]:
    """Return the sets of cores that are as good as `measuring_cores`, which is the first: one core or another.

    There is only one set for several cores, and where the system can't move a process to a core.
    """
    best = measuring_cores(number)
    if number > 1 or not hasattr(os, "sched_setaffinity"):
        return [best]
    grades = _grades(tuple(allowed_cores()), SYSTEM)
    return [[core] for core in _best_first(tuple(allowed_cores()), SYSTEM) if grades[core] == grades[best[0]]]


def preparing_cores(number: int, sides: int) -> list[list[int]]:
    """Return `number` cores for each side, for work that is not timed.

    The sets are disjoint if there are enough cores; otherwise all are the set of `measuring_cores`.
    """
    cores = _best_first(tuple(allowed_cores()), SYSTEM)
    if number * sides > len(cores):
        return [measuring_cores(number)] * sides
    return [sorted(cores[number * side :][:number]) for side in range(sides)]


def _best_first(cores: tuple[int, ...], root: Path) -> list[int]:
    """Return cores in the order in which `measuring_cores` takes them."""
    grades = _grades(cores, root)
    return sorted(cores, key=lambda core: (*grades[core], core), reverse=True)


@cache
def _grades(cores: tuple[int, ...], root: Path) -> dict[int, tuple[Any, ...]]:
    """Return a grade of each core for measuring: its kind, its physical core's other threads, its package."""

    def number(core: int, name: str) -> int:
        text = file_text(root / f"cpu{core}" / name)
        return int(text) if text.isdecimal() else 0

    taken = Counter[str]()  # physical core -> how many of its threads come earlier
    grades = {}
    for core in reversed(cores):
        # Some systems give all cores one capacity though their clock rates differ.
        speed = number(core, "cpu_capacity"), number(core, "cpufreq/cpuinfo_max_freq")
        siblings = file_text(root / f"cpu{core}" / "topology/thread_siblings_list") or str(core)
        grades[core] = (speed, -taken[siblings], number(core, "topology/physical_package_id"))
        taken[siblings] += 1
    return grades


@contextmanager
def core_waits() -> Iterator[tuple[Callable[[], float], Callable[[], float]]]:
    """Give two clocks of the seconds for which other processes have kept the calling thread from a core.

    The first is for the start of a span, the second for its end; only differences count. Other threads of this process
    may run while the thread waits. That is work of the measured code, so their time is subtracted. The system often
    takes the core at the end of a reading, which does not show in it: at the start, such a reading is made again. The
    clocks stand still on a system that does not tell (macOS).
    """
    try:
        opened = os.open(SCHEDSTAT, os.O_RDONLY)
    except OSError:
        yield (lambda: 0.0), (lambda: 0.0)
        return
    file = fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, AFTER_STREAMS)  # a case may close the standard streams
    os.close(opened)

    def at_end() -> float:
        return int(os.pread(file, 64, 0).split()[1]) / 1e9 - (time.process_time() - time.thread_time())

    def at_start() -> float:
        for _ in range(MAX_READINGS):
            now = time.perf_counter()
            waits = at_end()
            if time.perf_counter() - now < SHORTEST_WAIT:
                break
        return waits

    try:
        yield at_start, at_end
    finally:
        os.close(file)


def cpu_limit() -> str | None:
    """Return the lowest limit of processor time of the process's control group and of its parents; None if unknown.

    It is written as in the file `cpu.max`: the microseconds that the group may run in each period, and the period.
    """
    limits = (text for text in group_texts("cpu.max") if re.fullmatch(r"(max|\d+) \d+", text))
    return min(limits, key=cpu_cores, default=None)


def cpu_cores(limit: str | None) -> float:
    """Return the number of cores whose time a limit allows, as `cpu_limit` returns it; infinite without a limit."""
    quota, period = (limit or "max 1").split()
    return math.inf if quota == "max" else int(quota) / int(period)


def group_texts(name: str) -> Iterator[str]:
    """Yield this file's text in the process's control group and in its parents, of version 2; empty where it has none.

    Some may not exist: a container can see its own group as the root.
    """
    for line in file_text(OWN_GROUP).splitlines():
        if line.startswith("0::/"):
            group = GROUPS / line.removeprefix("0::/")
            yield from (file_text(each / name) for each in (group, *group.parents) if each.is_relative_to(GROUPS))


def processor(root: Path = Path("/")) -> Processor:
    """Return this machine's processor, as the system below `root` describes it; None for what it does not tell."""
    texts = re.split(r"\n\s*\n", file_text(root / "proc/cpuinfo"))
    cores = [dict(re.findall(r"^(\S[^\t:]*?)\s*: *(\S.*)$", text, re.MULTILINE)) for text in texts]
    flags = {flag for key in ("flags", "Features") for flag in cores[0].get(key, "").split()}

    def value(*keys: str) -> str | None:
        """Join the values of the cores for these keys; cores of several kinds have several values."""
        texts = (" ".join(core[key] for key in keys if key in core) for core in cores)
        return " + ".join(filter(None, dict.fromkeys(texts))) or None

    name = value("model name")
    if name is None:  # ARM's text has numbers only, which `lscpu` knows
        with suppress(OSError, subprocess.SubprocessError):
            lines = subprocess.check_output(
                ["lscpu"],
                env=os.environ | {"LC_ALL": "C"},  # names that are not translated
                stderr=subprocess.DEVNULL,
                text=True,
                errors="replace",
                timeout=10,
            )
            name = next(iter(re.findall(r"^Model name: *(\S.*)$", lines, re.MULTILINE)), None)
    is_arm = "CPU part" in cores[0]
    hypervisor = None  # ARM has no such flag
    if "hypervisor" in flags:
        hypervisor = file_text(root / "sys/class/dmi/id/sys_vendor") or UNKNOWN_HYPERVISOR
    return Processor(
        name=name or platform.processor() or None,
        vendor=value("CPU implementer" if is_arm else "vendor_id"),
        family=value("CPU architecture" if is_arm else "cpu family"),
        model=value("CPU part" if is_arm else "model"),
        stepping=value("CPU variant", "CPU revision") if is_arm else value("stepping"),
        instruction_sets=instruction_sets(flags),
        caches=_caches(root / "sys/devices/system/cpu"),
        microcode=None if hypervisor else value("microcode"),  # hypervisors make one up
        hypervisor=hypervisor,
    )


def _caches(folder: Path) -> tuple[Cache, ...]:
    """Return the caches of the first core that tells its caches; many ARM machines tell none."""
    files = sorted(folder.glob("cpu[0-9]*/cache/index*/size"), key=lambda file: int(file.parts[-4].removeprefix("cpu")))
    caches = []
    for file in files:
        size = re.fullmatch(r"(\d+)([KMG]?)", file_text(file))
        level = file_text(file.with_name("level"))
        kind = file_text(file.with_name("type"))
        shared = file_text(file.with_name("shared_cpu_map"))
        if file.parts[-4] == files[0].parts[-4] and size and level:
            cores = int(shared.replace(",", "") or "1", 16).bit_count()
            caches.append(Cache(int(level), kind.lower(), int(size[1]) * UNITS[size[2]], cores))
    return tuple(sorted(caches, key=lambda cache: (cache.level, cache.kind)))
