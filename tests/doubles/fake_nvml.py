"""A fake NVML library for tests without a GPU: built by gcc, loaded by the real nvidia-ml-py.

`build` compiles `fake_nvml.c`; `run` calls a function of a test module in a new process that finds the library, with a
`Fake` that controls it. The function's result comes back as JSON.
"""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from rnnbench.store.readings import Unavailable

SOURCE = Path(__file__).with_suffix(".c")
ROOT = Path(__file__).parents[2]
NAME = "libnvidia-ml.so.1"

FIRST = "GPU-00000000-aaaa-bbbb-cccc-111111111111"
SECOND = "GPU-00000000-aaaa-bbbb-cccc-222222222222"
MIG = "MIG-00000000-aaaa-bbbb-cccc-333333333333"
INSTANCE = 2  # the MIG instance's index in `Fake`, after the two cards

# The readings of the first card.
FACTS: dict[str, Any] = {
    "name": "Fake H100",
    "uuid": FIRST,
    "driver_version": "580.65.06",
    "driver_cuda_version": "13.0",
    "memory_bytes": 85899345920,
    "power_limit_watts": 700.0,
    "default_power_limit_watts": 650.0,
    "max_sm_clock_mhz": 1980,
    "max_memory_clock_mhz": 2619,
    "ecc_enabled": True,
    "mig_enabled": False,
    "persistence_enabled": True,
    "compute_mode": "exclusive_process",
}
MOMENT: dict[str, Any] = {
    "memory_used_bytes": 536871040,
    "power_watts": 123.45,
    "power_instant_watts": 130.5,
    "energy_joules": 5000.0,
    "sm_clock_mhz": 1755,
    "memory_clock_mhz": 2618,
    "temperature_celsius": 41,
    "throttle_reasons": ["sw_power_cap"],
    "clock_settings": [],
    "uncorrected_ecc_errors": 3,
}


def build(folder: Path, without: Sequence[str] = ()) -> Path:
    """Build the library in a folder, without some functions; skips the test if it can't be compiled."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc to build the fake NVML library")
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / NAME
    left_out = [f"-D{name}=left_out_{name}" for name in without]
    flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, *left_out, "-o", str(library), str(SOURCE)], check=True)
    return library


def environment(folder: Path) -> dict[str, str]:
    """The environment in which a process finds the library of a folder before any other."""
    elsewhere = os.environ.get("LD_LIBRARY_PATH")
    return os.environ | {"LD_LIBRARY_PATH": f"{folder}:{elsewhere}" if elsewhere else str(folder)}


def run(folder: Path, drive: Callable[..., Any], *arguments: Any) -> Any:
    """Call a module's function in a new process with a `Fake` and then the arguments, and return its result."""
    code = f"""
import json
from {drive.__module__} import {drive.__qualname__} as drive
from tests.doubles.fake_nvml import Fake
print(json.dumps(drive(Fake(), *json.loads({json.dumps(json.dumps(arguments))}))))
"""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(folder), capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def why(call: Callable[[], object]) -> str:
    """The reason why a call has no answer, or "" if it has one."""
    try:
        call()
    except Unavailable as reason:
        return str(reason)
    return ""


class Fake:
    """Controls of the fake library, which is loaded at the first use."""

    @cached_property
    def _library(self) -> ctypes.CDLL:
        library = ctypes.CDLL(NAME)  # the copy that pynvml loads by this name too
        library.fake_function.restype = ctypes.c_char_p
        library.fake_number.restype = ctypes.c_char_p
        library.fake_run.argtypes = [ctypes.c_int, ctypes.c_uint, ctypes.c_ulonglong]
        return library

    def reset(self) -> None:
        """Return to the initial state."""
        self._library.fake_reset()

    def fail(self, function: str, code: int) -> None:
        """Let a function of the library answer with an error code from now on."""
        self._library.fake_fail(function.encode(), code)

    def lose(self, card: int) -> None:
        """Let a GPU fall off the bus."""
        self._library.fake_lose(card)

    def rename(self, card: int, name: bytes) -> None:
        """Give a GPU another name."""
        self._library.fake_name(card, name)

    def start(self, card: int, pid: int, used: int) -> None:
        """Add a process to a card's list."""
        self._library.fake_run(card, pid, used)

    def stop_all(self, card: int) -> None:
        """Remove all processes from a card's list."""
        self._library.fake_stop_all(card)

    def set(self, card: int, number: str, value: int) -> None:
        """Set a number of a card."""
        if self._library.fake_set(card, number.encode(), ctypes.c_ulonglong(value)):
            raise KeyError(number)

    def numbers(self) -> list[str]:
        """The names of all numbers that can be set."""
        return self._names(self._library.fake_number)

    def functions(self) -> list[str]:
        """The names of all functions called so far in this process."""
        return self._names(self._library.fake_function)

    def called(self, call: Callable[[], object]) -> list[str]:
        """The library's functions that a call uses."""
        self._library.fake_forget_calls()
        call()
        return [name for index, name in enumerate(self.functions()) if self._library.fake_calls(index)]

    @staticmethod
    def _names(at: Callable[[int], bytes | None]) -> list[str]:
        names: list[str] = []
        while (name := at(len(names))) is not None:
            names.append(name.decode())
        return names
