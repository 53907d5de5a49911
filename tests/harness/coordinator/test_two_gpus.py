"""Groups on two GPUs: each stays on one card, cards work at the same time, and no card gets two requests at once."""

import json
import signal
import threading
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rnnbench import load, summarize
from rnnbench.errors import UserError
from rnnbench.harness.coordinator import lanes
from rnnbench.harness.coordinator.process import WorkerLost
from rnnbench.harness.coordinator.resume import RunState, read_state
from rnnbench.harness.coordinator.runner import Runner
from rnnbench.harness.coordinator.start import OBSERVER, started
from rnnbench.harness.devices import Cuda
from rnnbench.harness.turns.progress import Progress
from rnnbench.store.folder import RunFolder
from rnnbench.store.records import Group
from rnnbench.suite_file import Settings
from tests.doubles.fake_machine import A, B, Machine, OnMachine, gpu_groups
from tests.doubles.stored import INFO, rows
from tests.harness.coordinator.test_runner import GROUPS as CPU_GROUPS
from tests.harness.turns.test_repeats import HOT, Hot

TWO = {A: "H100", B: "H100"}


@pytest.fixture(autouse=True)
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "cores_apart", lambda threads: [(3,), (2,), (1,)])


class Run:
    """A run on a machine, into a new or an existing folder."""

    def __init__(self, parent: Path, machine: Machine, groups: Sequence[Group], path: Path | None = None) -> None:
        self.machine = machine
        self.steps: list[Progress] = []
        self.state = read_state(path) if path else RunState()
        self.groups = self.state.groups if path else groups
        self.folder = RunFolder(path) if path else RunFolder.create(parent, "test")

    def go(self) -> pd.DataFrame:
        settings = Settings(replicates=3, windows=2, precision=None)
        options: dict[str, Any] = {"start_worker": self.machine.start, "now": self.machine.clock}
        try:
            with started(self.groups, settings, previous_cards=self.state.previous_cards, **options) as start:
                self.said = start.software | {"unusable": start.unusable}
                self.runner = Runner(
                    self.groups,
                    settings,
                    start,
                    self.folder,
                    root=self.folder.path.parent,
                    state=self.state,
                    on_progress=self.steps.append,
                    seed=1,
                    **options,
                )
                self.folder.write_info(INFO)
                self.runner.run()
        finally:
            self.folder.close()
        assert all(worker.closed for worker in self.machine.workers)
        return rows(self.folder.path)


def cards_of(frame: pd.DataFrame) -> dict[str, set[Any]]:
    return {str(case): set(cards) for case, cards in frame.groupby("case")["device_uuid"]}


def test_groups_are_spread_over_both_cards_and_each_stays_on_its_own(tmp_path: Path) -> None:
    run = Run(tmp_path, Machine(TWO), gpu_groups(6))
    frame = run.go()
    assert set(frame["status"]) == {"measured"}
    assert set(frame.groupby(["case", "replicate"]).size()) == {2}
    assert all(len(cards) == 1 for cards in cards_of(frame).values())
    assert frame.groupby("device_uuid")["batch_size"].nunique().to_dict() == {A: 3, B: 3}
    assert frame.groupby("batch_size")["device_uuid"].nunique().eq(1).all()
    assert summarize(load(run.folder.path))["replicates"].tolist() == [3] * 12
    assert run.runner.replicates == 3
    assert run.runner.notes[:2] == [f"cuda {A} (H100): 3 of 6 groups", f"cuda {B} (H100): 3 of 6 groups"]
    assert run.said["devices"] == {"cuda": [{"name": "H100", "uuid": A}, {"name": "H100", "uuid": B}]}


def test_the_cards_are_at_work_at_the_same_time_and_never_asked_for_two_things_at_once(tmp_path: Path) -> None:
    barrier = threading.Barrier(2, timeout=20)
    met = set[str]()

    def watch(worker: OnMachine, message: dict[str, Any]) -> None:
        if message["op"] in ("observe", "energy", "window") and (message["op"], worker.seen[0]) not in seen:
            seen.add((message["op"], worker.seen[0]))
            barrier.wait()  # times out if one card waits until the other is done
            met.add(message["op"])

    seen = set[tuple[str, str]]()
    machine = Machine(TWO, watch)
    Run(tmp_path, machine, gpu_groups(6)).go()
    assert met == {"observe", "energy", "window"}
    assert machine.overlaps == []


def test_each_worker_sees_one_card_and_is_pinned_to_cores_of_that_lane(tmp_path: Path) -> None:
    machine = Machine(TWO)
    Run(tmp_path, machine, gpu_groups(6)).go()
    first, *others = machine.workers
    assert first.seen == [A, B]
    assert all(len(worker.seen) == 1 for worker in others)
    pinned = defaultdict[str, set[Any]](set)
    for worker in others:
        if worker.name != OBSERVER:
            pinned[worker.seen[0]] |= set(worker.pinned)
    assert pinned == {A: {(3,)}, B: {(2,)}}
    per_card = [worker.seen[0] for worker in others if worker.name != OBSERVER]
    assert (per_card.count(A), per_card.count(B)) == (3, 3)
    assert len({worker.name for worker in others if worker.name != OBSERVER}) == 6


def test_energy_is_measured_on_the_card_that_times_the_case(tmp_path: Path) -> None:
    machine = Machine(TWO)
    frame = Run(tmp_path, machine, gpu_groups(4)).go()
    assert set(frame["energy_joules"]) == {0.5}
    energy = [card for card, op, _ in machine.asked if op == "energy"]
    assert (energy.count(A), energy.count(B)) == (4, 4)


def test_a_processor_is_timed_alone(tmp_path: Path) -> None:
    machine = Machine(TWO)
    frame = Run(tmp_path, machine, [*gpu_groups(4), *CPU_GROUPS]).go()
    assert machine.overlaps == []
    assert frame.loc[frame["device"] == "cpu", "device_uuid"].isna().all()
    assert set(frame.groupby(["case", "replicate"]).size()) == {2}


def test_a_worker_that_is_lost_on_one_card_does_not_disturb_the_other(tmp_path: Path) -> None:
    groups = gpu_groups(6)
    culprit = groups[0].cases[0]

    def watch(worker: OnMachine, message: dict[str, Any]) -> None:
        if message["op"] == "window" and message["case"] == culprit.key:
            raise WorkerLost("the worker was killed by SIGSEGV")

    machine = Machine(TWO, watch)
    run = Run(tmp_path, machine, groups)
    frame = run.go()
    cases = frame.drop_duplicates("case").set_index("case")[["status", "reason"]]
    assert list(cases.loc[culprit.key]) == ["failed", "the worker was killed by SIGSEGV"]
    assert set(cases.drop(culprit.key)["status"]) == {"measured"}
    assert f"a worker was lost at {culprit.key}: the worker was killed by SIGSEGV" in run.runner.notes
    started = [worker.seen[0] for worker in machine.workers if worker.name != OBSERVER]
    card = next(iter(cards_of(frame)[groups[0].cases[1].key]))
    assert (started.count(card), len(started)) == (4, 7)
    others = frame[frame["device_uuid"] != card]
    assert set(others.groupby(["case", "replicate"]).size()) == {2}
    assert machine.overlaps == []


def test_a_worker_that_starts_while_the_other_card_is_timed_stays_on_its_cores(tmp_path: Path) -> None:
    groups = gpu_groups(2)

    def watch(worker: OnMachine, message: dict[str, Any]) -> None:
        if message["op"] == "window" and message["case"] == groups[0].cases[0].key:
            raise WorkerLost("the worker was killed by SIGSEGV")

    machine = Machine(TWO, watch)
    ready: list[tuple[str, tuple[int, ...]]] = []

    class Noting(OnMachine):
        def wait_ready(self) -> dict[str, Any]:
            ready.extend((self.name, cores) for cores in self.pinned)
            return super().wait_ready()

    def start(name: str, variables: Any = None) -> Any:
        worker = start_worker(name, variables)
        worker.__class__ = Noting
        return worker

    start_worker, machine.start = machine.start, start  # type: ignore[method-assign]
    run = Run(tmp_path, machine, groups)
    run.go()
    assert [cores for _, cores in ready] == [(3,)]


def test_a_resumed_run_keeps_each_group_on_its_card_whatever_their_order_is_now(tmp_path: Path) -> None:
    frame = Run(tmp_path, Machine(TWO), gpu_groups(5)).go()
    [path] = tmp_path.iterdir()
    for file in sorted(path.glob("windows-*.jsonl"))[2:]:  # all but the first replicate
        file.unlink()
    resumed = Run(tmp_path, Machine({B: "H100", A: "H100"}), [], path).go()
    assert set(resumed.groupby("case")["replicate"].nunique()) == {3}
    assert cards_of(resumed) == cards_of(frame)


def test_a_run_is_not_resumed_without_its_card(tmp_path: Path) -> None:
    Run(tmp_path, Machine(TWO), gpu_groups(4)).go()
    [path] = tmp_path.iterdir()
    with pytest.raises(UserError, match="groups of cuda were measured on bbbb, which is missing now"):
        Run(tmp_path, Machine({A: "H100", "cccc": "H100"}), [], path).go()


def test_what_an_older_version_recorded_without_a_card_is_resumed_anywhere(tmp_path: Path) -> None:
    Run(tmp_path, Machine({A: "H100"}), gpu_groups(2)).go()
    [path] = tmp_path.iterdir()
    for file in path.glob("windows-*.jsonl"):
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        for line in lines:
            del line["device_uuid"]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_state(path).previous_cards == {}
    Run(tmp_path, Machine({"cccc": "H100"}), [], path).go()


def test_a_gpu_of_another_model_is_left_out_and_said_to_be(tmp_path: Path) -> None:
    run = Run(tmp_path, Machine({A: "H100", "cccc": "T4", B: "H100"}), gpu_groups(4))
    frame = run.go()
    assert set(frame["device_uuid"]) == {A, B}
    assert "cuda: left out, since of another model than the first, H100: T4" in run.runner.notes


def test_with_cores_for_one_lane_one_gpu_is_used_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "cores_apart", lambda threads: [])
    run = Run(tmp_path, Machine(TWO), gpu_groups(4))
    frame = run.go()
    assert set(frame["device_uuid"]) == {A}
    assert "cuda: 1 of 2 are used, since each needs cores of its own" in run.runner.notes


def test_a_device_that_is_named_by_its_number_is_that_one_alone(tmp_path: Path) -> None:
    machine = Machine(TWO)
    frame = Run(tmp_path, machine, gpu_groups(4, "cuda:1")).go()
    assert set(frame["device_uuid"]) == {B}
    assert {card for card, _, _ in machine.asked} == {B}


def test_a_numbered_card_is_not_used_beside_the_lane_that_has_it_too(tmp_path: Path) -> None:
    machine = Machine(TWO)
    frame = Run(tmp_path, machine, [*gpu_groups(4), *gpu_groups(3, "cuda:1")]).go()
    assert machine.overlaps == []
    assert set(frame.loc[frame["device"] == "cuda:1", "device_uuid"]) == {B}
    assert set(frame.groupby(["case", "replicate"]).size()) == {2}


def test_progress_counts_the_visits_of_all_lanes_and_the_time_of_the_longest(tmp_path: Path) -> None:
    run = Run(tmp_path, Machine(TWO), gpu_groups(5))
    run.go()
    timed = [step for step in run.steps if step.replicate > 0]
    assert {step.visits for step in timed} == {5}
    assert max(step.visits_done for step in timed) >= 3  # both lanes may be at their last visits
    assert [step.replicate for step in timed] == sorted(step.replicate for step in timed)
    assert timed[-1].seconds_left is not None


def test_heat_on_one_card_spoils_its_own_replicate_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = {A: Hot([[], HOT, [], []]), B: Hot([])}
    monkeypatch.setattr(Cuda, "monitor", lambda uuid: gpus[uuid])
    run = Run(tmp_path, Machine(TWO), gpu_groups(4))
    frame = run.go()
    assert len(list(run.folder.path.glob("spoilt-*.jsonl"))) == 1
    assert set(frame.groupby("case")["replicate"].nunique()) == {3}
    assert frame.groupby("device_uuid")["worker"].nunique().to_dict() == {A: 3, B: 3}
    assert f"replicates: 1 repeated, since clocks were held back (cuda {A}: hw_thermal_slowdown)" in run.runner.notes


def test_ctrl_c_ends_both_lanes_and_fails_no_case(tmp_path: Path) -> None:
    windows = {A: 0, B: 0}
    main = threading.get_ident()

    def watch(worker: OnMachine, message: dict[str, Any]) -> None:
        if message["op"] != "window":
            return
        windows[worker.seen[0]] += 1
        if windows[worker.seen[0]] == 5:
            if worker.seen[0] == A:
                signal.pthread_kill(main, signal.SIGINT)
            worker.killed.wait(20)  # like a long call

    run = Run(tmp_path, Machine(TWO, watch), gpu_groups(4))
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        run.go()
    assert threading.active_count() == before
    assert all(worker.closed for worker in run.machine.workers)
    frame = rows(run.folder.path)
    assert "failed" not in set(frame["status"])
    resumed = Run(tmp_path, Machine(TWO), [], run.folder.path).go()
    complete = resumed[resumed.groupby(["worker", "batch_size"])["order"].transform("size") == resumed["turns"]]
    assert set(complete.groupby("case")["worker"].nunique()) == {3}


def test_where_no_worker_can_start_on_one_card_the_run_ends_in_words_and_the_other_lane_with_it(tmp_path: Path) -> None:
    machine = Machine(TWO, watch=lambda worker, message: None)

    def watch(worker: OnMachine, message: dict[str, Any]) -> None:
        if message["op"] != "window":
            return
        if worker.seen[0] == A:
            raise WorkerLost("the worker was killed by SIGSEGV")
        worker.killed.wait(20)

    class Stillborn(OnMachine):
        def wait_ready(self) -> dict[str, Any]:
            raise WorkerLost("the worker exited with 1: no more processes")

    def start(name: str, variables: Any = None) -> Any:
        worker = start_worker(name, variables)
        if name == "0002":  # the next worker after the first of each card
            worker.__class__ = Stillborn
        return worker

    machine.watch = watch
    start_worker, machine.start = machine.start, start  # type: ignore[method-assign]
    run = Run(tmp_path, machine, gpu_groups(4))
    with pytest.raises(UserError, match="no worker can start: the worker exited with 1: no more processes"):
        run.go()
    assert all(worker.closed for worker in machine.workers)
    assert rows(run.folder.path)["status"].tolist().count("failed") == 1


def test_with_a_single_gpu_nothing_is_said_of_cards_and_no_environment_is_changed(tmp_path: Path) -> None:
    machine = Machine({A: "H100"})
    passed: list[Any] = []

    start_worker = machine.start

    def start(name: str, variables: Any = None) -> Any:
        passed.append(variables)
        return start_worker(name, variables)

    machine.start = start  # type: ignore[method-assign]
    run = Run(tmp_path, machine, gpu_groups(3))
    frame = run.go()
    assert set(passed) == {None}
    assert run.runner.notes == []
    assert set(frame["device_uuid"]) == {A}
