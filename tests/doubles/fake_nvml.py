"""A fake driver under the real nvidia-ml-py: two cards and a MIG instance of the first."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pynvml  # type: ignore[import-untyped]
import pytest

FIRST, SECOND, INSTANCE = "aaaa-1111", "aaaa-2222", "aaaa-3333"
# The readings of the first card.
FACTS: dict[str, Any] = {"name": "Fake H100", "driver_version": "580.65.06"}
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


class Card:
    """What NVML knows of a card, in its units; a function's name in `refused` makes it fail with that code."""

    def __init__(self, uuid: str, name: str) -> None:
        self.uuid, self.name = uuid, name
        self.used, self.power, self.energy, self.energy_step = 536871040, 123450, 5000000, 0
        self.clock, self.temperature, self.reasons, self.thermal = 1755, 41, 0x4, 1_500_000_000
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


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "nvmlDeviceGetName": lambda card: card.name,
    "nvmlDeviceGetMemoryInfo": lambda card: SimpleNamespace(used=card.used),
    "nvmlDeviceGetPowerUsage": lambda card: card.power,
    "nvmlDeviceGetTotalEnergyConsumption": Card.count_energy,
    "nvmlDeviceGetClockInfo": lambda card, kind: {pynvml.NVML_CLOCK_SM: card.clock}[kind],
    "nvmlDeviceGetTemperature": lambda card, sensor: {pynvml.NVML_TEMPERATURE_GPU: card.temperature}[sensor],
    "nvmlDeviceGetCurrentClocksEventReasons": lambda card: card.reasons,
    "nvmlDeviceGetViolationStatus": Card.violation,
    "nvmlDeviceGetComputeRunningProcesses": lambda card: [
        SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in card.processes
    ],
}


class Driver:
    """The driver's cards."""

    def __init__(self) -> None:
        self.cards = [Card(FIRST, "Fake H100"), Card(SECOND, "Fake H200")]
        self.instances = [Card(INSTANCE, "Fake H100 MIG 1g.10gb")]

    def install(self, monkeypatch: pytest.MonkeyPatch) -> "Driver":
        """Put the driver below nvidia-ml-py."""
        for name in FUNCTIONS:
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
        self.cards[card].refused = dict.fromkeys(["open", *FUNCTIONS], pynvml.NVML_ERROR_GPU_IS_LOST)

    def _by_uuid(self, uuid: str) -> Any:
        known = {f"GPU-{card.uuid}": card for card in self.cards} | {
            f"MIG-{card.uuid}": card for card in self.instances
        }
        if uuid not in known:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return self._ask(known[uuid], "open")

    @staticmethod
    def _ask(card: Any, name: str, *rest: Any) -> Any:
        if code := card.refused.get(name):
            raise pynvml.NVMLError(code)
        return card if name == "open" else FUNCTIONS[name](card, *rest)
