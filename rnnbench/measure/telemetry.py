"""What the GPUs of a run say of themselves, before and after each replicate and never inside a window."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Literal

from rnnbench.measure.nvml import Gpu, open_gpu
from rnnbench.store.readings import Readings, Unavailable


class Telemetry:
    """NVML's samples of some devices; where NVML can't say anything, the samples say why."""

    def __init__(self, uuids: Mapping[str, str], open_: Callable[[str], Gpu] = open_gpu) -> None:
        """`uuids` by the names of the devices, as torch writes them."""
        self._gpus = {device: _opened(uuid, open_) for device, uuid in uuids.items()}
        self._throttled: dict[str, Counter[str]] = {device: Counter() for device in uuids}  # reason -> samples
        self._samples = 0

    def samples(self, replicate: int, when: Literal["before", "after"], seconds: float) -> list[dict[str, Any]]:
        """A line for `telemetry.jsonl` from each device; `seconds` since the run began."""
        place = {"replicate": replicate, "when": when, "seconds": round(seconds, 3)}
        lines = []
        self._samples += 1
        for device, gpu in self._gpus.items():
            readings: Readings = gpu.sample()
            self._throttled[device].update(readings.values.get("throttle_reasons", ()))
            lines.append({**place, "device": device, **readings.values, "missing": readings.missing})
        return lines

    def notes(self) -> list[str]:
        """What a reader must know: devices whose clocks were held back."""
        return [
            f"{device} was held back ({reason}) in {count} of {self._samples} samples"
            for device, reasons in self._throttled.items()
            for reason, count in reasons.items()
        ]


def _opened(uuid: str, open_: Callable[[str], Gpu]) -> Gpu:
    try:
        return open_(uuid)
    except Unavailable as reason:
        return Gpu(None, str(reason))
