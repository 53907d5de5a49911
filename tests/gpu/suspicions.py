"""`python -m tests.gpu.suspicions [DEVICE]`: what is suspected of torch on a GPU, and was never seen; nothing can fail.

- Does torch warn of the older names of TF32's settings?
- Does torch.compile work with torch's C++ wrapper, which links libcuda?
- Is `compiled` faster with weights that are stored transposed?
- How far do the energies of 0.1 s differ from each other, and from that of 2 s?
"""

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from statistics import median, stdev
from typing import Any

import torch

from rnnbench.harness import devices
from rnnbench.harness.turns.engine import calibrate, take_window, warm_up
from rnnbench.harness.worker import energy
from rnnbench.store.readings import Unavailable
from rnnbench.workloads import compiled
from rnnbench.workloads.implementations import transpose_weights
from rnnbench.workloads.prepare import build
from tests.gpu.cases import axes, case

ROUNDS = 9
SECONDS = 0.02
REPEATS = 20
SHORT_SECONDS = 0.1


def tf32_names(device: str) -> Iterator[str]:
    """What torch warns of when the older names are set."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for dtype in ("tf32", "float32"):
            settings = devices.backend(device).settings(dtype)
            torch.set_float32_matmul_precision(settings["float32 matmul precision"])
            torch.backends.cudnn.allow_tf32 = settings.get("cuDNN TF32", False)
    yield from (str(warning.message) for warning in caught)
    yield f"{len(caught)} warnings of the older names of TF32's settings"


def cpp_wrapper(device: str) -> Iterator[str]:
    """Whether compiled code works as it is used here, and with the C++ wrapper."""
    yield f"as it is used here: {compiled.why_not(device) or 'works'}"
    try:
        torch.compile(torch.neg, options={"cpp_wrapper": True})(torch.ones(8, device=device))
    except Exception as fault:
        yield f"with the C++ wrapper: {str(fault).strip().splitlines()[-1][:200]}"
    else:
        yield "with the C++ wrapper: works"


def transposed(device: str) -> Iterator[str]:
    """Seconds of a compiled LSTM, in turns, with its weights as torch.nn has them and transposed."""
    opened = devices.open_device(device)
    subject = case("lstm", "compiled", **axes(device, 32))
    calls: dict[str, Any] = {}
    for name in ("as they are", "transposed"):
        built = build(subject, Path())
        if name == "transposed":
            for body in built.model.bodies:
                transpose_weights(body)
        calls[name] = built.timed_call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for timed in calls.values():
        with timed.mode():
            plan = calibrate(opened, timed.call, SECONDS)
            warm_up(opened, timed.call, plan)
    for turn in range(ROUNDS):
        for name, timed in list(calls.items())[:: 1 if turn % 2 else -1]:
            with timed.mode():
                seconds[name].append(median(take_window(opened, timed.call, plan).quantiles))
    for name, each in seconds.items():
        yield f"compiled, weights {name}: {1e6 * median(each):.1f} us a call, spread {stdev(each) / median(each):.1%}"


def short_energies(device: str) -> Iterator[str]:
    """The energy of a product, by windows of 0.1 s and of 2 s."""
    opened = devices.open_device(device)
    meter = opened.meter()
    side = torch.randn(1024, 1024, device=device)
    plan = calibrate(opened, lambda: side @ side, 0.01)
    long = energy.per_call(meter, opened, lambda: side @ side, plan)
    meter.least_seconds = SHORT_SECONDS
    short = [energy.per_call(meter, opened, lambda: side @ side, plan) for _ in range(REPEATS)]
    ratio, spread = median(short) / long, stdev(short) / long
    yield f"{REPEATS} energies of {SHORT_SECONDS} s: {ratio:.3f} of that of 2 s, spread {spread:.1%}"


def main(device: str) -> int:
    """Print what each suspicion has found."""
    torch.set_num_threads(1)
    for check in (tf32_names, cpp_wrapper, transposed, short_energies):
        print(f"## {check.__name__}")
        try:
            for line in check(device):
                print(line, flush=True)
        except Unavailable as reason:
            print(f"not known here: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "cuda"))
