"""The preliminaries before timing, on workers whose replies the test sets."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from rnnbench.errors import UserError
from rnnbench.harness.coordinator.process import WorkerLost
from rnnbench.harness.coordinator.runner import Runner
from rnnbench.harness.coordinator.start import started
from rnnbench.store.folder import RunFolder
from rnnbench.store.frames.cases import missing_reasons
from rnnbench.store.records import Group
from rnnbench.suite_file import Settings
from tests.doubles import workload as small
from tests.doubles.fakes import FakeClock, FakeWorker, run_into
from tests.doubles.stored import INFO, rows

GROUPS = [Group(small.workload(batch_size=size), (small.case("gru", batch_size=size),)) for size in (1, 2, 3)]


class Metered(FakeWorker):
    """A worker whose device has an energy counter; each reading takes two seconds."""

    def request(self, message: dict[str, Any], deadline_seconds: float) -> dict[str, Any]:
        reply = super().request(message, deadline_seconds)
        if message["op"] == "device":
            return reply | {"no_energy": ""}
        if message["op"] == "energy":
            self._clock.seconds += 2.0
            return {"ok": True, "values": {"energy_joules": 0.25}, "missing": {}}
        return reply


def run(
    parent: Path,
    kind: type[FakeWorker] = FakeWorker,
    fault: Callable[[Any], None] = lambda m: None,
    left: Any = None,
    groups: Sequence[Group] = GROUPS,
):
    """The run's frame, the preliminaries and the workers."""
    clock, workers = FakeClock(), []

    def start(name: str) -> Any:
        workers.append(kind(name, clock, fault, lambda key: 0.01))
        return workers[-1]

    folder = RunFolder.create(parent, "test")
    settings = Settings()
    options: dict[str, Any] = {"start_worker": start, "now": clock}
    with started(groups, settings, **options) as begun:
        runner = Runner(groups, settings, begun, folder, root=parent, **options)
        folder.write_info(INFO)
        before = runner.preliminaries
        before.run(left, lambda done, total: None)
    folder.close()
    return rows(folder.path), before, workers, runner.ceilings


def test_each_place_has_one_ceiling_and_no_worker_is_left(tmp_path: Path) -> None:
    frame, before, workers, ceilings = run(tmp_path)
    assert [ceiling["device"] for ceiling in ceilings.to_json()] == ["cpu"]
    assert frame["parameters"].tolist() == [7, 7, 7]
    assert [missing_reasons(text)["energy_joules"] for text in frame["missing"]] == ["no counter"] * 3
    assert before.stage_seconds.keys() == {"ceilings", "observing", "energy"}
    assert all(worker.closed for worker in workers)


def test_what_refuses_the_ceilings_ends_the_run_before_a_case_is_observed(tmp_path: Path) -> None:
    clock, workers, seen = FakeClock(), list[FakeWorker](), list[str]()

    def start(name: str) -> Any:
        workers.append(FakeWorker(name, clock, lambda message: seen.append(message["op"]), lambda key: 0.01))
        return workers[-1]

    def refuse(ceilings: list[dict[str, Any]]) -> None:
        assert [ceiling["device"] for ceiling in ceilings] == ["cpu"]
        raise UserError("another machine")

    folder = RunFolder.create(tmp_path, "test")
    with pytest.raises(UserError, match="another machine"):
        run_into(folder, GROUPS, Settings(), start_worker=start, now=clock, on_ceilings=refuse)
    folder.close()
    assert seen[-1] == "ceiling"
    assert all(worker.closed for worker in workers)


def test_energy_is_measured_where_there_is_a_counter_and_within_its_share(tmp_path: Path) -> None:
    frame, *_ = run(tmp_path, Metered, left=22.0)
    assert frame["energy_joules"].tolist()[:2] == [0.25, 0.25]
    assert frame["energy_joules"].isna().tolist() == [False, False, True]
    assert missing_reasons(frame["missing"][2]) == {"energy_joules": "not reached within 20% of the budget"}


def test_limits_that_can_not_be_measured_are_told_and_the_cases_are_observed_all_the_same(tmp_path: Path) -> None:
    def fault(message: dict[str, Any]) -> None:
        if message["op"] == "ceiling":
            raise WorkerLost("no answer within 120 s")

    frame, _, workers, ceilings = run(tmp_path, fault=fault)
    assert ceilings.notes() == ["the limits of cpu in float64 were not measured: no answer within 120 s"]
    assert frame["parameters"].tolist() == [7, 7, 7]
    assert all(worker.closed for worker in workers)


def test_a_budget_that_ends_while_cases_are_observed_leaves_each_sweep_its_share(tmp_path: Path) -> None:
    class Slow(FakeWorker):
        def request(self, message: dict[str, Any], deadline_seconds: float) -> dict[str, Any]:
            self._clock.seconds += 3.0 if message["op"] == "observe" else 0.0
            return super().request(message, deadline_seconds)

    groups = [
        Group(small.workload(batch_size=size), (small.case("gru", batch_size=size),), sweep=size // 10)
        for size in (11, 12, 13, 21, 22, 23, 31, 32, 33)
    ]
    frame, *_ = run(tmp_path, Slow, left=31.0, groups=groups)  # half is for observing: six cases, the last from 15 s on
    assert frame.loc[frame["parameters"].notna(), "batch_size"].tolist() == [11, 12, 21, 22, 31, 32]


def test_a_share_of_the_budget_that_is_too_small_for_all_energies_is_spent_on_every_sweep(tmp_path: Path) -> None:
    groups = [
        Group(small.workload(batch_size=size), (small.case("gru", batch_size=size),), sweep=size // 10)
        for size in (11, 12, 13, 21, 22, 23, 31, 32, 33)
    ]
    frame, *_ = run(tmp_path, Metered, left=42.0, groups=groups)  # 8.4 s for energy: a start and four cases
    assert frame.loc[frame["energy_joules"].notna(), "batch_size"].tolist() == [11, 12, 21, 31]


def test_ceilings_that_a_case_has_forged_are_left_out_and_told(tmp_path: Path) -> None:
    class Forging(FakeWorker):
        def request(self, message: dict[str, Any], deadline_seconds: float) -> dict[str, Any]:
            reply = super().request(message, deadline_seconds)
            return reply | {"ceiling": {"products": 3}} if message["op"] == "ceiling" else reply

    frame, _, _, ceilings = run(tmp_path, Forging)
    assert ceilings.to_json() == []
    assert ceilings.notes() == ["limits that a worker sent can't be used: KeyError('copies')"]
    assert frame["parameters"].tolist() == [7, 7, 7]
