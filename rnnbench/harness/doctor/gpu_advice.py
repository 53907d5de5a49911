"""What stands in the way of a good measurement on a GPU, and what to do about it; nothing is changed here."""

import re
from collections.abc import Iterator, Mapping
from enum import IntEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rnnbench.harness.devices.nvml_answers import SPOILING

HOT_CELSIUS = 80  # before anything is measured; data-centre cards slow down from about 85 on
IDLE_BYTES = 2 << 30  # more than a driver takes for itself on a card that nobody uses


class Harm(IntEnum):
    """What a problem leads to, worst first."""

    UNUSABLE = 0
    NOISE = 1  # or errors
    SETTING = 2  # the figures hold for this setting only
    DELAY = 3


def advice(environment: Mapping[str, Any], torch_cuda: str | None) -> list[tuple[Harm, str]]:
    """What to change on each GPU of an environment that `doctor.current_readings` returned.

    `torch_cuda`: the CUDA version that torch was built for; None for a torch without CUDA.
    """
    gpus = {name: gpu for name, gpu in environment.items() if name.startswith("gpu ") and isinstance(gpu, dict)}
    if not gpus:
        return []
    if torch_cuda is None:
        return [(Harm.UNUSABLE, "There is a GPU, but torch is built without CUDA: install one with CUDA to use it.")]
    problems = []
    for name, gpu in gpus.items():
        where = f"{name.replace('gpu', 'GPU')} ({gpu['name']})" if "name" in gpu else name.replace("gpu", "GPU")
        index = name.rpartition(" ")[2]
        problems += [(harm, f"{where}: {text}") for harm, text in _of_gpu(gpu, index, torch_cuda)]
    return problems


def torch_cuda(package: str = "torch") -> str | None:
    """The CUDA version that the installed torch was built for, read from its files: importing it takes seconds."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).with_name("version.py")
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    match = re.search(r"^cuda\b.*=\s*['\"]([\d.]+)['\"]", text, re.MULTILINE)
    return match and match[1]


def _of_gpu(gpu: Mapping[str, Any], index: str, torch_cuda: str) -> Iterator[tuple[Harm, str]]:
    """Advice for one GPU; a value that could not be read is not a problem."""
    if "name" not in gpu:
        reason = gpu["not known"].get("name", "no reason is given")
        yield Harm.UNUSABLE, f"it does not answer ({reason}): look at `nvidia-smi` and at the kernel's log."
        return
    yield from _unusable(gpu, index, torch_cuda)
    yield from _shared(gpu, index)
    yield from _held_back(gpu)
    yield from _settings(gpu, index)


def _unusable(gpu: Mapping[str, Any], index: str, torch_cuda: str) -> Iterator[tuple[Harm, str]]:
    driver = gpu.get("driver_cuda_version")
    if driver is not None and int(driver.partition(".")[0]) < int(torch_cuda.partition(".")[0]):
        yield (
            Harm.UNUSABLE,
            f"its driver {gpu.get('driver_version', '')} supports CUDA up to {driver}, and torch is built for "
            f"{torch_cuda}: install a newer driver, or a torch for CUDA {driver}.",
        )
    if gpu.get("compute_mode") == "prohibited":
        text = f"its compute mode forbids all programs: `sudo nvidia-smi -i {index} -c DEFAULT` allows them."
        yield Harm.UNUSABLE, text


def _shared(gpu: Mapping[str, Any], index: str) -> Iterator[tuple[Harm, str]]:
    processes, used = gpu.get("processes", []), gpu.get("memory_used_bytes", 0)
    if processes:
        pids = ", ".join(map(str, processes))
        yield Harm.NOISE, f"other processes use it ({pids}): stop them, or their kernels run between those of a case."
    elif used > IDLE_BYTES:
        yield (
            Harm.NOISE,
            f"{used / 1e9:.1f} GB of its memory are in use, though no process is listed: look outside this container.",
        )
    if gpu.get("uncorrected_ecc_errors"):
        yield (
            Harm.NOISE,
            f"it had {gpu['uncorrected_ecc_errors']} uncorrected memory errors since the driver was loaded: "
            "results may be wrong; have the card checked.",
        )
    if str(gpu.get("compute_mode")).startswith("exclusive"):
        yield (
            Harm.NOISE,
            "its compute mode admits one process at a time, and `rnnbench check` needs two: "
            f"`sudo nvidia-smi -i {index} -c DEFAULT` admits more.",
        )


def _held_back(gpu: Mapping[str, Any]) -> Iterator[tuple[Harm, str]]:
    reasons = [reason for reason in gpu.get("throttle_reasons", []) if reason in SPOILING]
    celsius = gpu.get("temperature_celsius")
    if reasons:
        yield (
            Harm.NOISE,
            f"its clocks are held back at this moment ({', '.join(reasons)}): wait until it is cool, and look at its "
            "cooling and power supply.",
        )
    elif celsius is not None and celsius >= HOT_CELSIUS:
        yield Harm.NOISE, f"it has {celsius} °C before anything is measured: wait, or its clocks will be held back."


def _settings(gpu: Mapping[str, Any], index: str) -> Iterator[tuple[Harm, str]]:
    if gpu.get("mig_enabled"):
        yield (
            Harm.SETTING,
            "MIG is on: a case gets an instance and not the whole card, whose power, energy and clocks can't be read. "
            f"`sudo nvidia-smi -i {index} -mig 0` turns it off.",
        )
    if gpu.get("clock_settings"):
        yield (
            Harm.SETTING,
            f"somebody set a limit for its clocks ({', '.join(gpu['clock_settings'])}; {_clocks(gpu)}): "
            f"`sudo nvidia-smi -i {index} -rac` and `-rgc` remove it.",
        )
    limit, usual = gpu.get("power_limit_watts"), gpu.get("default_power_limit_watts")
    if limit is not None and usual is not None and limit < usual:
        yield (
            Harm.SETTING,
            f"its power is limited to {limit:g} W, and {usual:g} W are usual: "
            f"`sudo nvidia-smi -i {index} -pl {usual:g}`.",
        )
    if gpu.get("ecc_enabled") is False:
        yield (
            Harm.SETTING,
            "ECC is off, so that memory is a little faster and its errors are not noticed: say so beside the figures.",
        )
    if gpu.get("persistence_enabled") is False:
        yield (
            Harm.DELAY,
            "its driver is unloaded whenever no program uses it, so that workers start slowly: "
            f"`sudo nvidia-smi -i {index} -pm 1` keeps it loaded.",
        )


def _clocks(gpu: Mapping[str, Any]) -> str:
    now, most = (gpu.get(name, "unknown") for name in ("sm_clock_mhz", "max_sm_clock_mhz"))
    return f"{now} MHz now, {most} MHz at most"
