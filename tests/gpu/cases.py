"""The cases of the checks on a GPU, whatever the suites hold; on a CPU smaller ones, which try the program only."""

from typing import Any

from rnnbench.harness import devices
from rnnbench.store.records import Case, Implementation, Phase, Reference
from tests import workload as small

BATCH, HIDDEN = {True: 4, False: 32}, {True: 32, False: 512}  # by whether the device is a CPU
PURE: tuple[Implementation, ...] = ("torch.nn", "cudagraph")  # a launch or a few in a call: the host is far ahead


def axes(device: str, length: int, phase: Phase = "inference", **changes: Any) -> dict[str, Any]:
    """A workload of one length."""
    is_cpu = devices.is_shared(device)
    sizes = dict.fromkeys(("input_size", "hidden_size", "output_size"), HIDDEN[is_cpu])
    lengths = {"batch_size": BATCH[is_cpu], "seq_len": min(length, 16) if is_cpu else length}
    return {"device": device, "dtype": "float32", "phase": phase, **sizes, **lengths, **changes}


def case(layer: Reference, implementation: Implementation, **axes: Any) -> Case:
    """One case of a layer of torch.nn, or of the cell of its name."""
    if implementation == "torch.nn":
        return small.reference_case(layer, **axes)
    return small.case(str(layer), implementation, reference=layer, **axes)


def implementations(device: str, *wanted: Implementation) -> list[Implementation]:
    """Those that there are on a device."""
    return [one for one in wanted if not (one == "cudagraph" and devices.is_shared(device))]
