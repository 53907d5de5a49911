"""What the GPUs of a run say of themselves, before and after each replicate and never inside a window."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Literal

from rnnbench.measure import devices
from rnnbench.measure.devices import Monitor


def _monitor(device: str, uuid: str) -> Monitor | None:
    return devices.backend(device).monitor(uuid)


class Telemetry:
    """The samples of those devices that can be monitored; what can't be read, they say why."""

    def __init__(self, uuids: Mapping[str, str], monitor: Callable[[str, str], Monitor | None] = _monitor) -> None:
        """`uuids` by the names of the devices, as torch writes them."""
        found = {device: monitor(device, uuid) for device, uuid in uuids.items()}
        self._monitors = {device: one for device, one in found.items() if one is not None}
        self._throttled: dict[str, Counter[str]] = {device: Counter() for device in uuids}  # reason -> samples
        self._samples = 0
        self._spoilt_by: dict[str, list[str]] = {}

    def samples(self, replicate: int, when: Literal["before", "after"], seconds: float) -> list[dict[str, Any]]:
        """A line for `telemetry.jsonl` from each device; `seconds` since the run began."""
        place = {"replicate": replicate, "when": when, "seconds": round(seconds, 3)}
        lines = []
        self._samples += 1
        if when == "before":
            self._spoilt_by = {}
        for device, monitor in self._monitors.items():
            readings = monitor.sample()
            reasons = readings.values.get("throttle_reasons", ())
            self._throttled[device].update(reasons)
            if spoiling := [reason for reason in reasons if reason in monitor.spoiling]:
                self._spoilt_by.setdefault(device, []).extend(spoiling)
            lines.append({**place, "device": device, **readings.values, "missing": readings.missing})
        return lines

    def spoilt_by(self) -> str:
        """Which devices spoilt the replicate between the last samples, and what held each back; empty if none did."""
        parts = (f"{device}: {', '.join(dict.fromkeys(reasons))}" for device, reasons in self._spoilt_by.items())
        return "; ".join(parts)

    def notes(self) -> list[str]:
        """What a reader must know: devices whose clocks were held back."""
        return [
            f"{device} was held back ({reason}) in {count} of {self._samples} samples"
            for device, reasons in self._throttled.items()
            for reason, count in reasons.items()
        ]
