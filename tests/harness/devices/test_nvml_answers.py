"""Which of NVML's successful answers are believed, with a fake library under the real nvidia-ml-py."""

from pathlib import Path
from typing import Any

import pytest

from rnnbench.harness.devices import nvml
from tests.doubles import fake_nvml
from tests.doubles.fake_nvml import FACTS, FIRST, MOMENT, Fake

# The library's numbers, the readings that they make unavailable, and the number in the reason.
NOT_BELIEVED: list[tuple[dict[str, int], set[str], int | None]] = [
    # All zeros and all ones mean "no value".
    (dict.fromkeys(["memory_total", "memory_free", "memory_used"], 0), {"memory_bytes", "memory_used_bytes"}, 0),
    (dict.fromkeys(["memory_free", "memory_used"], 0), {"memory_used_bytes"}, 0),
    ({"power": 0, "power_limit": 0}, {"power_watts", "power_limit_watts"}, 0),
    ({"power_instant": 0}, {"power_instant_watts"}, 0),
    ({"power_instant": 2**32 - 1}, {"power_instant_watts"}, None),
    ({"energy": 0}, {"energy_joules"}, 0),
    ({"sm_clock": 0, "max_memory_clock": 0}, {"sm_clock_mhz", "max_memory_clock_mhz"}, 0),
    ({"temperature": 0}, {"temperature_celsius"}, 0),
    ({"cuda_version": 0}, {"driver_cuda_version"}, 0),
    ({"memory_used": 2**64 - 1}, {"memory_used_bytes"}, None),
    ({"memory_total": 2**64 - 1}, {"memory_bytes", "memory_used_bytes"}, None),
    ({"power": 2**32 - 1, "default_power_limit": 2**32 - 1}, {"power_watts", "default_power_limit_watts"}, None),
    ({"energy": 2**64 - 1}, {"energy_joules"}, None),
    ({"memory_clock": 2**32 - 1, "max_sm_clock": 2**32 - 1}, {"memory_clock_mhz", "max_sm_clock_mhz"}, None),
    ({"temperature": 2**32 - 1}, {"temperature_celsius"}, None),
    ({"clock_reasons": 2**64 - 1}, {"throttle_reasons", "clock_settings"}, None),
    ({"ecc_errors": 2**64 - 1}, {"uncorrected_ecc_errors"}, None),
    ({"ecc_errors": 2**32 - 1}, {"uncorrected_ecc_errors"}, None),
    ({"persistence": 2**32 - 1}, {"persistence_enabled"}, None),
    # Numbers out of range.
    ({"memory_used": FACTS["memory_bytes"] + 1}, {"memory_used_bytes"}, FACTS["memory_bytes"] + 1),
    ({"temperature": 151}, {"temperature_celsius"}, 151),
    ({"temperature": 2**32 - 5}, {"temperature_celsius"}, 2**32 - 5),  # 5 below zero
    ({"sm_clock": 100_001}, {"sm_clock_mhz"}, 100_001),
    ({"power": 10_000_001}, {"power_watts"}, 10_000_001),
    ({"compute_mode": 4}, {"compute_mode"}, 4),
    ({"ecc": 2, "mig_mode": 2}, {"ecc_enabled", "mig_enabled"}, 2),
]

BELIEVED: list[tuple[dict[str, int], dict[str, Any]]] = [
    ({"memory_used": 0}, {"memory_used_bytes": 0}),  # an idle card: the rest of its memory is free
    ({"ecc_errors": 0}, {"uncorrected_ecc_errors": 0}),
    ({"ecc": 0, "persistence": 0}, {"ecc_enabled": False, "persistence_enabled": False}),
    ({"compute_mode": 0, "mig_mode": 1}, {"compute_mode": "default", "mig_enabled": True}),
    ({"cuda_version": 12040}, {"driver_cuda_version": "12.4"}),
    ({"energy": 2**32 - 1}, {"energy_joules": 4294967.295}),  # all ones, but only in 32 bits
    ({"clock_reasons": 0}, {"throttle_reasons": []}),
    ({"clock_reasons": 0x1}, {"throttle_reasons": []}),  # idle
    ({"clock_reasons": 0x2}, {"throttle_reasons": [], "clock_settings": ["applications_clocks_setting"]}),
    ({"clock_reasons": 0x100}, {"throttle_reasons": [], "clock_settings": ["display_clock_setting"]}),
    ({"clock_reasons": 0x1 | 0x8 | 0x40}, {"throttle_reasons": ["hw_slowdown", "hw_thermal_slowdown"]}),
    ({"clock_reasons": 0x4 | 0x3000}, {"throttle_reasons": ["sw_power_cap", "unknown_0x3000"]}),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_nvml.build(tmp_path_factory.mktemp("nvml")).parent


def read_each(fake: Fake, cases: list[dict[str, int]]) -> list[Any]:
    readings = []
    for numbers in cases:
        fake.reset()
        for number, value in numbers.items():
            fake.set(0, number, value)
        gpu = nvml.open_gpu(FIRST)
        readings.append(vars(gpu.describe() | gpu.sample()))
    return readings


def test_what_cant_be_true_is_missing(folder: Path) -> None:
    cases = [numbers for numbers, _, _ in NOT_BELIEVED]
    readings = fake_nvml.run(folder, read_each, cases)
    for (numbers, names, number), read in zip(NOT_BELIEVED, readings, strict=True):
        reason = "NVML: no value" if number is None else f"NVML: an implausible value, {number}"
        assert read["missing"] == dict.fromkeys(names, reason), numbers
        expected = {name: value for name, value in (FACTS | MOMENT).items() if name not in names}
        assert read["values"] == expected, numbers


def test_what_looks_odd_and_may_be_true_is_kept(folder: Path) -> None:
    readings = fake_nvml.run(folder, read_each, [numbers for numbers, _ in BELIEVED])
    for (numbers, values), read in zip(BELIEVED, readings, strict=True):
        assert read == {"values": FACTS | MOMENT | values, "missing": {}}, numbers


def read_with_a_field_that_is_refused(fake: Fake) -> Any:
    fake.set(0, "power_instant_code", 3)
    return vars(nvml.open_gpu(FIRST).sample())


def test_a_field_may_be_refused_where_the_call_succeeds(folder: Path) -> None:
    read = fake_nvml.run(folder, read_with_a_field_that_is_refused)
    assert read["missing"] == {"power_instant_watts": "NVML: not supported on this device"}


def name_numbers(fake: Fake) -> list[str]:
    return fake.numbers()


def test_each_number_is_among_the_cases(folder: Path) -> None:
    cases = [*(numbers for numbers, _, _ in NOT_BELIEVED), *(numbers for numbers, _ in BELIEVED)]
    assert set().union(*cases) == set(fake_nvml.run(folder, name_numbers)) - {
        *("energy_step", "cards", "power_instant_code")
    }


def count_gpus(fake: Fake, cards: int) -> int | str:
    fake.set(0, "cards", cards)
    return fake_nvml.why(nvml.open_gpus) or len(nvml.open_gpus())


@pytest.mark.parametrize(("cards", "answer"), [(0, 0), (2, 2), (2**32 - 1, "NVML: no value")])
def test_the_number_of_gpus_may_be_none_or_nonsense(folder: Path, cards: int, answer: int | str) -> None:
    assert fake_nvml.run(folder, count_gpus, cards) == answer


def read_names(fake: Fake) -> list[Any]:
    readings = []
    for name in (b"\xff\xfe Tesla", b"Tesla\x07", b"", "Teslä".encode()):
        fake.rename(0, name)
        described = nvml.open_gpu(FIRST).describe()
        readings.append([described.values.get("name"), described.missing])
    return readings


def test_a_garbage_name_is_missing_and_nothing_else(folder: Path) -> None:
    garbage = [None, {"name": "NVML: garbage in place of text"}]
    empty = [None, {"name": "NVML: an empty answer"}]
    assert fake_nvml.run(folder, read_names) == [garbage, garbage, empty, ["Teslä", {}]]
