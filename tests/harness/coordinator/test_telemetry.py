"""Samples of GPUs around replicates."""

from typing import Any, ClassVar

import pytest

from rnnbench.harness.coordinator.telemetry import Telemetry
from rnnbench.harness.devices import Cuda
from rnnbench.harness.devices.nvml import Gpu
from rnnbench.store.readings import Readings


class Warm(Gpu):
    def sample(self) -> Readings:
        return Readings({"temperature_celsius": 61}, {"power_watts": "NVML: not supported on this device"})


def warm(device: str, uuid: str) -> Gpu:
    return Warm(None)


def test_a_sample_says_when_and_of_which_device_and_what_it_lacks() -> None:
    line = Telemetry("cuda:1", "some", warm).sample(3, "before", 12.34567)
    assert line == {
        "replicate": 3,
        "when": "before",
        "seconds": 12.346,
        "device": "cuda:1",
        "device_uuid": "some",
        "temperature_celsius": 61,
        "missing": {"power_watts": "NVML: not supported on this device"},
    }


def test_a_gpu_that_can_not_be_opened_answers_with_the_reason() -> None:
    gone = Cuda.monitor("GPU-that-is-nowhere")
    line = Telemetry("cuda", "lost", lambda device, uuid: gone).sample(0, "after", 1.0)
    assert line is not None
    missing: dict[str, Any] = line["missing"]
    assert set(missing.values()) == {gone.fault} != {""}
    assert line.keys() == {"replicate", "when", "seconds", "device", "device_uuid", "missing"}


class Hot(Gpu):
    def sample(self) -> Readings:
        return Readings({"throttle_reasons": ["hw_thermal_slowdown"]})


def test_a_gpu_that_was_held_back_is_told_of() -> None:
    telemetry = Telemetry("cuda", "some", lambda device, uuid: Hot(None))
    telemetry.sample(0, "before", 0.0)
    telemetry.sample(0, "after", 1.0)
    assert telemetry.notes("cuda") == ["cuda was held back (hw_thermal_slowdown) in 2 of 2 samples"]


def test_a_gpu_that_was_not_held_back_needs_no_note() -> None:
    telemetry = Telemetry("cuda", "some", warm)
    telemetry.sample(0, "before", 0.0)
    assert telemetry.notes("cuda") == []


@pytest.mark.parametrize(("device", "uuid"), [("cpu", None), ("cpu", "which has no monitor"), ("cuda", None)])
def test_without_a_gpu_there_is_nothing_to_sample(device: str, uuid: str | None) -> None:
    assert Telemetry(device, uuid).sample(0, "before", 0.0) is None


class Scripted(Gpu):
    """A GPU whose throttle reasons the test sets, sample by sample."""

    script: ClassVar[list[list[str]]] = []

    def sample(self) -> Readings:
        return Readings({"throttle_reasons": self.script.pop(0)})


@pytest.mark.parametrize(
    ("before", "after", "spoilt_by"),
    [
        ([], [], []),
        (["sw_power_cap"], ["sw_power_cap"], []),  # normal for a card under full load
        (["sync_boost", "board_limit", "reliability", "unknown_0x800"], [], []),
        (["hw_thermal_slowdown"], [], ["hw_thermal_slowdown"]),
        ([], ["sw_power_cap", "sw_thermal_slowdown"], ["sw_thermal_slowdown"]),
        (["hw_slowdown"], ["hw_slowdown", "hw_power_brake_slowdown"], ["hw_slowdown", "hw_power_brake_slowdown"]),
    ],
)
def test_heat_and_a_weak_supply_spoil_a_replicate_and_the_power_limit_does_not(
    before: list[str], after: list[str], spoilt_by: list[str]
) -> None:
    Scripted.script = [before, after, [], []]
    telemetry = Telemetry("cuda", "some", lambda device, uuid: Scripted(None))
    telemetry.sample(0, "before", 0.0)
    telemetry.sample(0, "after", 1.0)
    assert telemetry.spoilt_by == spoilt_by
    telemetry.sample(1, "before", 2.0)
    telemetry.sample(1, "after", 3.0)
    assert telemetry.spoilt_by == []
