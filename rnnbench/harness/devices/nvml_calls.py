"""Calls into NVML, NVIDIA's management library: every error becomes a reason in words.

Importing this module does not import pynvml.
"""

from typing import Any

from rnnbench.store.readings import Unavailable

INVALID_ARGUMENT, NOT_SUPPORTED, NOT_FOUND, FUNCTION_NOT_FOUND, GPU_NOT_FOUND = 2, 3, 6, 13, 28

# Keys are the codes of nvml.h; pynvml has no texts for the newer ones.
REASONS = {
    1: "NVML: not initialized",
    INVALID_ARGUMENT: "NVML: an invalid argument",
    NOT_SUPPORTED: "NVML: not supported on this device",
    4: "NVML: no permission",
    5: "NVML: already initialized",
    NOT_FOUND: "NVML: not found",
    7: "NVML: the answer outgrew its buffer",
    8: "NVML: the GPU's external power is not connected",
    9: "NVML: NVIDIA's driver is not loaded",
    10: "NVML: timed out",
    11: "NVML: the kernel has trouble with the GPU's interrupts",
    12: "no NVML library (libnvidia-ml.so.1)",
    FUNCTION_NOT_FOUND: "NVML: the installed library is too old for this",
    14: "NVML: the GPU's infoROM is corrupted",
    15: "NVML: the GPU is lost",
    16: "NVML: the GPU must be reset first",
    17: "NVML: blocked by the operating system (in a container, by its device rules)",
    18: "NVML: driver and library versions differ",
    19: "NVML: the GPU is in use",
    20: "NVML: not enough memory",
    21: "NVML: no data",
    22: "NVML: no ECC on a virtual GPU",
    23: "NVML: not enough resources",
    24: "NVML: the frequency is not supported",
    25: "NVML: the installed library wants another version of the argument",
    26: "NVML: the function was withdrawn",
    27: "NVML: the device is not ready yet",
    GPU_NOT_FOUND: "NVML: no GPU found",
    29: "NVML: the device is in a state that does not allow it",
    30: "NVML: the device can't be reset that way",
    999: "NVML: an unknown error inside the driver",
}


class NvmlError(Unavailable):
    """NVML answered with an error code."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(reason or REASONS.get(code, f"NVML: error {code}"))
        self.code = code


def ask(function: str, *arguments: Any) -> Any:
    """Call a function of pynvml; raises Unavailable with the reason if it fails."""
    try:
        import pynvml  # type: ignore[import-untyped]
    except ImportError:
        raise Unavailable("the package nvidia-ml-py is not installed") from None
    call = getattr(pynvml, function, None)
    if call is None:
        raise NvmlError(FUNCTION_NOT_FOUND, f"the installed nvidia-ml-py has no {function}")
    # pynvml's error for a missing version of a function, from 12.550 on.
    mismatch = getattr(pynvml, "NVMLLibraryMismatchError", pynvml.NVMLError)
    try:
        return call(*arguments)
    except pynvml.NVMLError as error:
        raise NvmlError(error.value) from error
    except mismatch as error:
        raise NvmlError(FUNCTION_NOT_FOUND) from error
    except UnicodeError as error:
        raise Unavailable("NVML: garbage in place of text") from error
