"""GPUs that NVML describes or refuses, with a fake library under the real nvidia-ml-py."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml  # type: ignore[import-untyped]
import pytest

from rnnbench.harness.devices import nvml
from rnnbench.harness.devices.nvml_calls import REASONS
from rnnbench.store.readings import Readings
from tests.doubles import fake_nvml
from tests.doubles.fake_nvml import FACTS, FIRST, INSTANCE, MIG, MOMENT, SECOND, Fake, why

PID = 4242
MIB = 2**20
LOST = "NVML: the GPU is lost"

OF_CARD = {
    "power_limit_watts": "MIG: the power limit is the whole card's",
    "default_power_limit_watts": "MIG: the power limit is the whole card's",
    "max_sm_clock_mhz": "MIG: the clock is the whole card's",
    "max_memory_clock_mhz": "MIG: the clock is the whole card's",
    "power_instant_watts": "MIG: power is the whole card's",
    "power_watts": "MIG: power is the whole card's",
    "energy_joules": "MIG: energy is the whole card's",
    "sm_clock_mhz": "MIG: the clock is the whole card's",
    "memory_clock_mhz": "MIG: the clock is the whole card's",
    "temperature_celsius": "MIG: temperature is the whole card's",
    "throttle_reasons": "MIG: the clock is the whole card's",
    "clock_settings": "MIG: the clock is the whole card's",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_nvml.build(tmp_path_factory.mktemp("nvml")).parent


def read(_: Fake, uuid: str) -> tuple[dict[str, Any], dict[str, str]]:
    gpu = nvml.open_gpu(uuid)
    readings = gpu.describe() | gpu.sample()
    return readings.values, readings.missing


def test_every_reading_of_a_healthy_gpu_is_right(folder: Path) -> None:
    assert fake_nvml.run(folder, read, FIRST) == [FACTS | MOMENT, {}]


def open_in_all_ways(fake: Fake) -> list[Any]:
    forms = [FIRST, FIRST.removeprefix("GPU-"), SECOND, MIG, MIG.removeprefix("MIG-")]
    uuids = [nvml.open_gpu(form).describe().values["uuid"] for form in forms]
    return [uuids, [gpu.describe().values["uuid"] for gpu in nvml.open_gpus()]]


def test_gpus_go_by_uuid_with_or_without_the_prefix(folder: Path) -> None:
    assert fake_nvml.run(folder, open_in_all_ways) == [[FIRST, FIRST, SECOND, MIG, MIG], [FIRST, SECOND]]


def open_strangers(fake: Fake) -> list[str]:
    return [why(partial(nvml.open_gpu, uuid)) for uuid in ("GPU-0", "MIG-0", "0", "", "GPU-\udc80")]


def test_a_uuid_that_nobody_has_is_refused_in_words(folder: Path) -> None:
    *strangers, garbage = fake_nvml.run(folder, open_strangers)
    unknown = "NVML lists no GPU and no MIG instance of UUID "
    assert strangers == [unknown + "GPU-0", unknown + "MIG-0", unknown + "0", unknown]
    assert garbage


def instruments() -> dict[str, Callable[[], Any]]:
    """All queries, each including the opening of the GPU."""
    readers = {**nvml.DESCRIBED, **nvml.SAMPLED}
    return {
        **{name: partial(lambda reader: reader(nvml.open_gpu(FIRST)), reader) for name, reader in readers.items()},
        "energy": lambda: nvml.open_gpu(FIRST).energy_joules(),
        "process": lambda: nvml.open_gpu(FIRST).process_bytes(PID),
        "bare uuid": lambda: readers["uuid"](nvml.open_gpu(FIRST.removeprefix("GPU-"))),
        "all": lambda: [readers["uuid"](gpu) for gpu in nvml.open_gpus()],
    }


def ask_all() -> Readings:
    return Readings.of(instruments())


NEW_NAME = "nvmlDeviceGetTemperatureV"  # missing in the oldest supported nvidia-ml-py
NO_STAND_IN = f"the installed nvidia-ml-py has no {NEW_NAME}"
CODES = [*range(1, 33), 255, 999, 12345, -1]
NO_SUCH_FUNCTION = 13
NEW_ON_OLD_CARDS = {("nvmlDeviceIsMigDeviceHandle", code) for code in (3, NO_SUCH_FUNCTION)}


def walk(fake: Fake) -> list[dict[str, Any]]:
    """Let each called function fail with each code, then each function that replaces a missing one."""
    fake.start(0, PID, 512 * MIB)
    called = fake.called(ask_all)
    steps = [step for function in called for step in _walk_one(fake, function)]
    for function in called:
        fake.fail(function, NO_SUCH_FUNCTION)
        for stand_in in set(fake.called(ask_all)) - set(called):
            steps += [step | {"instead_of": function} for step in _walk_one(fake, stand_in)]
        fake.fail(function, 0)
    return steps


def _walk_one(fake: Fake, function: str) -> list[dict[str, Any]]:
    concerned = [name for name, call in instruments().items() if function in fake.called(partial(why, call))]
    steps = []
    for code in CODES:
        fake.fail(function, code)
        readings = ask_all()
        steps.append({"function": function, "code": code, "concerned": concerned, **vars(readings)})
    fake.fail(function, 0)
    return steps


def test_each_function_may_fail_with_each_code_and_only_what_it_tells_is_missing(folder: Path) -> None:
    steps = fake_nvml.run(folder, walk)
    healthy = FACTS | MOMENT | {"energy": 5000.0, "process": 512 * MIB, "bare uuid": FIRST, "all": [FIRST, SECOND]}
    replaced = {step["instead_of"] for step in steps if "instead_of" in step}
    functions = {step["function"] for step in steps}
    assert len(functions) > 20
    assert len(steps) == len(functions) * len(CODES)
    for step in steps:
        function, code = step["function"], step["code"]
        answered_otherwise = (function, code) in NEW_ON_OLD_CARDS or (code == NO_SUCH_FUNCTION and function in replaced)
        lost = set() if answered_otherwise else set(step["concerned"])
        assert step["concerned"], function
        assert set(step["missing"]) == lost, (function, code)
        assert step["values"] == {name: value for name, value in healthy.items() if name not in lost}, (function, code)
        reason = REASONS.get(code, f"NVML: error {code}")
        for message in step["missing"].values():
            assert message == reason or message.startswith(("NVML lists no GPU", NO_STAND_IN)), (function, code)


def test_a_mig_instance_has_its_own_memory_and_nothing_of_the_card(folder: Path) -> None:
    values, missing = fake_nvml.run(folder, read, MIG)
    assert missing == OF_CARD
    own = {"name": "Fake H100 MIG 1g.10gb", "uuid": MIG, "memory_bytes": 10737418240, "memory_used_bytes": 4194304}
    inherited = {name: value for name, value in (FACTS | MOMENT).items() if name not in OF_CARD}
    assert values == inherited | own | {"mig_enabled": True}


def watch_processes(fake: Fake) -> list[Any]:
    gpu, instance = nvml.open_gpu(FIRST), nvml.open_gpu(MIG)

    def ask() -> int | str:
        return why(lambda: gpu.process_bytes(PID)) or gpu.process_bytes(PID)

    answers = [ask()]
    fake.start(0, 1, 7 * MIB)
    answers.append(ask())
    fake.start(0, PID, 300 * MIB)
    answers.append(ask())
    fake.start(0, PID, 40 * MIB)  # the same process, in another MIG instance
    answers.append(ask())
    fake.start(INSTANCE, PID, 40 * MIB)
    answers.append(instance.process_bytes(PID))
    for unknown in (2**64 - 1, 0, 2**63):
        fake.start(0, PID, unknown)
        answers.append(ask())
        fake.stop_all(0)
    return [*answers, ask()]


def test_a_process_has_the_memory_that_the_driver_accounts_to_it_or_a_reason(folder: Path) -> None:
    absent = f"NVML lists no process {PID} on this GPU (in a container process ids differ)"
    unaccounted = "NVML: this driver keeps no account of a process's memory (as under Windows' WDDM)"
    odd = "NVML: an implausible value, "
    assert fake_nvml.run(folder, watch_processes) == [
        *[absent, absent, 300 * MIB, 340 * MIB, 40 * MIB],
        *[unaccounted, odd + "0", odd + str(2**63), absent],
    ]


def lose_one(fake: Fake) -> dict[str, Any]:
    first, second = nvml.open_gpu(FIRST), nvml.open_gpu(SECOND)
    fake.lose(0)
    return {
        "described": vars(first.describe()),
        "sampled": vars(first.sample()),
        "reasons": [why(first.energy_joules), why(lambda: first.process_bytes(PID)), why(lambda: nvml.open_gpu(FIRST))],
        "listed": [vars(gpu.sample()) for gpu in nvml.open_gpus()],
        "second": second.energy_joules(),
    }


def test_a_lost_gpu_answers_with_the_reason_and_the_others_go_on(folder: Path) -> None:
    results = fake_nvml.run(folder, lose_one)
    host = {name: FACTS[name] for name in ("driver_version", "driver_cuda_version")}
    assert results["described"] == {"values": host, "missing": dict.fromkeys(FACTS.keys() - host.keys(), LOST)}
    assert results["sampled"] == {"values": {}, "missing": dict.fromkeys(MOMENT, LOST)}
    assert results["reasons"] == [LOST] * 3
    assert results["listed"][0] == results["sampled"]
    assert results["listed"][1] == {"values": MOMENT | {"power_watts": 234.56, "energy_joules": 7000.0}, "missing": {}}
    assert results["second"] == 7000.0


def restart(fake: Fake) -> list[str]:
    fake.fail("nvmlInitWithFlags", 9)
    first = why(lambda: nvml.open_gpu(FIRST))
    fake.fail("nvmlInitWithFlags", 0)
    return [first, why(lambda: nvml.open_gpu(FIRST))]


def test_a_failed_start_is_tried_again_at_the_next_opening(folder: Path) -> None:
    assert fake_nvml.run(folder, restart) == ["NVML: NVIDIA's driver is not loaded", ""]


def open_both(fake: Fake) -> list[str]:
    return [why(lambda: nvml.open_gpu(FIRST)), why(nvml.open_gpus)]


def test_without_a_library_the_reason_says_so(tmp_path: Path) -> None:
    (tmp_path / fake_nvml.NAME).write_text("no library")  # hides the real library, if there is one
    assert fake_nvml.run(tmp_path, open_both) == ["no NVML library (libnvidia-ml.so.1)"] * 2


@pytest.mark.parametrize(
    ("function", "missing"),
    [
        ("nvmlDeviceGetTotalEnergyConsumption", ["energy_joules"]),
        ("nvmlDeviceIsMigDeviceHandle", []),  # a driver from before MIG
        ("nvmlDeviceGetCurrentClocksEventReasons", []),  # a driver from before the new name
        pytest.param(  # a driver from after the old name
            "nvmlDeviceGetTemperature",
            [],
            marks=pytest.mark.skipif(not hasattr(pynvml, NEW_NAME), reason=f"this nvidia-ml-py has no {NEW_NAME}"),
        ),
    ],
)
def test_a_library_without_a_function_has_no_reason_to_lack_more(
    tmp_path: Path, function: str, missing: list[str]
) -> None:
    library = fake_nvml.build(tmp_path, without=[function])
    values, reasons = fake_nvml.run(library.parent, read, FIRST)
    assert reasons == dict.fromkeys(missing, "NVML: the installed library is too old for this")
    assert values == {name: value for name, value in (FACTS | MOMENT).items() if name not in missing}


def test_without_nvidia_ml_py_or_a_function_of_it_the_reason_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert why(nvml.open_gpus) == "the package nvidia-ml-py is not installed"
    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace())
    assert why(nvml.open_gpus) == "the installed nvidia-ml-py has no nvmlInit"


def test_importing_loads_neither_pynvml_nor_torch() -> None:
    code = "import sys, rnnbench.harness.worker.energy; sys.exit(bool({'pynvml', 'torch'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
