"""What NVML's answers mean, and whether they are plausible: some calls return zero or all ones for no value."""

from collections.abc import Callable
from typing import Any

from rnnbench.harness.devices.nvml_calls import NvmlError
from rnnbench.store.readings import Unavailable

MAX_BYTES = 2**50
ALL_ONES = (2**32 - 1, 2**64 - 1)  # NVML_VALUE_NOT_AVAILABLE, of either width

COMPUTE_MODES = {0: "default", 1: "exclusive_thread", 2: "prohibited", 3: "exclusive_process"}

# nvmlClocksEventReasons. An idle GPU (bit 0) is not throttled. A limit that a user set holds for every window, so it
# makes the GPU slower but not the measurement worse; the other reasons come and go with heat, power and load.
IDLE = 1 << 0
CLOCK_SETTINGS = {1 << 1: "applications_clocks_setting", 1 << 8: "display_clock_setting"}
THROTTLE_REASONS = {
    1 << 2: "sw_power_cap",
    1 << 3: "hw_slowdown",
    1 << 4: "sync_boost",
    1 << 5: "sw_thermal_slowdown",
    1 << 6: "hw_thermal_slowdown",
    1 << 7: "hw_power_brake_slowdown",
    1 << 9: "board_limit",
    1 << 10: "reliability",
}

# Reasons that spoil a replicate: heat and a weak power supply come and go, so the next replicate may be free of them.
# The software power cap is not one of them: under sustained products a data-centre card is at its power limit all the
# time. The case runs like this there, for all arms alike, and would do so in the next replicate. Nor are the limits of
# the card or of a user (sync boost, board limit, reliability), since they hold for every window.
SPOILING = frozenset({"hw_slowdown", "sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown"})


def believe(value: int, least: int, most: int) -> int:
    """Return a plausible number unchanged; raises Unavailable if it is out of range."""
    if not least <= value <= most:
        raise Unavailable("NVML: no value" if value in ALL_ONES else f"NVML: an implausible value, {value}")
    return value


def number(least: int, most: int, per: int = 1) -> Callable[[Any], float]:
    """A check that a number is in a range; the result is divided by `per` to get the unit in the reading's name."""
    return lambda answer: believe(answer, least, most) if per == 1 else believe(answer, least, most) / per


WATTS = number(1, 10_000_000, per=1_000)
JOULES = number(1, 10**16, per=1_000)  # 10 kW for 30 years
MEGAHERTZ = number(1, 100_000)
CELSIUS = number(1, 150)
ERRORS = number(0, 2**32 - 2)


def field_watts(answer: Any) -> float:
    """The value of the one requested field, which has its own error code."""
    [field] = answer
    if field.nvmlReturn:
        raise NvmlError(field.nvmlReturn)
    return WATTS(field.value.uiVal)


def text(answer: Any) -> str:
    """Printable text; raises Unavailable for any other answer."""
    if not answer:
        raise Unavailable("NVML: an empty answer")
    if not answer.isprintable():
        raise Unavailable("NVML: garbage in place of text")
    return str(answer)


def switch(answer: Any) -> bool:
    """On or off; of a pair only the first counts: the second is the state after the next reset."""
    return bool(believe(answer[0] if isinstance(answer, list) else answer, 0, 1))


def compute_mode(answer: Any) -> str:
    """Who may use the GPU."""
    return COMPUTE_MODES[believe(answer, 0, max(COMPUTE_MODES))]


def cuda_version(answer: Any) -> str:
    """A version in its usual form: 12040 is 12.4."""
    major, rest = divmod(believe(answer, 1_000, 999_999), 1_000)
    return f"{major}.{rest // 10}"


def total_bytes(answer: Any) -> int:
    """Total memory in bytes."""
    return believe(answer.total, 1, MAX_BYTES)


def used_bytes(answer: Any) -> int:
    """Memory in use in bytes, including what the driver reserves for itself."""
    least = 0 if 0 < answer.free <= answer.total else 1  # an idle card may use none, but all zeros mean no answer
    return believe(answer.used, least, total_bytes(answer))


def clock_settings(answer: Any) -> list[str]:
    """The names of the clock limits that a user set."""
    return [name for bit, name in CLOCK_SETTINGS.items() if _reasons(answer) & bit]


def throttle_reasons(answer: Any) -> list[str]:
    """The names of the reasons for reduced clocks; a bit without a name here is kept as `unknown_...`."""
    named = [name for bit, name in THROTTLE_REASONS.items() if _reasons(answer) & bit]
    unnamed = _reasons(answer) & ~(IDLE | sum(CLOCK_SETTINGS) | sum(THROTTLE_REASONS))
    return [*named, *([f"unknown_{unnamed:#x}"] if unnamed else [])]


def _reasons(answer: int) -> int:
    return believe(answer, 0, 2**63 - 1)
