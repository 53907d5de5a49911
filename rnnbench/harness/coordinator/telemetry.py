"""Samples of a GPU that a run uses, taken before each replicate and after each visit, never inside a window."""

from collections import Counter
from typing import Any

from rnnbench.harness.devices import nvml

SPOILING_SHARE = 0.01  # of a replicate's seconds; clocks that are held back for less change no time by more than that
MAX_REPEATS = 3  # in a run: a card that is always hot is measured anyway, and a note says so
HEAT = "heat, by its counter"  # a reason


class Telemetry:
    """The samples of a GPU; they say why a value can't be read."""

    def __init__(self, device: str, uuid: str) -> None:
        """`uuid`: as torch writes it."""
        self.device, self._uuid = device, uuid
        self._gpu = nvml.open_gpu(uuid)
        self._held_back: Counter[str] = Counter()  # reason -> replicates
        self._replicates = 0
        self._first: dict[str, Any] = {}  # sample of the replicate
        self.spoilt_by: list[str] = []  # what held the GPU back in the replicate, which then can't count

    def sample(self, replicate: int, when: str, seconds: float) -> dict[str, Any]:
        """Return a line for `telemetry.jsonl`; `when`: `before` begins a replicate; `seconds` since the run began."""
        readings = self._gpu.sample()
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
            self._first, self.spoilt_by = line, []
            self._replicates += 1
        reasons = [reason for reason in line.get("throttle_reasons", ()) if reason in nvml.SPOILING]
        # The card may be idle again when it is sampled, and its clocks free: the counter shows what was between.
        heat = line.get("thermal_seconds", 0.0) - self._first.get("thermal_seconds", float("inf"))
        if heat > SPOILING_SHARE * (line["seconds"] - self._first["seconds"]):
            reasons.append(HEAT)
        new = [reason for reason in reasons if reason not in self.spoilt_by]
        self.spoilt_by += new
        self._held_back.update(new)
        return line

    def notes(self) -> list[str]:
        """Notes for the reader if the GPU's clocks were held back."""
        return [
            f"{self.device} was held back ({reason}) in {count} of {self._replicates} replicates"
            for reason, count in self._held_back.items()
        ]


class Repeats:
    """The remaining number of repeats, and what happened to every spoilt replicate."""

    def __init__(self, made: int = 0) -> None:
        """`made`: repeats in an earlier part of the run."""
        self._left = MAX_REPEATS - made
        self._repeated: Counter[str] = Counter()  # reason -> count
        self._kept: Counter[str] = Counter()

    def grant(self, why: str, *, in_time: bool) -> bool:
        """Whether to repeat a spoilt replicate; `in_time`: whether there is time for it."""
        granted = in_time and self._left > 0
        self._left -= granted
        (self._repeated if granted else self._kept)[why] += 1
        return granted

    def notes(self) -> list[str]:
        """Notes for the reader of the run."""
        repeated = (f"{count} repeated, since clocks were held back ({why})" for why, count in self._repeated.items())
        limits = f"at most {MAX_REPEATS} are, and while there is time"
        kept = (f"{count} not repeated, though held back ({why}): {limits}" for why, count in self._kept.items())
        return [f"replicates: {note}" for note in (*repeated, *kept)]
