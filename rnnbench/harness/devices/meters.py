"""Energy counters: the difference between readings before and after a window is the energy of the window."""

import re
from collections.abc import Mapping
from pathlib import Path

from rnnbench.harness.devices.nvml import Gpu
from rnnbench.store.readings import Unavailable

POWERCAP = Path("/sys/class/powercap")

Counters = Mapping[str, float]  # counter's name -> joules since its own start


class Rapl:
    """The processor's own counters (Intel's name; AMD's go through the same driver), one for each package.

    They include all processor packages, idle power and other processes, but not memory.
    """

    least_seconds = 0.5  # of a window; the counters step about every millisecond, sometimes later

    def __init__(self, root: Path = POWERCAP) -> None:
        if not root.is_dir():
            raise Unavailable(f"no RAPL: there is no {root} (usual in virtual machines and outside Linux)")
        # `intel-rapl:N:M` are parts of `intel-rapl:N`, and `intel-rapl-mmio:N` is the same package again; a zone with
        # another name (psys) contains the packages. In a container the zones link to hidden files, so none is found.
        names = sorted(file for file in root.glob("intel-rapl:*/name") if re.fullmatch(r"[^:]*:\d+", file.parent.name))
        self._packages = [file.parent for file in names if _read(file).startswith("package")]
        if not self._packages:
            raise Unavailable(
                f"no RAPL: no processor package in {root} (virtual machines have none and containers hide them; "
                f"elsewhere `modprobe intel_rapl_msr` may help)"
            )

    def read(self) -> Counters:
        """The counter of each package."""
        return {package.name: _joules(package / "energy_uj") for package in self._packages}

    def joules(self, before: Counters, after: Counters) -> float:
        """The sum over the packages; a counter that wraps around (after minutes at full load) did so at most once."""
        return sum(self._grown(package, before, after) for package in self._packages)

    def _grown(self, package: Path, before: Counters, after: Counters) -> float:
        start, end = before[package.name], after[package.name]
        if end >= start:
            return _moved(package.name, end - start)
        try:
            limit = _joules(package / "max_energy_range_uj")
        except Unavailable as reason:
            raise Unavailable(f"{package.name} went back, and where it starts over is not known: {reason}") from reason
        if start > limit or limit - start + end > limit / 2:  # a window takes only a small part of the range
            raise Unavailable(f"{package.name} went back far from where it starts over")
        return _moved(package.name, limit - start + end)


class GpuEnergy:
    """A GPU's total energy counter: of the whole board with its memory, idle power and other processes."""

    least_seconds = 2.0  # of a window; the counter steps every 0.1 s or more often

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu

    def read(self) -> Counters:
        """The total energy counter, under the name `gpu`."""
        return {"gpu": self._gpu.energy_joules()}

    def joules(self, before: Counters, after: Counters) -> float:
        """How much the counter has grown; only a reload of the driver resets it."""
        if after["gpu"] < before["gpu"]:
            raise Unavailable("the GPU's energy counter went backwards (was the driver reloaded?)")
        return _moved("the GPU's energy counter", after["gpu"] - before["gpu"])


Meter = Rapl | GpuEnergy


def _moved(name: str, joules: float) -> float:
    if joules == 0:  # a running device always takes energy
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
