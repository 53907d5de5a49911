"""The machine and the software of a run, as far as they can be read without torch, and samples of its GPUs."""

import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from rnnbench.harness.devices import nvml
from rnnbench.harness.machine import git, variables
from rnnbench.harness.machine.cores import SYSTEM, allowed_cores, cpu_limit, file_text, measuring_cores, processor

HELD_BACK_SHARE = 0.01  # of a replicate's seconds; clocks that are held back for less change no time by more than that
HEAT_REASON = "heat, by its counter"  # a reason
PACKAGES = ("rnnbench", "torch", "torchinfo", "numpy")


def describe(folder: Path) -> dict[str, Any]:
    """Return what a reader needs to repeat or question a run; `folder` is where the git commit is looked up."""
    identity = processor()
    core = SYSTEM / f"cpu{measuring_cores(1)[0]}"
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
        **nvml.read_all(nvml.FIXED_READINGS),
        "load": load(),
        "software": {
            "python": platform.python_version(),
            "packages": {
                name: next((package.version for package in metadata.distributions(name=name)), None)
                for name in PACKAGES
            },
            "variables": variables.settings(),
            "card_variables": variables.of_cards(),
        },
        "git": git.commit_and_changes(folder),
    }


def load() -> dict[str, float | None]:
    """Return how busy the machine is: load average over a minute, and the share of time stolen since boot.

    The share is None on a system that does not tell it.
    """
    times = psutil.cpu_times()
    stolen = getattr(times, "steal", None)
    return {
        "load_average": round(psutil.getloadavg()[0], 2),
        "steal_share": None if stolen is None else round(stolen / sum(times), 5),
    }


def clock_note(megahertz: Sequence[float], preheat_seconds: float) -> str:
    """Return a note about the clock rates of GPUs after their turns."""
    rates = f"{median(megahertz):,.0f} MHz in the median, {min(megahertz):,.0f} to {max(megahertz):,.0f} MHz"
    if preheat_seconds:
        return f"the GPU worked for {preheat_seconds:g} s before the turns of each visit; its clock ran at {rates}"
    return (
        f"times on the GPU are of burst clocks: turns of 10 ms, before power and heat hold it back. Its clock ran at "
        f"{rates}. `preheat_seconds = 20` in [measure] lets it work before the turns"
    )


class Telemetry:
    """The samples of a GPU, before each replicate and after each visit, never while a case is timed.

    They say why a value can't be read.
    """

    def __init__(self, device: str, uuid: str) -> None:
        """`uuid`: of the GPU, in torch's format, without the "GPU-" prefix that NVML adds."""
        self.device = device
        self._uuid = uuid
        self._gpu = nvml.open_gpu(uuid)
        self._held_back: dict[str, set[int]] = {}  # reason -> replicates
        self._first: dict[str, Any] = {}  # sample of the replicate
        self._replicates: set[int] = set()

    def sample(self, replicate: int, when: str, seconds: float) -> dict[str, Any]:
        """Return a line for `telemetry.jsonl`; `when`: `before` begins a replicate; `seconds` since the run began."""
        readings = self._gpu.read(nvml.CHANGING)
        line = {
            "replicate": replicate,
            "when": when,
            "seconds": round(seconds, 3),
            "device": self.device,
            "device_uuid": self._uuid,
            **readings.values,
            "missing": readings.missing,
        }
        if when == "before":
            self._first = line
        self._replicates.add(replicate)
        reasons = {reason for reason in line.get("throttle_reasons", ()) if reason in nvml.SPOILING}
        # The card may be idle again when it is sampled, and its clocks free: the counter shows what was between.
        heat = line.get("thermal_seconds", 0.0) - self._first.get("thermal_seconds", float("inf"))
        if heat > HELD_BACK_SHARE * (line["seconds"] - self._first["seconds"]):
            reasons.add(HEAT_REASON)
        for reason in sorted(reasons):
            self._held_back.setdefault(reason, set()).add(replicate)
        return line

    def notes(self) -> list[str]:
        """Return notes for the reader if the GPU's clocks were held back."""
        notes = [
            f"{self.device} was held back ({reason}) in {len(replicates)} of {len(self._replicates)} replicates"
            for reason, replicates in self._held_back.items()
        ]
        if whole := self._first.get(nvml.WHOLE_CARD):
            names = ", ".join(name.replace("_", " ") for name in whole)
            notes.append(f"{self.device} is a MIG instance; these samples are of its whole card: {names}")
        return notes
