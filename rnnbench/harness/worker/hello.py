"""The first line of a worker, which describes it."""

import sys
from pathlib import Path
from typing import Any

import torch

from rnnbench.harness import devices
from rnnbench.harness.machine import global_state
from rnnbench.harness.machine.cores import file_text
from rnnbench.harness.protocol import NO_RANDOMIZATION, PROTOCOL_VERSION

PERSONALITY = Path("/proc/self/personality")


def hello() -> dict[str, Any]:
    """Description of this worker: versions, and the devices that it sees."""
    settings = global_state.capture()
    return {
        "protocol": PROTOCOL_VERSION,
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        **devices.Cpu.about(),
        **devices.Cuda.about(),
        "fixed_addresses": _has_fixed_addresses(),
        "settings": {name: str(value) for name, value in settings.items() if name in global_state.DESCRIBED},
    }


def _has_fixed_addresses() -> bool:
    """Whether address randomization is off for this process, which only Linux supports."""
    personality = file_text(PERSONALITY)  # empty: not Linux, or a sandbox that hides it
    return bool(personality) and bool(int(personality, 16) & NO_RANDOMIZATION)
