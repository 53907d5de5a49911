"""Samples of a GPU that a run uses, taken before each replicate and after each visit, never inside a window."""

from typing import Any

from rnnbench.harness.devices import nvml

HELD_BACK_SHARE = 0.01  # of a replicate's seconds; clocks that are held back for less change no time by more than that
HEAT = "heat, by its counter"  # a reason


class Telemetry:
    """The samples of a GPU; they say why a value can't be read."""

    def __init__(self, device: str, uuid: str) -> None:
        """`uuid`: as torch writes it."""
        self.device, self._uuid = device, uuid
        self._gpu = nvml.open_gpu(uuid)
        self._held_back: dict[str, set[int]] = {}  # reason -> replicates
        self._first: dict[str, Any] = {}  # sample of the replicate
        self._replicates: set[int] = set()

    def sample(self, replicate: int, when: str, seconds: float) -> dict[str, Any]:
        """Return a line for `telemetry.jsonl`; `when`: `before` begins a replicate; `seconds` since the run began."""
        readings = self._gpu.read(nvml.CHANGING)
        line = {
            "replicate": replicate,
            "when": when,
            "seconds": round(seconds, 3),
            "device": self.device,
            "device_uuid": self._uuid,
            **readings.values,
            "missing": readings.missing,
        }
        if when == "before":
            self._first = line
        self._replicates.add(replicate)
        reasons = {reason for reason in line.get("throttle_reasons", ()) if reason in nvml.SPOILING}
        # The card may be idle again when it is sampled, and its clocks free: the counter shows what was between.
        heat = line.get("thermal_seconds", 0.0) - self._first.get("thermal_seconds", float("inf"))
        if heat > HELD_BACK_SHARE * (line["seconds"] - self._first["seconds"]):
            reasons.add(HEAT)
        for reason in sorted(reasons):
            self._held_back.setdefault(reason, set()).add(replicate)
        return line

    def notes(self) -> list[str]:
        """Notes for the reader if the GPU's clocks were held back."""
        return [
            f"{self.device} was held back ({reason}) in {len(replicates)} of {len(self._replicates)} replicates"
            for reason, replicates in self._held_back.items()
        ]
