import json
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.harness.coordinator import environment
from rnnbench.harness.devices import nvml
from rnnbench.harness.doctor import DOCTOR_CASES, advice, current_readings
from rnnbench.suite import suites
from rnnbench.suite.expressions import parse_only
from rnnbench.suite.outline import cases_of
from tests.doubles.commands import rnnbench
from tests.doubles.fake_nvml import FACTS, INSTANCE, MOMENT, Driver

QUIET: dict[str, Any] = {
    "machine": {
        "cores_allowed": [0, 1],
        "cores": 2,
        "cgroup_cpu_limit": "max 100000",
        "frequency_governor": "performance",
    },
    "load": {"load_average": 0.1, "steal_share": 0.0},
    "software": {"variables": {}, "packages": {"torch": "2.13.0"}},
}


@pytest.fixture(autouse=True)
def keeps_compiled_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)


def test_a_quiet_machine_needs_no_advice_but_one_that_keeps_no_compiled_code(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = {"cgroup_cpu_limit": None, "frequency_governor": None}
    assert advice(QUIET) == advice(QUIET | {"machine": QUIET["machine"] | unknown}) == []
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert "PYTHONDONTWRITEBYTECODE" in advice(QUIET)[0]


FAULTS: list[tuple[str, str, object]] = [
    ("load", "load_average", 1.9),
    ("load", "steal_share", 0.05),
    ("machine", "cores_allowed", [3]),
    ("machine", "cgroup_cpu_limit", "150000 100000"),
    ("machine", "frequency_governor", "powersave"),
    ("software", "variables", {"OMP_NUM_THREADS": "8"}),
]


@pytest.mark.slow
def test_a_machine_is_tried_by_cases_that_quick_has(tmp_path: Path) -> None:
    told = json.loads(rnnbench("doctor", "--json", cwd=tmp_path, code=0).stdout)
    cases = cases_of(suites.read_suite("quick").groups(parse_only(DOCTOR_CASES), None))
    assert f"median of {len(cases)} cases" in told["answer"][1]
    assert not list(tmp_path.iterdir())


def test_each_fault_is_told_with_what_to_do(snapshot: SnapshotAssertion) -> None:
    told = {}
    for room, key, value in FAULTS:
        facts = deepcopy(QUIET)
        facts[room][key] = value
        told[f"{key}: {value}"] = advice(facts)
    assert told == snapshot
    assert all(len(messages) == 1 for messages in told.values())


def test_advice_understands_this_machine(tmp_path: Path) -> None:
    assert all(isinstance(message, str) for message in advice(environment.describe(tmp_path)))


LOCKED = 0x2  # clocks are held by a setting


def stand(driver: Driver, **numbers: Any) -> list[str]:
    driver.cards = driver.cards[:1]
    for name, value in ({"reasons": 1 | LOCKED} | numbers).items():
        setattr(driver.cards[0], name, value)
    return advice(QUIET | nvml.read_all())


def test_a_gpu_as_one_would_wish_it_needs_no_advice(driver: Driver) -> None:
    assert stand(driver) == []
    assert advice(QUIET | {"gpu": "NVML: NVML Shared Library Not Found"}) == []


GPU_FAULTS: list[dict[str, Any]] = [
    {"processes": [(77, 1), (4242, 1), (77, 1)]},
    {"used": 9 << 30},
    {"reasons": 0x20 | LOCKED},
    {"temperature": 84},
    {"reasons": 1},
]


@pytest.mark.parametrize("numbers", GPU_FAULTS, ids=str)
def test_each_fault_of_a_gpu_is_told_with_what_to_do(
    driver: Driver, numbers: dict[str, Any], snapshot: SnapshotAssertion
) -> None:
    assert stand(driver, **numbers) == snapshot


def test_a_gpu_is_described_as_it_stands(driver: Driver, snapshot: SnapshotAssertion) -> None:
    driver.lose(1)
    driver.cards[0].reasons |= LOCKED
    readings = nvml.read_all()
    reasons = ["applications_clocks_setting", "sw_power_cap"]
    assert readings["gpu 0"] == FACTS | MOMENT | {"throttle_reasons": reasons, "not known": {}}
    told = {}
    for torch in ("2.13.0+cu130", "2.13.0+cpu"):
        software = QUIET["software"] | {"packages": {"torch": torch}}
        told[torch] = advice(QUIET | readings | {"software": software})
    assert told == snapshot


def test_only_the_cards_of_this_job_are_named(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = QUIET | nvml.read_all(nvml.FIXED_READINGS)
    assert {"gpu 0", "gpu 1"} <= current_readings(environment).keys()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    told = current_readings(environment)
    assert {key for key in told if key.startswith("gpu")} == {"gpu 1"}
    assert all("GPU 1" in text for text in advice(told))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"MIG-{INSTANCE}")
    [text] = advice(current_readings(environment))
    assert f"GPU MIG-{INSTANCE} (Fake H100 MIG 1g.10gb)" in text
