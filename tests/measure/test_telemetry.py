"""Samples of GPUs around replicates."""

from typing import Any

import pytest

from rnnbench.measure.devices import Cuda
from rnnbench.measure.nvml import Gpu
from rnnbench.measure.telemetry import Telemetry
from rnnbench.store.readings import Readings


class Warm(Gpu):
    def sample(self) -> Readings:
        return Readings({"temperature_celsius": 61}, {"power_watts": "NVML: not supported on this device"})


def warm(device: str, uuid: str) -> Gpu:
    return Warm(None)


def test_a_sample_says_when_and_of_which_device_and_what_it_lacks() -> None:
    (line,) = Telemetry({"cuda:1": "some"}, warm).samples(3, "before", 12.34567)
    assert line == {
        "replicate": 3,
        "when": "before",
        "seconds": 12.346,
        "device": "cuda:1",
        "temperature_celsius": 61,
        "missing": {"power_watts": "NVML: not supported on this device"},
    }


def test_a_gpu_that_can_not_be_opened_answers_with_the_reason() -> None:
    gone = Cuda.monitor("GPU-that-is-nowhere")
    (line,) = Telemetry({"cuda": "lost"}, lambda device, uuid: gone).samples(0, "after", 1.0)
    missing: dict[str, Any] = line["missing"]
    assert set(missing.values()) == {gone.fault} != {""}
    assert line.keys() == {"replicate", "when", "seconds", "device", "missing"}


class Hot(Gpu):
    def sample(self) -> Readings:
        return Readings({"throttle_reasons": ["hw_thermal_slowdown"]})


def test_a_gpu_that_was_held_back_is_told_of() -> None:
    telemetry = Telemetry({"cuda": "some"}, lambda device, uuid: Hot(None))
    telemetry.samples(0, "before", 0.0)
    telemetry.samples(0, "after", 1.0)
    assert telemetry.notes() == ["cuda was held back (hw_thermal_slowdown) in 2 of 2 samples"]


def test_a_gpu_that_was_not_held_back_needs_no_note() -> None:
    telemetry = Telemetry({"cuda": "some"}, warm)
    telemetry.samples(0, "before", 0.0)
    assert telemetry.notes() == []


@pytest.mark.parametrize("uuids", [{}, {"cpu": "which has none"}])
def test_without_gpus_there_is_nothing_to_sample(uuids: dict[str, str]) -> None:
    assert Telemetry(uuids).samples(0, "before", 0.0) == []
