"""The preliminaries before timing, on workers whose replies the test sets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rnnbench.harness.coordinator.process import WorkerLost
from rnnbench.harness.coordinator.runner import Runner
from rnnbench.harness.coordinator.start import started
from rnnbench.store.folder import RunFolder
from rnnbench.store.frames import missing_reasons
from rnnbench.store.records import Group
from rnnbench.suite.file import Settings
from tests.doubles import workload as small
from tests.doubles.fakes import START_SECONDS, Edit, FakeWorkers, Fault
from tests.doubles.stored import INFO, rows

GROUPS = [Group(small.workload(batch_size=size), (small.case("gru", batch_size=size),)) for size in (1, 2, 3)]


def metered(message: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
    """The reply of a worker whose device has an energy counter."""
    if message["op"] == "device":
        return reply | {"no_energy": ""}
    return {"ok": True, "values": {"energy_joules": 0.25}, "missing": {}} if message["op"] == "energy" else reply


def run(
    parent: Path,
    edit: Edit = lambda message, reply: reply,
    fault: Fault = lambda message: None,
    left: Any = None,
    groups: Sequence[Group] = GROUPS,
    taking: Mapping[str, float] = MappingProxyType({}),
):
    """The run's frame, its runner and the workers; `taking`: seconds of some operations."""

    def spend(message: dict[str, Any]) -> None:
        workers.clock.seconds += taking.get(message["op"], 0.0)
        fault(message)

    workers = FakeWorkers(spend, edit=edit)
    folder = RunFolder.create(parent, "test")
    settings = Settings(budget_seconds=None if left is None else left + START_SECONDS)
    options: dict[str, Any] = {"start_worker": workers, "now": workers.clock}
    with started(groups, settings, **options) as begun:
        runner = Runner(groups, settings, begun, folder, root=parent, **options)
        folder.write_info(INFO)
        runner.begin()
    folder.close()
    return rows(folder.path), runner, workers


def test_each_place_has_one_ceiling_and_no_worker_is_left(tmp_path: Path) -> None:
    frame, runner, workers = run(tmp_path)
    assert [ceiling["device"] for ceiling in runner.ceilings.to_json()] == ["cpu"]
    assert frame["parameters"].tolist() == [7, 7, 7]
    assert [missing_reasons(text)["energy_joules"] for text in frame["missing"]] == ["no counter"] * 3
    assert runner.stage_seconds.keys() == {"ceilings", "observing", "energy"}
    assert workers.are_closed


def test_cases_are_observed_although_the_ceilings_took_half_of_the_budget(tmp_path: Path) -> None:
    frame, *_ = run(tmp_path, left=5.0, taking={"ceiling": 3.0})
    assert frame["parameters"].tolist() == [7, 7, 7]


def test_energy_is_measured_where_there_is_a_counter_and_within_its_share(tmp_path: Path) -> None:
    frame, *_ = run(tmp_path, metered, left=22.0, taking={"energy": 2.0})
    assert frame["energy_joules"].tolist()[:2] == [0.25, 0.25]
    assert frame["energy_joules"].isna().tolist() == [False, False, True]
    assert missing_reasons(frame["missing"][2]) == {"energy_joules": "not reached within 20% of the budget"}


def test_limits_that_can_not_be_measured_are_told_and_the_cases_are_observed_all_the_same(tmp_path: Path) -> None:
    def fault(message: dict[str, Any]) -> None:
        if message["op"] == "ceiling":
            raise WorkerLost("no answer within 120 s")

    frame, runner, workers = run(tmp_path, fault=fault)
    assert [*runner.ceilings.notes] == ["the limits of cpu in float64 were not measured: no answer within 120 s"]
    assert frame["parameters"].tolist() == [7, 7, 7]
    assert workers.are_closed


def test_a_budget_that_ends_while_cases_are_observed_leaves_each_sweep_its_share(tmp_path: Path) -> None:
    groups = [
        Group(small.workload(batch_size=size), (small.case("gru", batch_size=size),), sweep=size // 10)
        for size in (11, 12, 13, 21, 22, 23, 31, 32)
    ]
    # half is for observing: six cases, the last from 15 s on
    frame, *_ = run(tmp_path, left=31.0, groups=groups, taking={"observe": 3.0})
    assert frame.loc[frame["parameters"].notna(), "batch_size"].tolist() == [11, 12, 21, 22, 31, 32]


def test_a_share_of_the_budget_that_is_too_small_for_all_energies_is_spent_on_every_sweep(tmp_path: Path) -> None:
    groups = [
        Group(small.workload(batch_size=size), (small.case("gru", batch_size=size),), sweep=size // 10)
        for size in (11, 12, 13, 21, 22, 23, 31, 32)
    ]
    # 8.4 s for energy: a start and four cases
    frame, *_ = run(tmp_path, metered, left=42.0, groups=groups, taking={"energy": 2.0})
    assert frame.loc[frame["energy_joules"].notna(), "batch_size"].tolist() == [11, 12, 21, 31]
