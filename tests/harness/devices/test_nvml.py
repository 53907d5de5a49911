"""GPUs that NVML describes or refuses, with a fake driver under the real nvidia-ml-py."""

from typing import Any

import pynvml  # type: ignore[import-untyped]
import pytest

from rnnbench.harness.devices import nvml
from rnnbench.store.metrics import Unavailable
from tests.doubles.fake_cuda import FakeCuda, FakeLine
from tests.doubles.fake_nvml import FACTS, FIRST, FUNCTIONS, INSTANCE, MOMENT, NEAR, SECOND, Driver

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
    missing = readings["not known"]
    assert set(missing.values()) == {f"NVML: {pynvml.NVMLError(code)}"}
    assert 1 <= len(missing) <= 2
    assert readings == {key: value for key, value in whole().items() if key not in missing} | {"not known": missing}


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


def test_a_mig_instance_has_the_clocks_and_limits_of_its_card_and_says_so(driver: Driver) -> None:
    readings = read(INSTANCE)
    own = {"name": "Fake H100 MIG 1g.10gb", "memory_total_bytes": 10 << 30, "memory_used_bytes": 536871040}
    assert {name: readings["values"][name] for name in own} == own
    whole = readings["values"][nvml.WHOLE_CARD]
    assert {name: readings["values"][name] for name in whole} == {name: (FACTS | MOMENT)[name] for name in whole}
    assert {"sm_clock_mhz", "power_watts", "power_limit_watts", "throttle_reasons", "ecc"} <= {*whole}


def test_what_other_instances_have_a_part_in_is_no_energy_of_an_instance(driver: Driver) -> None:
    assert read(INSTANCE)["missing"] == {"energy_joules": "NVML: Not Supported"}
    device = FakeCuda(FakeLine())
    device.uuid = INSTANCE
    with pytest.raises(Unavailable, match="cuda is a MIG instance, and NVML counts the energy of whole cards only"):
        device.meter()


def test_an_instance_whose_card_is_lost_has_no_clocks_and_no_card_in_their_place(driver: Driver) -> None:
    driver.lose(0)
    readings = read(INSTANCE)
    assert nvml.WHOLE_CARD not in readings["values"]
    assert readings["missing"]["sm_clock_mhz"].startswith("NVML: ")


@pytest.mark.parametrize(
    ("shown", "names"),
    [
        (None, ["Fake H100", "Fake H200"]),
        ("1", ["Fake H200"]),
        (" 1 , 0", ["Fake H200", "Fake H100"]),
        ("", []),
        ("-1", []),
        ("0,-1,1", ["Fake H100"]),
        ("0,7,1", ["Fake H100"]),
        ("0,0", []),
        (f"GPU-{SECOND[:6]}2", ["Fake H200"]),
        (f"GPU-{SECOND},GPU-{FIRST}", ["Fake H200", "Fake H100"]),
        ("GPU-bbbb", []),
        (f"MIG-{INSTANCE}", ["Fake H100 MIG 1g.10gb"]),
    ],
)
def test_the_cards_of_a_job_are_those_that_cuda_shows_it_in_cudas_order(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, shown: str | None, names: list[str]
) -> None:
    if shown is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    assert [gpu.ask("nvmlDeviceGetName") for gpu in nvml.visible()] == names
    told = nvml.read_all(only_visible=True)
    assert sorted(gpu["name"] for gpu in told.values() if isinstance(gpu, dict)) == sorted(names)
    assert names or told == {"gpu": "CUDA_VISIBLE_DEVICES shows no GPU to this process"}


def test_unlike_cards_are_not_taken_for_one_another_while_cuda_puts_the_fastest_first(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_DEVICE_ORDER")
    with pytest.raises(Unavailable, match="unlike cards, which CUDA and NVML number differently"):
        nvml.visible()
    assert len(nvml.read_all(only_visible=True)) == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"GPU-{SECOND}")  # which is the same card in any order
    assert len(nvml.visible()) == 1
    driver.cards[1].name = driver.cards[0].name
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert len(nvml.visible()) == 1


@pytest.mark.parametrize("uuid", [FIRST, INSTANCE])
def test_the_cores_near_a_card_are_told_for_its_instances_too(driver: Driver, uuid: str) -> None:
    assert nvml.near_cores(nvml.open_gpu(uuid)) == list(NEAR)
    driver.cards[0].refused = {"nvmlDeviceGetCpuAffinity": pynvml.NVML_ERROR_NOT_SUPPORTED}
    with pytest.raises(Unavailable, match="Not Supported"):
        nvml.near_cores(nvml.open_gpu(uuid))
