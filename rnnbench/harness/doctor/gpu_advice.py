"""What stands in the way of a good measurement on a GPU, and what to do about it; nothing is changed here."""

import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rnnbench.harness.devices.nvml import SETTINGS, SPOILING

HOT_CELSIUS = 80  # before anything is measured; data-centre cards slow down from about 85 on
IDLE_BYTES = 2 << 30  # more than a driver takes for itself on a card that nobody uses


def advice(environment: Mapping[str, Any], torch_cuda: str | None) -> list[str]:
    """What to change on each GPU of an environment that `advice.current_readings` returned, most harmful first.

    `torch_cuda`: the CUDA version that torch was built for; None for a torch without CUDA.
    """
    gpus = {name: gpu for name, gpu in environment.items() if name.startswith("gpu ") and isinstance(gpu, dict)}
    if gpus and torch_cuda is None:
        return ["There is a GPU, but torch is built without CUDA: install one with CUDA to use it."]
    texts = []
    for name, gpu in gpus.items():
        index = name.rpartition(" ")[2]
        where = f"GPU {index} ({gpu['name']})" if "name" in gpu else f"GPU {index}"
        texts += [f"{where}: {text}" for text in _of_gpu(gpu, index)]
    return texts


def torch_cuda(package: str = "torch") -> str | None:
    """The CUDA version that the installed torch was built for, read from its files: importing it takes seconds."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).with_name("version.py")
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    match = re.search(r"^cuda\b.*=\s*['\"]([\d.]+)['\"]", text, re.MULTILINE)
    return match and match[1]


def _of_gpu(gpu: Mapping[str, Any], index: str) -> Iterator[str]:
    """Advice for one GPU; a value that could not be read is not a problem."""
    if "name" not in gpu:
        yield f"it does not answer ({gpu['not known']['name']}): look at `nvidia-smi` and at the kernel's log."
        return
    processes, used = gpu.get("processes", []), gpu.get("memory_used_bytes", 0)
    if processes:
        pids = ", ".join(map(str, processes))
        yield f"other processes use it ({pids}): stop them, or their kernels run between those of a case."
    elif used > IDLE_BYTES:
        yield (
            f"{used / 1e9:.1f} GB of its memory are in use, though no process is listed: look outside this container."
        )
    reasons, celsius = set(gpu.get("throttle_reasons", [])), gpu.get("temperature_celsius", 0.0)
    if held := sorted(reasons & SPOILING):
        yield (
            f"its clocks are held back at this moment ({', '.join(held)}): wait until it is cool, and look at its "
            "cooling and power supply."
        )
    elif celsius >= HOT_CELSIUS:
        yield f"it has {celsius:.0f} °C before anything is measured: wait, or its clocks will be held back."
    if limits := sorted(reasons & SETTINGS):
        clock = f"; {gpu['sm_clock_mhz']:.0f} MHz now" if "sm_clock_mhz" in gpu else ""
        yield (
            f"somebody set a limit for its clocks ({', '.join(limits)}{clock}): "
            f"`sudo nvidia-smi -i {index} -rac` and `-rgc` remove it."
        )
