"""The machine and the software of a run, as far as they can be read without torch."""

import os
import platform
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import psutil

from rnnbench.harness.devices import nvml
from rnnbench.harness.machine import git, variables
from rnnbench.harness.machine.cores import SYSTEM, allowed_cores, cpu_limit, file_text, measuring_cores
from rnnbench.harness.machine.processor import processor

T = TypeVar("T")
PACKAGES = ("rnnbench", "torch", "torchinfo", "numpy")


def describe(folder: Path) -> dict[str, Any]:
    """What a reader needs to repeat or question a run; `folder` is where the git commit is looked up."""
    identity, core = processor(), SYSTEM / f"cpu{measuring_cores(1)[0]}"
    return {
        "machine": {
            "system": platform.platform(),
            "cpu": identity.name or platform.machine(),
            "processor": identity.to_json(),
            "cores_allowed": allowed_cores(),
            "cores": psutil.cpu_count(),
            "memory_bytes": _told(lambda: int(psutil.virtual_memory().total)),
            "frequency_governor": file_text(core / "cpufreq" / "scaling_governor") or None,
            "cgroup_cpu_limit": cpu_limit(),
        },
        **nvml.read_all(),
        "load": load(),
        "software": {
            "python": platform.python_version(),
            "packages": {name: _version(name) for name in PACKAGES},
            "variables": variables.known(),
        },
        "git": git.state(folder),
    }


def load() -> dict[str, float | None]:
    """How busy the machine is: load average over a minute, and the share of time stolen by other guests since boot.

    Each is None if the system does not tell it; some sandboxes count no time at all.
    """
    times = _told(psutil.cpu_times)
    stolen, total = getattr(times, "steal", None), sum(times or ())
    return {
        "load_average": _load_average(),
        "steal_share": None if stolen is None or total == 0 else round(stolen / total, 5),
    }


def _load_average() -> float | None:
    return _told(lambda: round(os.getloadavg()[0], 2)) if hasattr(os, "getloadavg") else None


def _told(read: Callable[[], T]) -> T | None:
    """What the system tells; None if it does not, as where a sandbox hides /proc."""
    try:
        return read()
    except OSError:
        return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
