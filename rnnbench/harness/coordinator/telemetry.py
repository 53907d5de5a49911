"""Samples of a run's device, taken before and after each replicate and never inside a window."""

from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

from rnnbench.harness import devices
from rnnbench.harness.devices import Monitor


def _monitor(device: str, uuid: str) -> Monitor | None:
    return devices.backend(device).monitor(uuid)


class Telemetry:
    """The samples of a device, if it can be monitored; they say why a value can't be read."""

    def __init__(self, device: str, uuid: str | None, monitor: Callable[[str, str], Monitor | None] = _monitor) -> None:
        """`uuid`: as torch writes it."""
        self._device, self._uuid = device, uuid
        self._monitor = monitor(device, uuid) if uuid else None
        self._held_back: Counter[str] = Counter()  # reason -> samples
        self._samples = 0
        self.spoilt_by: list[str] = []  # what held the device back in the last replicate, which then can't count

    def sample(self, replicate: int, when: Literal["before", "after"], seconds: float) -> dict[str, Any] | None:
        """A line for `telemetry.jsonl`; `seconds` since the run began."""
        if self._monitor is None:
            return None
        readings = self._monitor.sample()
        reasons = readings.values.get("throttle_reasons", ())
        spoiling = [reason for reason in reasons if reason in self._monitor.spoiling]
        self.spoilt_by = list(dict.fromkeys([*(self.spoilt_by if when == "after" else ()), *spoiling]))
        self._held_back.update(reasons)
        self._samples += 1
        moment = {"replicate": replicate, "when": when, "seconds": round(seconds, 3)}
        identity = {"device": self._device, "device_uuid": self._uuid}
        return {**moment, **identity, **readings.values, "missing": readings.missing}

    def notes(self, name: str) -> list[str]:
        """Notes for the reader if the device's clocks were held back; `name` is how they call the device."""
        return [
            f"{name} was held back ({reason}) in {count} of {self._samples} samples"
            for reason, count in self._held_back.items()
        ]
