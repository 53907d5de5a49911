"""`python -m tests.gpu.rates [DEVICE]`: the ceilings beside the card's known figures; exit code 1 if they differ.

A ceiling above the highest figure breaks physics (something was not measured), one below the lowest is no ceiling.
"""

import random
import sys

import torch

from rnnbench.harness import protocol
from rnnbench.harness.machine.scratch import scratch
from rnnbench.harness.worker.operations import Operations
from rnnbench.store.ceilings import Ceiling
from rnnbench.store.records import DType

Range = tuple[float, float]
# From three quarters of published measurements to the data sheet's peak: TFLOP/s of dense products by dtype, TB/s of
# large copies (bytes read and written), and µs of a launch.
HOPPER = {"float32": (35.0, 67.0), "tf32": (280.0, 495.0), "bfloat16": (560.0, 990.0)}
COPIES = {"H100 80GB HBM3": (2.3, 3.36), "H200": (3.3, 4.81)}  # key: part of the name that the driver gives
LAUNCH = (1.0, 10.0)


def judged(ceiling: Ceiling, copies: Range | None) -> list[tuple[str, bool]]:
    """Return the lines of a ceiling, each with whether it is right; without `copies` nothing is known of the card."""
    figures = {
        "products": (2 * ceiling.macs_per_second / 1e12, "TFLOP/s", HOPPER.get(ceiling.dtype)),
        "copies": (ceiling.copies[-1].value / 1e12, "TB/s", copies),
    }
    if ceiling.launch_seconds is not None:
        figures["launch"] = (ceiling.launch_seconds * 1e6, "µs", LAUNCH)
    lines = []
    for name, (value, unit, known) in figures.items():
        is_right = copies is None or known is None or known[0] <= value <= known[1]
        verdict = "" if copies is None else f"{'ok' if is_right else 'OFF'}: {known}"
        lines.append((f"{ceiling.dtype:<10}{name:<10}{value:>9.3g} {unit:<8}{verdict}", is_right))
    return lines


def main(device: str) -> int:
    """Print the ceilings of the types that matter on this device."""
    on_gpu = device.startswith("cuda")
    name = torch.cuda.get_device_name(device) if on_gpu else device
    copies = next((known for part, known in COPIES.items() if part in name), None)
    print(f"{name}: {'judged' if copies else 'nothing is known of it, so nothing is judged'}")
    dtypes: tuple[DType, ...] = ("float32", "tf32", "bfloat16") if on_gpu else ("float32",)
    off = 0
    for dtype in dtypes:
        with scratch("kernels") as folder:
            request = protocol.ceiling(device, dtype, 1, str(folder))
            reply = Operations(random.Random(0)).handle(dict(request.content))
        if not reply["ok"]:
            raise SystemExit(f"{device} in {dtype}: {reply['reason']}")
        for text, is_right in judged(Ceiling.from_json(reply["ceiling"]), copies):
            print(text)
            off += not is_right
    return int(off > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "cuda"))
