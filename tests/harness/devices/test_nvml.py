"""GPUs that NVML describes or refuses, with a fake driver under the real nvidia-ml-py."""

from typing import Any

import pynvml  # type: ignore[import-untyped]
import pytest

from rnnbench.harness.devices import nvml
from rnnbench.store.metrics import Unavailable
from tests.doubles.fake_cuda import FakeCuda, FakeLine
from tests.doubles.fake_nvml import FACTS, FIRST, FUNCTIONS, INSTANCE, MOMENT, SECOND, Driver

LOST = "NVML: GPU is lost"


def read(uuid: str = FIRST) -> dict[str, Any]:
    return vars(nvml.open_gpu(uuid).read())


def test_every_reading_of_a_healthy_gpu_is_right(driver: Driver) -> None:
    assert read() == {"values": FACTS | MOMENT, "missing": {}}
    assert [read(uuid)["values"]["name"] for uuid in (SECOND, INSTANCE)] == ["Fake H200", "Fake H100 MIG 1g.10gb"]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_each_function_may_fail_and_only_what_it_tells_is_missing(driver: Driver, function: str) -> None:
    code = pynvml.NVML_ERROR_NOT_SUPPORTED
    driver.cards[0].refused = {function: code}
    readings = nvml.read_all()["gpu 0"]
    [(name, reason)] = readings["not known"].items()
    assert reason == f"NVML: {pynvml.NVMLError(code)}"
    assert readings == {key: value for key, value in whole().items() if key != name} | {"not known": {name: reason}}


def whole() -> dict[str, Any]:
    return FACTS | MOMENT | {"not known": {}}


@pytest.mark.parametrize("number", ["power", "energy", "clock", "temperature"])
@pytest.mark.parametrize("value", [0, 2**32 - 1])
def test_all_zeros_and_all_ones_are_no_value(driver: Driver, number: str, value: int) -> None:
    setattr(driver.cards[0], number, value)
    assert list(read()["missing"].values()) == ["NVML: no value"]


@pytest.mark.parametrize(
    ("bits", "names"),
    [
        (0, []),
        (0x1, []),  # idle
        (0x102, ["applications_clocks_setting", "display_clock_setting"]),
        (0x1 | 0x8 | 0x40, ["hw_slowdown", "hw_thermal_slowdown"]),
        (0x4 | 0x3000, ["sw_power_cap", "unknown_0x3000"]),
    ],
)
def test_the_reasons_for_low_clocks_have_names(driver: Driver, bits: int, names: list[str]) -> None:
    driver.cards[0].reasons = bits
    assert read()["values"]["throttle_reasons"] == names


def test_a_lost_gpu_answers_with_the_reason_and_the_others_go_on(driver: Driver) -> None:
    driver.lose(0)
    first, second = nvml.read_all().values()
    assert set(first["not known"].values()) == {LOST}
    assert second == whole() | {"name": "Fake H200"}
    assert set(nvml.open_gpu(FIRST).read().missing.values()) == {LOST}


def test_a_gpus_meter_tells_the_energy_between_two_readings(driver: Driver) -> None:
    driver.cards[0].energy_step = 1_500
    device = FakeCuda(FakeLine())
    device.uuid = FIRST
    meter = device.meter()
    assert meter.joules(meter.read(), meter.read()) == 1.5
    driver.lose(0)
    with pytest.raises(Unavailable, match="GPU is lost"):
        device.meter()
