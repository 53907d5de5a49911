"""Energy counters: read one before a window and after it, and their difference is what the window took."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from rnnbench.harness.devices.nvml import Gpu
from rnnbench.store.readings import Unavailable

POWERCAP = Path("/sys/class/powercap")

Counters = Mapping[str, float]  # joules since some start of its own, by the counter's name


class Meter(Protocol):
    """Counters of energy that run by themselves."""

    least_seconds: float  # how long a window must be for the steps of its counters to be small
    scope: str  # what they count, for a report

    def read(self) -> Counters:
        """The counters as they stand; raises Unavailable."""
        ...

    def joules(self, before: Counters, after: Counters) -> float:
        """The energy from one reading to a later one; raises Unavailable where they can't tell."""
        ...


class Rapl:
    """The processor's own counters (Intel's name; AMD's go through the same driver), one for each package."""

    least_seconds = 0.5  # steps of about a millisecond, later at times
    scope = "all processor packages, idle power and other processes included, memory not"

    def __init__(self, root: Path = POWERCAP) -> None:
        if not root.is_dir():
            raise Unavailable(f"no RAPL: there is no {root} (usual in virtual machines and outside Linux)")
        # `intel-rapl:N:M` are parts of `intel-rapl:N`, and `intel-rapl-mmio:N` is the same package once more; a zone of
        # another name (psys) holds the packages. In a container the zones are links to what is hidden: none is found.
        names = sorted(file for file in root.glob("intel-rapl:*/name") if re.fullmatch(r"[^:]*:\d+", file.parent.name))
        self._packages = [file.parent for file in names if _read(file).startswith("package")]
        if not self._packages:
            raise Unavailable(
                f"no RAPL: no processor package in {root} (virtual machines have none and containers hide them; "
                f"elsewhere `modprobe intel_rapl_msr` may help)"
            )

    def read(self) -> Counters:
        """Each package's counter."""
        return {package.name: _joules(package / "energy_uj") for package in self._packages}

    def joules(self, before: Counters, after: Counters) -> float:
        """The packages' sum; a counter that starts over (after minutes at full load) did so once at most."""
        return sum(self._grown(package, before, after) for package in self._packages)

    def _grown(self, package: Path, before: Counters, after: Counters) -> float:
        start, end = before[package.name], after[package.name]
        if end >= start:
            return _moved(package.name, end - start)
        try:
            limit = _joules(package / "max_energy_range_uj")
        except Unavailable as reason:
            raise Unavailable(f"{package.name} went back, and where it starts over is not known: {reason}") from reason
        if start > limit or limit - start + end > limit / 2:  # a window takes a small part of a round
            raise Unavailable(f"{package.name} went back far from where it starts over")
        return _moved(package.name, limit - start + end)


class GpuEnergy:
    """A GPU's total energy counter."""

    least_seconds = 2.0  # steps of up to 0.1 s
    scope = "the whole GPU board with its memory, idle power and other processes included"

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu

    def read(self) -> Counters:
        """The one counter."""
        return {"gpu": self._gpu.energy_joules()}

    def joules(self, before: Counters, after: Counters) -> float:
        """The counter's growth; it starts over only with the driver."""
        if after["gpu"] < before["gpu"]:
            raise Unavailable("the GPU's energy counter went backwards (was the driver reloaded?)")
        return _moved("the GPU's energy counter", after["gpu"] - before["gpu"])


def _moved(name: str, joules: float) -> float:
    if joules == 0:  # nothing that is switched on takes no energy
        raise Unavailable(f"{name} did not move")
    return joules


def _joules(file: Path) -> float:
    digits = _read(file)
    if not digits.isdecimal():
        raise Unavailable(f"{file} holds no number but {digits[:20]!r}")
    return int(digits) / 1e6


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except PermissionError as error:
        raise Unavailable(
            f"no permission to read {file}: only root may, unless root allows it until the next boot "
            f"(sudo chmod a+r {file.parent.parent}/intel-rapl:*/energy_uj)"
        ) from error
    except OSError as error:
        raise Unavailable(f"{file} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Unavailable(f"{file} holds no text") from error
