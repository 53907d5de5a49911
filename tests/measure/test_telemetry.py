"""Samples of GPUs around replicates."""

from typing import Any, ClassVar

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


class Scripted(Gpu):
    """Held back as the test says, sample by sample."""

    script: ClassVar[list[list[str]]] = []

    def sample(self) -> Readings:
        return Readings({"throttle_reasons": self.script.pop(0)})


@pytest.mark.parametrize(
    ("before", "after", "spoilt_by"),
    [
        ([], [], ""),
        (["sw_power_cap"], ["sw_power_cap"], ""),  # how a card runs that is at full load
        (["sync_boost", "board_limit", "reliability", "unknown_0x800"], [], ""),
        (["hw_thermal_slowdown"], [], "cuda: hw_thermal_slowdown"),
        ([], ["sw_power_cap", "sw_thermal_slowdown"], "cuda: sw_thermal_slowdown"),
        (["hw_slowdown"], ["hw_slowdown", "hw_power_brake_slowdown"], "cuda: hw_slowdown, hw_power_brake_slowdown"),
    ],
)
def test_heat_and_a_weak_supply_spoil_a_replicate_and_the_power_limit_does_not(
    before: list[str], after: list[str], spoilt_by: str
) -> None:
    Scripted.script = [before, after, [], []]
    telemetry = Telemetry({"cuda": "some"}, lambda device, uuid: Scripted(None))
    telemetry.samples(0, "before", 0.0)
    telemetry.samples(0, "after", 1.0)
    assert telemetry.spoilt_by() == spoilt_by
    telemetry.samples(1, "before", 2.0)
    telemetry.samples(1, "after", 3.0)
    assert telemetry.spoilt_by() == ""
