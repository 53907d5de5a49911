"""What NVML, NVIDIA's management library, reports about a GPU. A new reading is a line in `READINGS`.

GPUs are identified by UUID, since NVML's indices ignore `CUDA_VISIBLE_DEVICES`. Any call may fail on any machine, and
some return zero or all ones if they have no value; in both cases the reading is missing, with a reason.

A MIG instance answers little: its clocks, temperature and limits are those of its card, and are read there. A reading
that another instance has a part in is told as one of the whole card.

Importing this module imports neither pynvml nor torch.
"""

import os
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from rnnbench.store.metrics import Readings, Unavailable

SM_CLOCK = 1  # of nvmlClockType_t
MEMORY_CLOCK = 2
DIE = 0  # nvmlTemperatureSensors_t
THERMAL = 1  # nvmlPerfPolicyType_t
COMPUTE_MODES = {0: "default", 1: "exclusive thread", 2: "prohibited", 3: "exclusive process"}  # nvmlComputeMode_t
EXCLUSIVE = COMPUTE_MODES[3]  # a card that only one process may use at a time
SWITCHES = {0: "off", 1: "on"}  # nvmlEnableState_t
AFFINITY_WORDS = 64  # of 64 cores each: more than any machine has
# Readings that do not change during a measurement. They are compared between runs, but for the name of the card.
FIXED_READINGS = {
    "name",
    "driver_version",
    "memory_total_bytes",
    "power_limit_watts",
    "max_sm_clock_mhz",
    "max_memory_clock_mhz",
    "ecc",
    "mig",
    "compute_mode",
}
# Readings of a card that say nothing of one of its MIG instances.
OF_ITSELF = {"name", "memory_total_bytes", "memory_used_bytes", "energy_joules", "processes"}
WHOLE_CARD = "of_the_whole_card"  # the names of the readings that were taken of the card of an instance
NO_VALUE = (0, 2**32 - 1, 2**64 - 1)
IDLE_REASON = 1 << 0
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
SETTING_REASONS = frozenset({"applications_clocks_setting", "display_clock_setting"})  # limits that a user set

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
        """Take the readings with these names, or all of them.

        Of a MIG instance, those that it does not answer are taken of its card, and `WHOLE_CARD` names these.
        """
        wanted = [name for name in READINGS if names is None or name in names]
        of_instance = Readings.from_instruments({name: partial(READINGS[name], self) for name in wanted})
        lacking = [name for name in of_instance.missing if name not in OF_ITSELF]
        card = self.card() if lacking else None
        if card is None:
            return of_instance
        whole = Readings.from_instruments({name: partial(READINGS[name], card) for name in lacking})
        of_card = {WHOLE_CARD: sorted(whole.values)} if whole.values else {}
        missing = {name: reason for name, reason in of_instance.missing.items() if name not in whole.values}
        values = of_instance.values | whole.values
        in_order = {name: values[name] for name in wanted if name in values}
        return Readings(in_order | of_card, missing)

    def card(self) -> "Gpu | None":
        """Return the card of a MIG instance; None for a card itself."""
        with suppress(Unavailable):
            if self.ask("nvmlDeviceIsMigDeviceHandle"):
                return Gpu("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", self)
        return None

    def ask(self, function: str, *arguments: Any) -> Any:
        """Call an NVML function for this GPU; raises Unavailable."""
        return ask(function, self._handle(), *arguments)

    def _handle(self) -> Any:
        argument = self.argument._handle() if isinstance(self.argument, Gpu) else self.argument
        return ask(self.function, argument)


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


def listed() -> list[Gpu]:
    """Return every GPU that the driver lists; raises Unavailable if NVML has no answer."""
    return [Gpu("nvmlDeviceGetHandleByIndex", index) for index in range(ask("nvmlDeviceGetCount"))]


def visible() -> list[Gpu]:
    """Return the GPUs and MIG instances that CUDA shows to this process, in CUDA's order.

    `CUDA_VISIBLE_DEVICES` says which. Raises Unavailable if NVML has no answer, or if CUDA may number unlike cards in
    another order than NVML does.
    """
    cards = listed()
    text = os.environ.get("CUDA_VISIBLE_DEVICES")
    if text is None:
        _refuse_other_order(cards)
        return cards
    chosen: list[Gpu] = []
    for part in map(str.strip, text.split(",")):
        card = _named(part, cards)
        if card is None:  # CUDA ignores what comes after a name that it does not know
            break
        if card in chosen:  # CUDA shows no card at all then
            return []
        chosen.append(card)
    if re.match(r"\s*\d", text):
        _refuse_other_order(cards)
    return chosen


def _named(part: str, cards: list[Gpu]) -> Gpu | None:
    """Return the card that a part of `CUDA_VISIBLE_DEVICES` means: a number, or how a UUID begins; None if none is."""
    if part.startswith("MIG-"):
        return Gpu("nvmlDeviceGetHandleByUUID", part)
    if part.startswith("GPU-"):
        return next((card for card in cards if str(card.ask("nvmlDeviceGetUUID")).startswith(part)), None)
    number = re.match(r"\d+", part)
    return cards[int(number[0])] if number and int(number[0]) < len(cards) else None


def _refuse_other_order(cards: list[Gpu]) -> None:
    """Raise Unavailable if CUDA may number the cards in another order than NVML: the fastest first, unless told."""
    if (
        os.environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID"
        and len({card.ask("nvmlDeviceGetName") for card in cards}) > 1
    ):
        raise Unavailable(
            "the machine has unlike cards, which CUDA and NVML number differently without CUDA_DEVICE_ORDER=PCI_BUS_ID"
        )


def near_cores(gpu: Gpu) -> list[int]:
    """Return the cores of the host that are nearest to a GPU; raises Unavailable."""
    near = gpu.card() or gpu
    words = near.ask("nvmlDeviceGetCpuAffinity", AFFINITY_WORDS)
    return [64 * place + bit for place, word in enumerate(words) for bit in range(64) if word >> bit & 1]


def read_all(names: Collection[str] | None = None, *, only_visible: bool = False) -> dict[str, Any]:
    """Read every GPU that the driver lists, with a reason for each missing reading; or tell why NVML has no answer.

    `only_visible`: only those that CUDA shows to this process, if that is known.
    """
    try:
        cards = listed()
    except Unavailable as reason:
        return {"gpu": str(reason)}
    gpus = {f"gpu {index}": card for index, card in enumerate(cards)}
    if only_visible:
        with suppress(Unavailable):
            shown = visible()
            instances = {f"gpu {gpu.argument}": gpu for gpu in shown if gpu not in cards}
            gpus = {name: card for name, card in gpus.items() if card in shown} | instances
    if not gpus:
        return {"gpu": "CUDA_VISIBLE_DEVICES shows no GPU to this process" if cards else "NVML lists no GPU"}
    readings = {name: gpu.read(names) for name, gpu in gpus.items()}
    return {name: taken.values | {"not known": taken.missing} for name, taken in readings.items()}


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
    unnamed = bits & ~(IDLE_REASON | sum(REASONS))
    return [*(name for bit, name in REASONS.items() if bits & bit), *([f"unknown_{unnamed:#x}"] if unnamed else [])]


READINGS: Mapping[str, Callable[[Gpu], Any]] = {
    "name": lambda gpu: gpu.ask("nvmlDeviceGetName"),
    "driver_version": lambda gpu: ask("nvmlSystemGetDriverVersion"),
    "memory_total_bytes": lambda gpu: gpu.ask("nvmlDeviceGetMemoryInfo").total,
    "power_limit_watts": _number(1e3, "nvmlDeviceGetEnforcedPowerLimit"),
    "max_sm_clock_mhz": _number(1, "nvmlDeviceGetMaxClockInfo", SM_CLOCK),
    "max_memory_clock_mhz": _number(1, "nvmlDeviceGetMaxClockInfo", MEMORY_CLOCK),
    "ecc": lambda gpu: SWITCHES.get(gpu.ask("nvmlDeviceGetEccMode")[0], "unknown"),  # now, not after the next boot
    "mig": lambda gpu: SWITCHES.get(gpu.ask("nvmlDeviceGetMigMode")[0], "unknown"),
    "compute_mode": lambda gpu: COMPUTE_MODES.get(gpu.ask("nvmlDeviceGetComputeMode"), "unknown"),
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
CHANGING = READINGS.keys() - FIXED_READINGS
