"""Samples of GPUs before replicates and after visits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rnnbench import load, summarize
from rnnbench.analysis.runs.run_times import read
from rnnbench.harness.coordinator.resume import read_state
from rnnbench.harness.coordinator.runner import Runner
from rnnbench.harness.coordinator.start import OBSERVER
from rnnbench.harness.coordinator.telemetry import MAX_REPEATS, Repeats, Telemetry
from rnnbench.store import jsonlines
from rnnbench.store.folder import RunFolder
from rnnbench.store.records import Group
from rnnbench.suite.file import Settings
from tests.doubles import workload as small
from tests.doubles.fake_nvml import FIRST, MOMENT, Driver
from tests.doubles.fakes import FakeClock, FakeWorker, run_into
from tests.doubles.stored import rows


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


def test_a_gpu_that_can_not_be_opened_answers_with_the_reason(driver: Driver) -> None:
    line = Telemetry("cuda", "nowhere").sample(0, "before", 1.0)
    assert line["missing"] == dict.fromkeys(MOMENT, "NVML: Not Found")


SW_POWER, SW_THERMAL, HW, HW_THERMAL, BRAKE = 0x4, 0x20, 0x8, 0x40, 0x80


@pytest.mark.parametrize(
    ("samples", "spoilt_by"),
    [
        ([0, 0], []),
        ([SW_POWER, SW_POWER], []),  # normal for a card under full load
        ([0x10 | 0x200 | 0x400 | 0x800, 0], []),  # sync boost, board limit, reliability, and one without a name
        ([HW_THERMAL, 0, 0], ["hw_thermal_slowdown"]),
        ([0, SW_POWER | SW_THERMAL], ["sw_thermal_slowdown"]),
        ([HW, 0, HW | BRAKE], ["hw_slowdown", "hw_power_brake_slowdown"]),
    ],
)
def test_heat_and_a_weak_supply_spoil_a_replicate_and_the_power_limit_does_not(
    driver: Driver, samples: Sequence[int], spoilt_by: list[str]
) -> None:
    telemetry = Telemetry("cuda", FIRST)
    for number, driver.cards[0].reasons in enumerate(samples):
        telemetry.sample(0, "visit" if number else "before", float(number))
    assert telemetry.spoilt_by == spoilt_by
    driver.cards[0].reasons = 0
    telemetry.sample(1, "before", 9.0)
    assert telemetry.spoilt_by == []
    assert telemetry.notes() == [f"cuda was held back ({reason}) in 1 of 2 replicates" for reason in spoilt_by]


@pytest.mark.parametrize(("held_back", "spoilt_by"), [(0.5, ["heat, by its counter"]), (0.05, [])])
def test_a_card_that_was_held_back_between_samples_is_found_by_its_counter_though_it_is_idle_when_sampled(
    driver: Driver, held_back: float, spoilt_by: list[str]
) -> None:
    telemetry, card = Telemetry("cuda", FIRST), driver.cards[0]
    card.reasons = 0x1
    telemetry.sample(0, "before", 100.0)
    card.thermal += int(held_back * 1e9)
    telemetry.sample(0, "visit", 110.0)
    assert telemetry.spoilt_by == spoilt_by
    telemetry.sample(1, "before", 111.0)
    telemetry.sample(1, "visit", 112.0)
    assert telemetry.spoilt_by == []


def test_each_visit_has_its_clock(driver: Driver) -> None:
    telemetry, clocks = Telemetry("cuda", FIRST), list[float]()
    telemetry.sample(0, "before", 0.0)
    for driver.cards[0].clock in (1980, 1755):
        clocks.append(telemetry.sample(0, "visit", 1.0)["sm_clock_mhz"])
    assert clocks == [1980, 1755]


GROUPS = [
    Group(
        small.workload(batch_size=size, device="cuda"),
        (
            small.case("vanilla", batch_size=size, device="cuda"),
            small.reference_case(batch_size=size, device="cuda"),
        ),
    )
    for size in (1, 2)
]


class OnGpu(FakeWorker):
    """A worker that sees one GPU."""

    devices = {"cpu": None, "cuda": FIRST}  # noqa: RUF012 - as in the class it is of


def measure(parent: Path, driver: Driver, hot: Sequence[bool], **settings: Any) -> tuple[Path, Runner]:
    """The run's folder and its runner; in the n-th timing worker (from 0) a call takes n + 1 milliseconds.

    `hot`: whether the GPU is, while each of the first workers is at work.
    """
    clock = FakeClock()

    def start(name: str) -> Any:
        number = 0 if name == OBSERVER else int(name)
        driver.cards[0].reasons = 0x40 if number < len(hot) and hot[number] else 0x4
        seconds = 0.001 * (number + 1)
        return OnGpu(name, clock, lambda message: None, lambda key: seconds)

    defaults = {"replicates": 3, "windows": 2, "precision": None}
    folder = RunFolder.create(parent, "test")
    runner = run_into(folder, GROUPS, Settings(**(defaults | settings)), start_worker=start, now=clock, seed=1)
    folder.close()
    return folder.path, runner


def test_without_heat_nothing_is_repeated(tmp_path: Path, driver: Driver) -> None:
    path, runner = measure(tmp_path, driver, [])
    assert rows(path)["worker"].unique().tolist() == ["0000", "0001", "0002"]
    assert runner.replicates == 3
    assert [note for note in runner.notes if "repeated" in note] == []


def test_a_spoilt_replicate_stays_in_the_folder_and_counts_nowhere(tmp_path: Path, driver: Driver) -> None:
    path, runner = measure(tmp_path, driver, [False, True])
    assert len((path / "spoilt-0001.jsonl").read_text().splitlines()) == 2 * 2 * 2
    frame = rows(path)
    assert frame["worker"].unique().tolist() == ["0000", "0002", "0003"]
    assert sorted(frame["replicate"].unique()) == [0, 1, 2]
    assert set(frame.groupby("case")["replicate"].nunique()) == {3}
    assert read(path).replicates["windows"].sum() == len(frame) == 3 * 2 * 2 * 2
    assert summarize(load(path))["replicates"].tolist() == [3] * 4
    assert [len(record.seconds) for record in runner._planner._records.values()] == [3, 3]
    state = read_state(path)
    assert (len(state.visits), state.replicates, state.workers, state.repeats) == (6, 3, 4, 1)
    assert runner.replicates == 3
    assert "replicates: 1 repeated, since clocks were held back (cuda: hw_thermal_slowdown)" in runner.notes


def test_the_last_of_all_workers_may_be_spoilt_and_its_name_is_not_given_again(tmp_path: Path, driver: Driver) -> None:
    path, _ = measure(tmp_path, driver, [False, False, True])
    (path / "windows-0003.jsonl").unlink()
    assert read_state(path).workers == 3


def test_a_card_that_is_always_hot_is_measured_as_it_is_and_said_to_be(tmp_path: Path, driver: Driver) -> None:
    path, runner = measure(tmp_path, driver, [True] * 10)
    assert len(list(path.glob("spoilt-*.jsonl"))) == MAX_REPEATS
    assert sorted(rows(path)["replicate"].unique()) == [0, 1, 2]
    assert [note for note in runner.notes if note.startswith("replicates: ")] == [
        f"replicates: {MAX_REPEATS} repeated, since clocks were held back (cuda: hw_thermal_slowdown)",
        "replicates: 3 not repeated, though held back (cuda: hw_thermal_slowdown): "
        f"at most {MAX_REPEATS} are, and while there is time",
    ]
    assert len(list(jsonlines.read(path / "telemetry.jsonl"))) == (1 + 2) * (
        3 + MAX_REPEATS
    )  # before, and after each of two visits


def test_a_replicate_that_there_is_no_time_to_repeat_counts(tmp_path: Path, driver: Driver) -> None:
    path, runner = measure(tmp_path, driver, [True] * 10, budget_seconds=5.0)
    assert list(path.glob("spoilt-*.jsonl")) == []
    assert rows(path)["replicate"].notna().all()
    assert runner.replicates == 1


def test_what_was_repeated_before_a_resumption_counts_for_the_limit() -> None:
    repeats = Repeats(made=MAX_REPEATS - 1)
    assert [repeats.grant("heat", in_time=True) for _ in range(2)] == [True, False]
    assert not Repeats(made=MAX_REPEATS + 4).grant("heat", in_time=True)
