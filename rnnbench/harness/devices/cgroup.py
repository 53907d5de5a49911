"""How much memory and processor time Linux's control groups (version 1 or 2) allow this process."""

import math
import re
from collections.abc import Iterator
from pathlib import Path

from rnnbench.harness.machine.system_files import file_text

OWN = Path("/proc/self/cgroup")
ROOT = Path("/sys/fs/cgroup")


def memory_limits(own: Path = OWN, root: Path = ROOT) -> list[int]:
    """Memory limits of the process's group and of its parents, in bytes; empty if nothing is limited or reported."""
    folders = (
        (folder, "memory.max" if is_v2 else "memory.limit_in_bytes") for folder, is_v2 in _folders("memory", own, root)
    )
    return [int(text) for text in (file_text(folder / name) for folder, name in folders) if text.isdecimal()]


def cpu_limit(own: Path = OWN, root: Path = ROOT) -> str | None:
    """The lowest limit of processor time of the process's group and of its parents; None if none is reported.

    It is written as in the file `cpu.max`: the microseconds that the group may run in each period, and the period.
    """
    folders = _folders("cpu", own, root)
    texts = (file_text(folder / "cpu.max") if is_v2 else _cpu_max(folder) for folder, is_v2 in folders)
    limits = [text for text in texts if re.fullmatch(r"(max|\d{1,18}) [1-9]\d{0,17}", text, re.ASCII)]
    return min(limits, key=cpu_cores, default=None)


def cpu_cores(limit: str) -> float:
    """How many cores' time a limit allows, as `cpu_limit` returns it; infinite if it limits nothing."""
    quota, period = limit.split()
    return math.inf if quota == "max" else int(quota) / int(period)


def _cpu_max(folder: Path) -> str:
    """What `cpu.max` would hold, from the two files of version 1; its quota is -1 if nothing is limited."""
    quota, period = (file_text(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    return f"{'max' if quota == '-1' else quota} {period}"


def _folders(controller: str, own: Path, root: Path) -> Iterator[tuple[Path, bool]]:
    """The folders that may hold a limit, and whether they are of version 2.

    Some may not exist: a container can see its own group as the root.
    """
    for line in file_text(own, errors="surrogateescape").splitlines():  # a group may have any name
        _, controllers, path = line.split(":", 2)
        if not controllers:
            base = root
        elif controller in controllers.split(","):
            base = root / controller
        else:
            continue
        group = base / path.lstrip("/")
        yield from ((folder, not controllers) for folder in (group, *group.parents) if folder.is_relative_to(base))
