"""The machine and the software of a run, as far as they can be read without torch."""

import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from rnnbench.harness.devices import nvml
from rnnbench.harness.machine import git, variables
from rnnbench.harness.machine.cores import SYSTEM, allowed_cores, cpu_limit, file_text, measuring_cores, processor

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
            "memory_bytes": psutil.virtual_memory().total,
            "frequency_governor": file_text(core / "cpufreq" / "scaling_governor") or None,
            "cgroup_cpu_limit": cpu_limit(),
        },
        **nvml.read_all(nvml.FIXED),
        "load": load(),
        "software": {
            "python": platform.python_version(),
            "packages": {
                name: next((found.version for found in metadata.distributions(name=name)), None) for name in PACKAGES
            },
            "variables": variables.known(),
        },
        "git": git.state(folder),
    }


def load() -> dict[str, float | None]:
    """How busy the machine is: load average over a minute, and the share of time stolen by other guests since boot.

    The share is None on a system that does not tell it.
    """
    times = psutil.cpu_times()
    stolen = getattr(times, "steal", None)
    return {
        "load_average": round(psutil.getloadavg()[0], 2),
        "steal_share": None if stolen is None else round(stolen / sum(times), 5),
    }
