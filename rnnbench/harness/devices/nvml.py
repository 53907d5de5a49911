"""What NVML, NVIDIA's management library, reports about a GPU. A new reading is a line in `DESCRIBED` or `SAMPLED`.

GPUs are identified by UUID, since NVML's indices ignore `CUDA_VISIBLE_DEVICES`. Any call may fail on any machine, and
some return zero or all ones if they have no value; in both cases the reading is missing, with a reason.

Importing this module does not import pynvml.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from rnnbench.harness.devices import nvml_answers
from rnnbench.harness.devices.nvml_answers import CELSIUS, ERRORS, JOULES, MEGAHERTZ, WATTS, believe
from rnnbench.harness.devices.nvml_calls import (
    FUNCTION_NOT_FOUND,
    GPU_NOT_FOUND,
    INVALID_ARGUMENT,
    NOT_FOUND,
    NOT_SUPPORTED,
    NvmlError,
    ask,
)
from rnnbench.store.readings import Readings, Unavailable

MAX_GPUS = 1024
SM, MEMORY = 1, 2  # nvmlClockType_t
DIE = 0  # nvmlTemperatureSensors_t
POWER_INSTANT = 186  # a field of nvmlDeviceGetFieldValues
UNCORRECTED, VOLATILE = 1, 0  # nvmlMemoryErrorType_t; nvmlEccCounterType_t: since the driver was loaded


@dataclass(frozen=True)
class Gpu:
    """A GPU or a MIG instance; if it could not be opened, every reading is missing with the reason `fault`."""

    handle: Any
    fault: str = ""

    @property
    def spoiling(self) -> frozenset[str]:
        """The throttle reasons under which windows do not count."""
        return nvml_answers.SPOILING

    def describe(self) -> Readings:
        """Take the readings that do not change during a measurement."""
        return Readings.of({name: partial(read, self) for name, read in DESCRIBED.items()})

    def sample(self) -> Readings:
        """Take the readings that change over time."""
        return Readings.of({name: partial(read, self) for name, read in SAMPLED.items()})

    def stand(self) -> Readings:
        """All readings, and the ids of the `processes` that compute on the GPU."""
        processes = partial(self.ask, "nvmlDeviceGetComputeRunningProcesses")
        others = {"processes": lambda: sorted({process.pid for process in processes()})}
        return self.describe() | self.sample() | Readings.of(others)

    def energy_joules(self) -> float:
        """The energy counter in joules, which starts when the driver is loaded."""
        joules: float = SAMPLED["energy_joules"](self)
        return joules

    def process_bytes(self, pid: int) -> int:
        """The memory of a process according to the driver, over all MIG instances that it uses."""
        processes = self.ask("nvmlDeviceGetComputeRunningProcesses")
        used = [process.usedGpuMemory for process in processes if process.pid == pid]
        if not used:
            raise Unavailable(f"NVML lists no process {pid} on this GPU (in a container process ids differ)")
        if None in used:
            raise Unavailable("NVML: this driver keeps no account of a process's memory (as under Windows' WDDM)")
        # Even a bare CUDA context takes memory: 0 means that the driver can't resolve the process of a container.
        return sum(believe(part, 1, nvml_answers.MAX_BYTES) for part in used)

    def is_mig(self) -> bool:
        """Whether this is a MIG instance rather than a whole card."""
        try:
            answer = self.ask("nvmlDeviceIsMigDeviceHandle")
            return bool(getattr(answer, "value", answer))  # pynvml returns the C integer itself
        except NvmlError as refusal:
            if refusal.code in (FUNCTION_NOT_FOUND, NOT_SUPPORTED):  # the library or the GPU is older than MIG
                return False
            raise

    def ask(self, function: str, *arguments: Any) -> Any:
        """Call an NVML function for this GPU; raises Unavailable."""
        if self.fault:
            raise Unavailable(self.fault)
        return ask(function, self.handle, *arguments)


def open_gpu(uuid: str) -> Gpu:
    """Open the GPU or MIG instance with this UUID: NVML's form (`GPU-...`, `MIG-...`) or torch's, without a prefix."""
    ask("nvmlInit")  # it counts its calls, so another does no harm, and one that failed before may work now
    for name in [uuid] if uuid.startswith(("GPU-", "MIG-")) else [f"GPU-{uuid}", f"MIG-{uuid}"]:
        try:
            return Gpu(ask("nvmlDeviceGetHandleByUUID", name))
        except NvmlError as refusal:
            if refusal.code not in (NOT_FOUND, INVALID_ARGUMENT, GPU_NOT_FOUND):
                raise
    raise Unavailable(f"NVML lists no GPU and no MIG instance of UUID {uuid}")


def open_gpus() -> list[Gpu]:
    """Open every GPU that the driver lists, whole cards only; one that can't be opened answers with the reason."""
    ask("nvmlInit")
    return [_open_at(index) for index in range(believe(ask("nvmlDeviceGetCount"), 0, MAX_GPUS))]


def _open_at(index: int) -> Gpu:
    try:
        return Gpu(ask("nvmlDeviceGetHandleByIndex", index))
    except Unavailable as reason:
        return Gpu(None, str(reason))


@dataclass(frozen=True)
class Reader:
    """Asks NVML for one value and accepts only a plausible answer."""

    function: str
    take: Callable[[Any], Any]
    arguments: tuple[Any, ...] = ()
    instead: str = ""  # the function to call if `function` does not exist
    of_card: str = ""  # "... is": for the reason, if only the whole card has this value and not a MIG instance

    def __call__(self, gpu: Gpu) -> Any:
        """The reading of a GPU; raises Unavailable."""
        if self.of_card and gpu.is_mig():
            raise Unavailable(f"MIG: {self.of_card} the whole card's")
        try:
            return self.take(gpu.ask(self.function, *self.arguments))
        except NvmlError as refusal:
            if not self.instead or refusal.code != FUNCTION_NOT_FOUND:
                raise
        return self.take(gpu.ask(self.instead, *self.arguments))


def _mig_enabled(gpu: Gpu) -> bool:
    return gpu.is_mig() or nvml_answers.switch(gpu.ask("nvmlDeviceGetMigMode"))


DESCRIBED: Mapping[str, Callable[[Gpu], Any]] = {
    "name": Reader("nvmlDeviceGetName", nvml_answers.text),
    "uuid": Reader("nvmlDeviceGetUUID", nvml_answers.text),
    "driver_version": lambda _: nvml_answers.text(ask("nvmlSystemGetDriverVersion")),
    "driver_cuda_version": lambda _: nvml_answers.cuda_version(ask("nvmlSystemGetCudaDriverVersion")),
    "memory_bytes": Reader("nvmlDeviceGetMemoryInfo", nvml_answers.total_bytes),
    "power_limit_watts": Reader("nvmlDeviceGetEnforcedPowerLimit", WATTS, of_card="the power limit is"),
    "default_power_limit_watts": Reader(
        "nvmlDeviceGetPowerManagementDefaultLimit", WATTS, of_card="the power limit is"
    ),
    "max_sm_clock_mhz": Reader("nvmlDeviceGetMaxClockInfo", MEGAHERTZ, (SM,), of_card="the clock is"),
    "max_memory_clock_mhz": Reader("nvmlDeviceGetMaxClockInfo", MEGAHERTZ, (MEMORY,), of_card="the clock is"),
    "ecc_enabled": Reader("nvmlDeviceGetEccMode", nvml_answers.switch),
    "mig_enabled": _mig_enabled,
    "persistence_enabled": Reader("nvmlDeviceGetPersistenceMode", nvml_answers.switch),
    "compute_mode": Reader("nvmlDeviceGetComputeMode", nvml_answers.compute_mode),
}

_clock_reasons = partial(
    Reader,
    "nvmlDeviceGetCurrentClocksEventReasons",
    instead="nvmlDeviceGetCurrentClocksThrottleReasons",  # its name before driver 535
    of_card="the clock is",
)
SAMPLED: Mapping[str, Callable[[Gpu], Any]] = {
    "memory_used_bytes": Reader("nvmlDeviceGetMemoryInfo", nvml_answers.used_bytes),
    "power_watts": Reader("nvmlDeviceGetPowerUsage", WATTS, of_card="power is"),
    # `power_watts` is the mean of one second on most cards since Ampere.
    "power_instant_watts": Reader(
        "nvmlDeviceGetFieldValues", nvml_answers.field_watts, ([POWER_INSTANT],), of_card="power is"
    ),
    "energy_joules": Reader("nvmlDeviceGetTotalEnergyConsumption", JOULES, of_card="energy is"),
    "sm_clock_mhz": Reader("nvmlDeviceGetClockInfo", MEGAHERTZ, (SM,), of_card="the clock is"),
    "memory_clock_mhz": Reader("nvmlDeviceGetClockInfo", MEGAHERTZ, (MEMORY,), of_card="the clock is"),
    "temperature_celsius": Reader(
        "nvmlDeviceGetTemperature",
        CELSIUS,
        (DIE,),
        instead="nvmlDeviceGetTemperatureV",  # its successor when CUDA 14 removes it
        of_card="temperature is",
    ),
    "throttle_reasons": _clock_reasons(nvml_answers.throttle_reasons),
    "clock_settings": _clock_reasons(nvml_answers.clock_settings),
    "uncorrected_ecc_errors": Reader("nvmlDeviceGetTotalEccErrors", ERRORS, (UNCORRECTED, VOLATILE)),
}
