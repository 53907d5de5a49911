"""Samples of GPUs before replicates and after visits."""

from collections.abc import Sequence

import pytest

from rnnbench.harness.coordinator.telemetry import Telemetry
from tests.doubles.fake_nvml import FIRST, MOMENT, Driver


def test_a_sample_says_when_and_of_which_device_and_what_it_lacks(driver: Driver) -> None:
    driver.cards[0].refused = {"nvmlDeviceGetPowerUsage": 3}
    assert Telemetry("cuda:1", FIRST).sample(3, "before", 12.34567) == {
        "replicate": 3,
        "when": "before",
        "seconds": 12.346,
        "device": "cuda:1",
        "device_uuid": FIRST,
        **{name: value for name, value in MOMENT.items() if name != "power_watts"},
        "missing": {"power_watts": "NVML: Not Supported"},
    }


SW_POWER, SW_THERMAL, HW, HW_THERMAL, BRAKE = 0x4, 0x20, 0x8, 0x40, 0x80


@pytest.mark.parametrize(
    ("samples", "reasons"),
    [
        ([0, 0], []),
        ([SW_POWER, SW_POWER], []),  # normal for a card under full load
        ([0x10 | 0x200 | 0x400 | 0x800, 0], []),  # sync boost, board limit, reliability, and one without a name
        ([HW_THERMAL, 0, 0], ["hw_thermal_slowdown"]),
        ([0, SW_POWER | SW_THERMAL], ["sw_thermal_slowdown"]),
        ([HW, 0, HW | BRAKE], ["hw_slowdown", "hw_power_brake_slowdown"]),
    ],
)
def test_heat_and_a_weak_supply_hold_a_card_back_and_the_power_limit_does_not(
    driver: Driver, samples: Sequence[int], reasons: list[str]
) -> None:
    telemetry = Telemetry("cuda", FIRST)
    for number, driver.cards[0].reasons in enumerate(samples):
        telemetry.sample(0, "visit" if number else "before", float(number))
    driver.cards[0].reasons = 0
    telemetry.sample(1, "before", 9.0)
    assert telemetry.notes() == [f"cuda was held back ({reason}) in 1 of 2 replicates" for reason in reasons]


@pytest.mark.parametrize(("held_back", "reasons"), [(0.5, ["heat, by its counter"]), (0.05, [])])
def test_a_card_that_was_held_back_between_samples_is_found_by_its_counter_though_it_is_idle_when_sampled(
    driver: Driver, held_back: float, reasons: list[str]
) -> None:
    telemetry, card = Telemetry("cuda", FIRST), driver.cards[0]
    card.reasons = 0x1
    telemetry.sample(0, "before", 100.0)
    card.thermal += int(held_back * 1e9)
    telemetry.sample(0, "visit", 110.0)
    telemetry.sample(1, "before", 111.0)
    telemetry.sample(1, "visit", 112.0)
    assert telemetry.notes() == [f"cuda was held back ({reason}) in 1 of 2 replicates" for reason in reasons]
