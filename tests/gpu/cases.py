"""The cases of the checks on a GPU, independent of the suites; on a CPU they are smaller and only try the program."""

from typing import Any

from rnnbench.harness import devices
from rnnbench.store.records import Case, Implementation, Phase, Reference
from tests.doubles import workload as small

BATCH, HIDDEN = {True: 4, False: 32}, {True: 32, False: 512}  # key: whether the device is a CPU
PURE: tuple[Implementation, ...] = ("torch.nn", "cudagraph")  # few launches in a call, so the host is far ahead


def axes(device: str, length: int, phase: Phase = "inference", **changes: Any) -> dict[str, Any]:
    """The axes of a workload with one sequence length."""
    is_cpu = devices.is_shared(device)
    sizes = dict.fromkeys(("input_size", "hidden_size", "output_size"), HIDDEN[is_cpu])
    lengths = {"batch_size": BATCH[is_cpu], "seq_len": min(length, 16) if is_cpu else length}
    return {"device": device, "dtype": "float32", "phase": phase, **sizes, **lengths, **changes}


def case(layer: Reference, implementation: Implementation, **axes: Any) -> Case:
    """A case of a layer of torch.nn, or of the cell of that name."""
    if implementation == "torch.nn":
        return small.reference_case(layer, **axes)
    return small.case(str(layer), implementation, reference=layer, **axes)


def implementations(device: str, *requested: Implementation) -> list[Implementation]:
    """The requested implementations that the device supports."""
    return [name for name in requested if not (name == "cudagraph" and devices.is_shared(device))]
