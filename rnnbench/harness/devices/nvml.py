"""What NVML, NVIDIA's management library, reports about a GPU. A new reading is a line in `READINGS`.

GPUs are identified by UUID, since NVML's indices ignore `CUDA_VISIBLE_DEVICES`. Any call may fail on any machine, and
some return zero or all ones if they have no value; in both cases the reading is missing, with a reason.

Importing this module imports neither pynvml nor torch.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from rnnbench.store.metrics import Readings, Unavailable

SM_CLOCK = 1  # nvmlClockType_t
DIE = 0  # nvmlTemperatureSensors_t
THERMAL = 1  # nvmlPerfPolicyType_t
FIXED = {"name", "driver_version"}  # readings that do not change during a measurement
NO_VALUE = (0, 2**32 - 1, 2**64 - 1)
IDLE = 1 << 0
REASONS = {  # nvmlClocksEventReasons
    1 << 1: "applications_clocks_setting",
    1 << 2: "sw_power_cap",
    1 << 3: "hw_slowdown",
    1 << 4: "sync_boost",
    1 << 5: "sw_thermal_slowdown",
    1 << 6: "hw_thermal_slowdown",
    1 << 7: "hw_power_brake_slowdown",
    1 << 8: "display_clock_setting",
    1 << 9: "board_limit",
    1 << 10: "reliability",
}
SETTINGS = frozenset({"applications_clocks_setting", "display_clock_setting"})  # limits that a user set

# Reasons that are told: heat and a weak power supply come and go.
# The software power cap is not one of them: under sustained products a data-centre card is at its power limit all the
# time. The case runs like this there, for all cases alike, and would do so in the next replicate. Nor are the limits of
# the card or of a user (sync boost, board limit, reliability, settings), since they hold for every window.
SPOILING = frozenset({"hw_slowdown", "sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown"})


@dataclass(frozen=True)
class Gpu:
    """A GPU or a MIG instance, by the function of NVML that finds it; a reading that can't be taken is missing."""

    function: str
    argument: Any

    def read(self, names: Collection[str] | None = None) -> Readings:
        """Take the readings with these names, or all of them."""
        return Readings.of(
            {name: partial(read, self) for name, read in READINGS.items() if names is None or name in names}
        )

    def ask(self, function: str, *arguments: Any) -> Any:
        """Call an NVML function for this GPU; raises Unavailable."""
        return ask(function, ask(self.function, self.argument), *arguments)


def ask(function: str, *arguments: Any) -> Any:
    """Call a function of pynvml; raises Unavailable with the reason if it fails."""
    import pynvml  # type: ignore[import-untyped]

    try:
        pynvml.nvmlInit()  # it counts its calls, so another does no harm, and one that failed before may work now
        return getattr(pynvml, function)(*arguments)
    except (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError, UnicodeError) as fault:
        raise Unavailable(f"NVML: {fault}") from fault


def open_gpu(uuid: str) -> Gpu:
    """Return the GPU or MIG instance with this UUID, which torch writes without NVML's prefix."""
    function = "nvmlDeviceGetHandleByUUID"
    with suppress(Unavailable):
        ask(function, f"MIG-{uuid}")
        return Gpu(function, f"MIG-{uuid}")
    return Gpu(function, f"GPU-{uuid}")


def read_all(names: Collection[str] | None = None) -> dict[str, Any]:
    """Read every GPU that the driver lists, with a reason for each missing reading; or tell why NVML has no answer."""
    try:
        count = ask("nvmlDeviceGetCount")
    except Unavailable as reason:
        return {"gpu": str(reason)}
    by_gpu = {f"gpu {index}": Gpu("nvmlDeviceGetHandleByIndex", index).read(names) for index in range(count)}
    return {name: readings.values | {"not known": readings.missing} for name, readings in by_gpu.items()}


def _number(per: float, function: str, *arguments: Any) -> Callable[[Gpu], float]:
    """Return a reading: a number above zero, divided by `per` for the unit in the reading's name."""

    def read(gpu: Gpu) -> float:
        number = gpu.ask(function, *arguments)
        if number in NO_VALUE:
            raise Unavailable("NVML: no value")
        return float(number / per)

    return read


def _reasons(gpu: Gpu) -> list[str]:
    """Return why clocks are lower than they could be; a bit without a name here is kept as `unknown_...`."""
    bits = gpu.ask("nvmlDeviceGetCurrentClocksEventReasons")
    unnamed = bits & ~(IDLE | sum(REASONS))
    return [*(name for bit, name in REASONS.items() if bits & bit), *([f"unknown_{unnamed:#x}"] if unnamed else [])]


READINGS: Mapping[str, Callable[[Gpu], Any]] = {
    "name": lambda gpu: gpu.ask("nvmlDeviceGetName"),
    "driver_version": lambda gpu: ask("nvmlSystemGetDriverVersion"),
    "memory_used_bytes": lambda gpu: gpu.ask("nvmlDeviceGetMemoryInfo").used,
    "power_watts": _number(1e3, "nvmlDeviceGetPowerUsage"),  # the mean of a second on most cards since Ampere
    "energy_joules": _number(1e3, "nvmlDeviceGetTotalEnergyConsumption"),
    "sm_clock_mhz": _number(1, "nvmlDeviceGetClockInfo", SM_CLOCK),
    "temperature_celsius": _number(1, "nvmlDeviceGetTemperature", DIE),
    "throttle_reasons": _reasons,
    # A counter: an idle card is not held back, but it was if this has grown.
    "thermal_seconds": lambda gpu: gpu.ask("nvmlDeviceGetViolationStatus", THERMAL).violationTime / 1e9,
    # The ids of those that compute on the GPU, each once though it uses several MIG instances.
    "processes": lambda gpu: sorted({each.pid for each in gpu.ask("nvmlDeviceGetComputeRunningProcesses")}),
}
CHANGING = READINGS.keys() - FIXED
