"""A fake driver under the real nvidia-ml-py: two cards, and a MIG instance of the first, which answers little."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pynvml  # type: ignore[import-untyped]
import pytest

FIRST, SECOND, INSTANCE = "aaaa-1111", "aaaa-2222", "aaaa-3333"
# The readings of the first card.
FACTS: dict[str, Any] = {
    "name": "Fake H100",
    "driver_version": "580.65.06",
    "memory_total_bytes": 80 << 30,
    "power_limit_watts": 700.0,
    "max_sm_clock_mhz": 1980.0,
    "max_memory_clock_mhz": 2619.0,
    "ecc": "on",
    "mig": "off",
    "compute_mode": "default",
}
MOMENT: dict[str, Any] = {
    "memory_used_bytes": 536871040,
    "power_watts": 123.45,
    "energy_joules": 5000.0,
    "sm_clock_mhz": 1755.0,
    "temperature_celsius": 41.0,
    "throttle_reasons": ["sw_power_cap"],
    "thermal_seconds": 1.5,
    "processes": [],
}
NEAR = (0, 1, 2, 3, 64, 65)  # the cores of the host that are nearest to the first card


class Card:
    """What NVML knows of a card, in its units; a function's name in `refused` makes it fail with that code."""

    parent: "Card | None" = None

    def __init__(self, uuid: str, name: str, prefix: str = "GPU-") -> None:
        self.uuid = f"{prefix}{uuid}"
        self.name = name
        self.used, self.power, self.energy, self.energy_step = 536871040, 123450, 5000000, 0
        self.clock, self.temperature, self.reasons, self.thermal = 1755, 41, 0x4, 1_500_000_000
        self.total = 80 << 30
        self.limit = 700_000
        self.clocks = {pynvml.NVML_CLOCK_SM: 1980, pynvml.NVML_CLOCK_MEM: 2619}
        self.ecc = pynvml.NVML_FEATURE_ENABLED
        self.mig = 0
        self.mode = pynvml.NVML_COMPUTEMODE_DEFAULT
        self.near: Sequence[int] = NEAR
        self.processes: list[tuple[int, int | None]] = []
        self.refused: dict[str, int] = {}

    def count_energy(self) -> int:
        """The counter, which has grown at the next reading."""
        self.energy += self.energy_step
        return self.energy - self.energy_step

    def violation(self, policy: int) -> Any:
        """How long clocks were held back, by heat only."""
        assert policy == pynvml.NVML_PERF_POLICY_THERMAL
        return SimpleNamespace(violationTime=self.thermal)

    def affinity(self, words: int) -> list[int]:
        """The nearest cores as bits of words."""
        return [sum(1 << core - 64 * word for core in self.near if core // 64 == word) for word in range(words)]


# Those of readings.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "nvmlDeviceGetName": lambda card: card.name,
    "nvmlDeviceGetMemoryInfo": lambda card: SimpleNamespace(used=card.used, total=card.total),
    "nvmlDeviceGetPowerUsage": lambda card: card.power,
    "nvmlDeviceGetTotalEnergyConsumption": Card.count_energy,
    "nvmlDeviceGetClockInfo": lambda card, kind: {pynvml.NVML_CLOCK_SM: card.clock}[kind],
    "nvmlDeviceGetMaxClockInfo": lambda card, kind: card.clocks[kind],
    "nvmlDeviceGetTemperature": lambda card, sensor: {pynvml.NVML_TEMPERATURE_GPU: card.temperature}[sensor],
    "nvmlDeviceGetCurrentClocksEventReasons": lambda card: card.reasons,
    "nvmlDeviceGetViolationStatus": Card.violation,
    "nvmlDeviceGetEnforcedPowerLimit": lambda card: card.limit,
    "nvmlDeviceGetEccMode": lambda card: [card.ecc, pynvml.NVML_FEATURE_DISABLED],  # now, and after the next boot
    "nvmlDeviceGetMigMode": lambda card: [card.mig, pynvml.NVML_FEATURE_ENABLED],
    "nvmlDeviceGetComputeMode": lambda card: card.mode,
    "nvmlDeviceGetComputeRunningProcesses": lambda card: [
        SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in card.processes
    ],
}
OTHERS: dict[str, Callable[..., Any]] = {
    "nvmlDeviceGetUUID": lambda card: card.uuid,
    "nvmlDeviceGetCpuAffinity": Card.affinity,
    "nvmlDeviceIsMigDeviceHandle": lambda card: int(card.parent is not None),
    "nvmlDeviceGetDeviceHandleFromMigDeviceHandle": lambda card: card.parent,
}
# All that an instance answers: NVML has no clocks, power, temperature or limits of a part of a card.
OF_AN_INSTANCE = {"nvmlDeviceGetName", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetComputeRunningProcesses"}


class Instance(Card):
    """A MIG instance of a card."""

    def __init__(self, uuid: str, name: str, parent: Card) -> None:
        super().__init__(uuid, name, "MIG-")
        self.parent = parent
        self.total = 10 << 30
        self.near = ()  # which it would tell, if it were asked
        lacking = {*FUNCTIONS, "nvmlDeviceGetCpuAffinity"} - OF_AN_INSTANCE
        self.refused = dict.fromkeys(lacking, pynvml.NVML_ERROR_NOT_SUPPORTED)
        self.refused["nvmlDeviceGetClockInfo"] = pynvml.NVML_ERROR_INVALID_ARGUMENT


class Driver:
    """The driver's cards."""

    def __init__(self) -> None:
        self.cards = [Card(FIRST, "Fake H100"), Card(SECOND, "Fake H200")]
        self.instances = [Instance(INSTANCE, "Fake H100 MIG 1g.10gb", self.cards[0])]

    def install(self, monkeypatch: pytest.MonkeyPatch) -> "Driver":
        """Put the driver below nvidia-ml-py."""
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        for name in FUNCTIONS | OTHERS:
            monkeypatch.setattr(pynvml, name, lambda card, *rest, name=name: self._ask(card, name, *rest))
        for name, function in {
            "nvmlInit": lambda: None,
            "nvmlSystemGetDriverVersion": lambda: "580.65.06",
            "nvmlDeviceGetCount": lambda: len(self.cards),
            "nvmlDeviceGetHandleByIndex": lambda index: self._ask(self.cards[index], "open"),
            "nvmlDeviceGetHandleByUUID": self._by_uuid,
        }.items():
            monkeypatch.setattr(pynvml, name, function)
        return self

    def lose(self, card: int) -> None:
        """Let a GPU fall off the bus."""
        self.cards[card].refused = dict.fromkeys(["open", *FUNCTIONS, *OTHERS], pynvml.NVML_ERROR_GPU_IS_LOST)

    def _by_uuid(self, uuid: str) -> Any:
        cards_by_uuid = {card.uuid: card for card in [*self.cards, *self.instances]}
        if uuid not in cards_by_uuid:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return self._ask(cards_by_uuid[uuid], "open")

    @staticmethod
    def _ask(card: Any, name: str, *rest: Any) -> Any:
        if code := card.refused.get(name):
            raise pynvml.NVMLError(code)
        return card if name == "open" else (FUNCTIONS | OTHERS)[name](card, *rest)
