"""`python -m tests.gpu.rates [DEVICE]`: the ceilings beside the card's known figures; exit code 1 if they differ.

A ceiling above the highest figure breaks physics (something was not measured), one below the lowest is no ceiling.
"""

import random
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from rnnbench.harness import protocol
from rnnbench.harness.machine.scratch import scratch
from rnnbench.harness.worker.operations import Operations
from rnnbench.store.ceilings import Ceiling
from rnnbench.store.records import DType

Range = tuple[float, float]


@dataclass(frozen=True)
class KnownCard:
    """The range of a card's ceilings: from three quarters of published measurements to the data sheet's peak."""

    tflops: dict[str, Range]  # of dense products, by dtype
    copies: Range  # TB/s of large copies, bytes read and written
    launch: Range = (1.0, 10.0)  # µs

    def ranges(self, dtype: str) -> dict[str, Range]:
        """The range of each figure for a dtype."""
        return {"products": self.tflops[dtype], "copies": self.copies, "launch": self.launch}


HOPPER = {"float32": (35.0, 67.0), "tf32": (280.0, 495.0), "bfloat16": (560.0, 990.0), "float16": (560.0, 990.0)}
CARDS = {  # part of the name that the driver gives
    "H100 80GB HBM3": KnownCard(HOPPER, (2.3, 3.36)),
    "H200": KnownCard(HOPPER, (3.3, 4.81)),
}


def known(name: str) -> KnownCard | None:
    """The known figures of a card."""
    return next((card for part, card in CARDS.items() if part in name), None)


def measure(device: str, dtype: DType) -> Ceiling:
    """Measure the ceilings as a worker does."""
    with scratch("kernels") as folder:
        request = protocol.ceiling(device, dtype, 1, str(folder))
        reply = Operations(random.Random(0)).handle(dict(request.content))
    if not reply["ok"]:
        raise SystemExit(f"{device} in {dtype}: {reply['reason']}")
    return Ceiling.from_json(reply["ceiling"])


def lines(ceiling: Ceiling, card: KnownCard | None) -> Iterable[tuple[str, bool]]:
    """The printed lines of a ceiling, each with whether it is right."""
    figures = {
        "products": (2 * ceiling.macs_per_second / 1e12, "TFLOP/s"),
        "copies": (ceiling.copies[-1][1].value / 1e12, "TB/s"),
    }
    if ceiling.launch_seconds is not None:
        figures["launch"] = (ceiling.launch_seconds * 1e6, "µs")
    ranges = {} if card is None else card.ranges(ceiling.dtype)
    for name, (value, unit) in figures.items():
        text = f"{ceiling.dtype:<10}{name:<10}{value:>9.3g} {unit:<8}"
        if name not in ranges:
            yield text.rstrip(), True
            continue
        lower, upper = ranges[name]
        is_right = lower <= value <= upper
        yield f"{text}{'ok' if is_right else 'OFF'}: {lower:g} to {upper:g}", is_right


def main(device: str) -> int:
    """Print the ceilings of the types that matter on this device."""
    is_gpu = device.partition(":")[0] == "cuda"
    name = torch.cuda.get_device_name(device) if is_gpu else device
    card = known(name)
    print(f"{name}: {'judged' if card else 'nothing is known of it, so nothing is judged'}")
    dtypes: tuple[DType, ...] = ("float32", "tf32", "bfloat16") if is_gpu else ("float32",)
    judged = [line for dtype in dtypes for line in lines(measure(device, dtype), card)]
    print("\n".join(text for text, _ in judged))
    return int(not all(is_right for _, is_right in judged))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "cuda"))
