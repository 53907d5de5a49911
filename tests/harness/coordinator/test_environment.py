"""Runs on one GPU, or on a numbered one of several, and the samples of GPUs."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rnnbench.analysis.environments import differences
from rnnbench.harness.coordinator.environment import Telemetry, describe
from rnnbench.harness.coordinator.process import OBSERVER, USUAL_START, WorkerStart
from rnnbench.harness.coordinator.runner import Runner
from rnnbench.harness.coordinator.start import case_settings, started
from rnnbench.store.folder import RunFolder
from rnnbench.store.records import Group
from rnnbench.suite.file import Settings
from tests.doubles import workload as small
from tests.doubles.fake_nvml import FACTS, FIRST, INSTANCE, MOMENT, SECOND, Driver
from tests.doubles.fakes import CARD, JOULES, FakeWorker, FakeWorkers, run_into
from tests.doubles.stored import INFO, rows
from tests.harness.coordinator.test_runner import GROUPS as CPU_GROUPS


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


A, B = "aaaa", "bbbb"
SETTINGS = Settings(replicates=3, windows=2, precision=None)
ILLEGAL = "AcceleratorError: CUDA error: an illegal memory access was encountered"


class OnTwoCards(FakeWorker):
    """A worker on a machine with two cards."""

    cards = {"cuda": A, "cuda:0": A, "cuda:1": B}  # noqa: RUF012 - as in the class it is of


def groups_on(device: str, count: int) -> list[Group]:
    """Groups of a hand-written cell and its reference, in order of batch size."""
    axes: list[dict[str, Any]] = [{"batch_size": size, "device": device} for size in range(1, count + 1)]
    return [
        Group(small.workload(**each), (small.case("vanilla", **each), small.reference_case(**each))) for each in axes
    ]


def measure(
    parent: Path, groups: Sequence[Group], kind: type[FakeWorker] = OnTwoCards, settings: Settings = SETTINGS
) -> tuple[pd.DataFrame, Runner, FakeWorkers]:
    """Do a run on a machine with two cards; returns its windows, its runner and its workers."""
    workers, folder = FakeWorkers(kind=kind), RunFolder.create(parent, "test")
    try:
        runner = run_into(folder, groups, settings, workers=workers, seed=1)
    finally:
        folder.close()
    assert workers.are_closed
    return rows(folder.path), runner, workers


def said(groups: Sequence[Group], kind: type[FakeWorker] = OnTwoCards) -> dict[str, Any]:
    """Return what the first worker of a run says of software and devices."""
    workers = FakeWorkers(kind=kind)
    with started(groups, SETTINGS, start_worker=workers, now=workers.clock) as start:
        return {**start.software, "unusable": start.unusable}


@pytest.mark.parametrize(("device", "uuid"), [("cuda", A), ("cuda:1", B)])
def test_a_run_measures_on_one_card_and_says_which(tmp_path: Path, device: str, uuid: str) -> None:
    groups = groups_on(device, 3)
    frame, runner, _ = measure(tmp_path, groups)
    assert set(frame["device_uuid"]) == {uuid}
    assert set(frame["energy_joules"]) == {JOULES}
    assert runner.notes == []
    assert said(groups)["devices"] == {device: [{"name": CARD, "uuid": uuid}]}


def test_each_worker_times_what_runs_on_the_processor_before_it_uses_a_gpu(tmp_path: Path) -> None:
    frame, _, workers = measure(tmp_path, [*groups_on("cuda", 4), *CPU_GROUPS])
    assert frame.loc[frame["device"] == "cpu", "device_uuid"].isna().all()
    in_order = frame.sort_values("started", kind="stable")
    for name in {worker.name for worker in workers.started} - {OBSERVER}:
        devices = in_order.loc[in_order["worker"] == name, "device"].tolist()
        assert set(devices) == {"cpu", "cuda"}
        assert devices == sorted(devices)


def test_the_settings_of_a_run_are_those_of_its_cases() -> None:
    full = small.workload(device="cuda", dtype="float32")
    assert case_settings([full]) == {"float32 matmul precision": "highest", "cuDNN TF32": "False"}
    both = case_settings([full, small.workload(device="cuda", dtype="tf32"), small.workload(device="tpu")])
    assert both["cuDNN TF32"] == "False: cuda float32; True: cuda tf32"
    assert said(groups_on("cuda", 1))["settings"]["cuDNN TF32"] == "False"  # torch's own default is True


def test_a_device_that_breaks_when_it_is_first_asked_for_is_unusable_with_the_reason() -> None:
    class Broken(OnTwoCards):
        def request(self, message: dict[str, Any], deadline_seconds: float) -> dict[str, Any]:
            return {"ok": False, "status": "failed", "reason": ILLEGAL}

    assert said(groups_on("cuda", 3), Broken)["unusable"] == {"cuda": ILLEGAL}


def test_a_gpu_that_is_gone_leaves_what_was_measured_and_ends_the_run(tmp_path: Path) -> None:
    gone = "torch finds no CUDA device or driver"
    visits = 0

    class Vanishing(OnTwoCards):
        def request(self, message: dict[str, Any], deadline_seconds: float) -> dict[str, Any]:
            nonlocal visits
            visits += message["op"] == "visit"
            if visits > 4 and message["op"] == "visit":
                return {"ok": False, "status": "failed", "reason": "AcceleratorError: CUDA error: unknown error"}
            if visits > 4 and message["op"] == "prepare":
                return {"ok": False, "status": "skipped", "reason": gone}
            return super().request(message, deadline_seconds)

    frame, runner, _ = measure(tmp_path, groups_on("cuda", 2), Vanishing)
    statuses = frame.drop_duplicates("case")["status"].tolist()
    assert sorted(statuses) == ["failed", "measured", "measured", "measured"]
    assert f"some cases got fewer replicates: {gone}" in runner.notes
    assert frame["replicate"].nunique() == 2


def test_samples_of_a_mig_instance_say_what_is_of_its_whole_card(driver: Driver) -> None:
    telemetry = Telemetry("cuda", INSTANCE)
    line = telemetry.sample(0, "before", 1.0)
    assert line["sm_clock_mhz"] == MOMENT["sm_clock_mhz"]
    [note] = telemetry.notes()
    assert note.startswith("cuda is a MIG instance; these samples are of its whole card: power watts, sm clock mhz")


def test_a_run_knows_of_the_card_that_it_uses_what_changes_its_times(driver: Driver) -> None:
    class OnSecond(FakeWorker):
        cards = {"cuda": SECOND}  # noqa: RUF012 - as in the class it is of

    driver.cards[1].limit = 500_000
    [card] = said(groups_on("cuda", 1), OnSecond)["devices"]["cuda"]
    assert card == {**FACTS, "name": CARD, "uuid": SECOND, "power_limit_watts": 500.0}


@pytest.mark.parametrize(("preheat", "words"), [(0.0, "times on the GPU are of burst clocks"), (5.0, "worked for 5 s")])
def test_a_run_says_at_which_clock_rate_a_gpu_was_timed(tmp_path: Path, preheat: float, words: str) -> None:
    asked: list[dict[str, Any]] = []

    class Clocked(OnTwoCards):
        def request(self, message: dict[str, Any], deadline_seconds: float) -> dict[str, Any]:
            reply = super().request(message, deadline_seconds)
            if message["op"] == "visit":
                asked.append(message)
                for number, window in enumerate(reply["windows"]):
                    window["sm_clock_mhz"] = 1700.0 + 100 * (number % 3)
            return reply

    groups = groups_on("cuda", 1)
    frame, runner, _ = measure(tmp_path, groups, Clocked, SETTINGS.model_copy(update={"preheat_seconds": preheat}))
    [note] = runner.notes
    assert words in note
    assert "1,750 MHz in the median, 1,700 to 1,900 MHz" in note
    assert set(frame["sm_clock_mhz"]) == {1700.0, 1800.0, 1900.0}
    assert {message["preheat_seconds"] for message in asked} == {preheat}
    assert all(message["seconds"] >= preheat for message in asked)


def test_a_processor_is_not_heated_and_has_no_clock_to_tell(tmp_path: Path) -> None:
    frame, runner, _ = measure(tmp_path, CPU_GROUPS[:1], settings=SETTINGS.model_copy(update={"preheat_seconds": 5.0}))
    assert frame["sm_clock_mhz"].isna().all()
    assert not [note for note in runner.notes if "GPU" in note]


def test_a_run_tells_which_cards_its_process_was_shown_and_compares_only_the_cards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    base = replace(INFO, environment=describe(tmp_path))
    known = base.environment["software"]
    assert known["card_variables"] == {"CUDA_VISIBLE_DEVICES": "", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aaaa")
    assert differences(base, replace(INFO, environment=describe(tmp_path))) == []


class OnlyStarted(OnTwoCards):
    """A worker that can't use CUDA if it was forked, of which torch knows nothing."""

    def request(self, message: dict[str, Any], deadline_seconds: float) -> dict[str, Any]:
        reply = super().request(message, deadline_seconds)
        is_lost = self.is_forked and message["op"] == "device" and message["device"] != "cpu"
        return {**reply, "reason": "torch finds no CUDA device or driver", "uuid": None} if is_lost else reply


class Origins(FakeWorkers):
    """Notes which workers have an origin."""

    def __call__(self, name: str = "", start: WorkerStart = USUAL_START, /) -> Any:
        worker = super().__call__(name)
        worker.is_forked = start.origin is not None
        return worker


@pytest.mark.usefixtures("real_workers")
@pytest.mark.parametrize(("device", "kind"), [("cuda", OnlyStarted), ("cuda", OnTwoCards), ("cpu", OnlyStarted)])
def test_no_worker_is_forked_any_more_once_a_forked_one_can_not_use_a_card_that_the_driver_lists(
    driver: Driver, tmp_path: Path, device: str, kind: type[FakeWorker]
) -> None:
    workers = Origins(kind=kind)
    with closing(RunFolder.create(tmp_path, "test")) as folder:
        runner = run_into(folder, groups_on(device, 1), SETTINGS, workers=workers, seed=1)
    is_lost = kind is OnlyStarted and device == "cuda"
    assert [worker.is_forked for worker in workers.started[:2]] == [True, not is_lost]
    assert len({worker.is_forked for worker in workers.started[1:]}) == 1
    why = "a forked worker could not use cuda: torch finds no CUDA device or driver"
    notes = [note for note in runner.notes if "takes seconds longer than a fork" in note]
    assert [note.endswith(why) for note in notes] == ([True] if is_lost else [])
    assert set(rows(folder.path)["status"]) == {"measured"}
