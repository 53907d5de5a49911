"""The coordinator with workers whose costs and deaths the test sets."""

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest.mock import Mock

import pytest

from rnnbench.harness.coordinator.origin import Origins
from rnnbench.harness.coordinator.process import OBSERVER, lost
from rnnbench.harness.coordinator.recorder import NOT_PROBED
from rnnbench.harness.coordinator.runner import NOTHING_TO_COMPARE, Runner
from rnnbench.harness.coordinator.start import read_earlier_run, started
from rnnbench.harness.machine.pulse import Pulses
from rnnbench.harness.protocol import Reply
from rnnbench.harness.turns.schedule import Progress
from rnnbench.store.folder import RunFolder
from rnnbench.store.frames import missing_reasons
from rnnbench.store.records import NOT_REACHED, NOT_TIMED_ALONE, Case, Group
from rnnbench.suite.file import Settings
from tests.doubles import workload as small
from tests.doubles.fakes import START_SECONDS, Edit, Failing, FakeWorker, FakeWorkers, Fault, run_into
from tests.doubles.stored import INFO, rows

GROUPS = [
    Group(
        small.workload(batch_size=size), (small.case("vanilla", batch_size=size), small.reference_case(batch_size=size))
    )
    for size in (1, 2, 3)
]


def measure(
    parent: Path,
    *,
    fault: Fault = lambda message: None,
    seconds: Callable[[str], float] = lambda key: 0.01,
    groups: Sequence[Group] = GROUPS,
    edit: Edit = lambda message, reply: reply,
    **settings: Any,
):
    """The run's frame, the runner, the workers started, and every progress report."""
    workers = FakeWorkers(fault, seconds=seconds, edit=edit)
    steps: list[Progress] = []
    defaults = {"replicates": 3, "windows": 4, "window_seconds": 0.01, "precision": None, "max_replicates": 1000}
    chosen = Settings(**(defaults | settings))
    folder = RunFolder.create(parent, "test")
    runner = run_into(folder, groups, chosen, on_progress=steps.append, workers=workers, seed=1)
    folder.close()
    return rows(folder.path), runner, workers.started, steps


def timing(workers: list[FakeWorker]) -> list[FakeWorker]:
    """The workers without those that only observe."""
    return [worker for worker in workers if worker.name != OBSERVER]


LOST = lost("the worker was killed by SIGSEGV")
ILLEGAL = {"ok": False, "status": "failed", "reason": "CUDA error: an illegal memory access was encountered"}


def at(case: Case, op: str, count: int = 1, reply: Reply = LOST) -> Fault:
    """Fail with this reply at the n-th request of this kind for this case."""
    requests: Counter[str] = Counter()

    def fault(message: dict[str, Any]) -> None:
        if message["op"] == op and message["case"] == (case.key if op == "turn" else case.axes()):
            requests[op] += 1
            if requests[op] == count:
                raise Failing(reply)

    return fault


def test_every_case_gets_its_windows_in_every_replicate_and_each_replicate_a_worker_of_its_own(tmp_path: Path) -> None:
    frame, runner, workers, _ = measure(tmp_path)
    assert set(frame.groupby(["case", "replicate"]).size()) == {2}  # each half of the turns
    assert frame["case"].nunique() == 6
    assert frame.groupby("replicate")["worker"].nunique().tolist() == [1, 1, 1]
    assert frame["worker"].nunique() == len(timing(workers)) == 3
    assert all(worker.closed for worker in workers)
    assert runner.replicates == 3


def test_groups_come_in_another_order_in_each_replicate(tmp_path: Path) -> None:
    frame, *_ = measure(tmp_path, replicates=6)
    orders = {tuple(r.sort_values("started")["batch_size"].unique()) for _, r in frame.groupby("replicate")}
    assert len(orders) > 1


@pytest.mark.parametrize("reply", [LOST, ILLEGAL])
@pytest.mark.parametrize(("op", "count"), [("check", 1), ("prepare", 1), ("prepare", 2), ("turn", 1), ("turn", 19)])
def test_a_case_that_fails_or_kills_its_worker_fails_alone_and_no_other_case_runs_in_that_process(
    tmp_path: Path, op: str, count: int, reply: Reply
) -> None:
    culprit = small.case("vanilla", batch_size=2)
    groups = [replace(group, cases=(*group.cases, replace(group.cases[0], cell="combined"))) for group in GROUPS]
    frame, runner, workers, _ = measure(tmp_path, groups=groups, fault=at(culprit, op, count, reply))
    reason = reply["reason"]
    cases = frame.drop_duplicates("case").set_index("case")
    assert cases.loc[culprit.key, ["status", "reason"]].tolist() == ["failed", reason]
    assert op == "check" or cases.loc[culprit.key, "parity"] == "agrees"  # what was known of it stays
    assert count == 1 or cases.loc[culprit.key, "parameters"] == 7
    others = frame[frame["case"] != culprit.key]
    assert set(others["status"]) == {"measured"}
    last = others["worker"] == others.groupby(["replicate", "batch_size"])["worker"].transform("max")
    assert set(others[last].groupby(["case", "replicate"]).size()) == {2}
    assert len(timing(workers)) == 3 + (op != "check")
    assert runner.notes == ([f"a worker was lost at {culprit.key}: {reason}"] if reply is LOST else [])


SKIPPED = {"ok": False, "status": "skipped", "reason": "the cell defines no project()"}


@pytest.mark.parametrize("reply", [LOST, ILLEGAL])
@pytest.mark.parametrize(("op", "count"), [("check", 1), ("prepare", 1), ("prepare", 2), ("turn", 1), ("turn", 19)])
def test_a_reference_is_not_timed_any_more_when_all_cases_that_are_compared_with_it_have_failed(
    tmp_path: Path, op: str, count: int, reply: Reply
) -> None:
    culprit = small.case("vanilla", batch_size=2)
    frame, runner, _, _ = measure(tmp_path, fault=at(culprit, op, count, reply))
    alone = frame[frame["case"] == small.reference_case(batch_size=2).key]
    has_windows = count > 1  # it fails in the second replicate
    assert set(zip(alone["status"], alone["reason"], strict=True)) == (
        {("measured", "")} if has_windows else {("skipped", NOT_TIMED_ALONE)}
    )
    assert alone["replicate"].max() == 0 if has_windows else alone["replicate"].isna().all()
    others = frame[frame["batch_size"] != 2]
    assert set(others.groupby(["case", "replicate"]).size()) == {2}
    assert NOTHING_TO_COMPARE not in runner.notes


@pytest.mark.parametrize("reply", [LOST, ILLEGAL, SKIPPED])
@pytest.mark.parametrize("op", ["check", "prepare"])
def test_a_run_in_which_nothing_is_left_to_compare_ends_at_once_and_says_so(
    tmp_path: Path, op: str, reply: Reply
) -> None:
    def fault(message: dict[str, Any]) -> None:
        if message["op"] == op and message["case"]["cell"] == "vanilla":
            raise Failing(reply)

    frame, runner, workers, _ = measure(tmp_path, fault=fault)
    assert frame["replicate"].isna().all()
    assert set(zip(frame["cell"], frame["status"], frame["reason"], strict=True)) == {
        ("vanilla", reply["status"], reply["reason"]),
        ("torch.nn.RNN", "skipped", NOT_TIMED_ALONE),
    }
    assert NOTHING_TO_COMPARE in runner.notes
    assert len(timing(workers)) <= (0 if op == "check" else len(GROUPS))


def test_a_reference_by_itself_is_timed(tmp_path: Path) -> None:
    groups = [replace(group, cases=(group.cases[1],)) for group in GROUPS]
    frame, *_ = measure(tmp_path, groups=groups)
    assert set(frame["status"]) == {"measured"}


def test_a_reference_is_not_timed_where_the_budget_ended_before_a_case_that_is_compared_with_it(tmp_path: Path) -> None:
    frame, runner, *_ = begin(tmp_path, left=3.0, groups=GROUPS, taking={"check": 0.8})
    assert set(frame["status"]) == {"pending"}
    assert runner.planner.next_visits() == [GROUPS[0]]


def test_a_cell_that_prints_is_told(tmp_path: Path) -> None:
    loud = small.case("vanilla", batch_size=2).key

    def printing(message: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
        for window in reply.get("windows", ()):
            window["printed"] = window["case"] == loud
        return reply

    _, runner, *_ = measure(tmp_path, edit=printing)
    assert runner.notes == ["vanilla prints in its calls, so printing is part of its time"]


@pytest.mark.parametrize("budget_seconds", [5.0, 8.0, 11.0])
def test_a_budget_is_not_overrun_by_more_than_a_visit(tmp_path: Path, budget_seconds: float) -> None:
    frame, runner, *_ = measure(tmp_path, replicates=1000, budget_seconds=budget_seconds, seconds=lambda key: 0.02)
    spent = runner._now()
    visit = 0.02 * 2 + 8 * 0.02
    assert budget_seconds - START_SECONDS - 4 * visit <= spent <= budget_seconds + visit
    assert frame["replicate"].nunique() >= 1


def test_groups_that_the_budget_left_out_keep_their_rows(tmp_path: Path) -> None:
    frame, *_ = measure(tmp_path, budget_seconds=2.1)
    unreached = frame[frame["status"] == "pending"]
    assert len(unreached) > 0
    assert set(unreached["reason"]) == {NOT_REACHED}
    assert frame["case"].nunique() == 6


def test_a_run_whose_first_worker_took_most_of_the_budget_to_import_torch_is_timed_by_forks_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node of a cluster took twelve of fifteen seconds to read torch, and the job measured nothing."""

    class SlowFirst(FakeWorker):
        def wait_ready(self) -> dict[str, Any]:
            self._clock.seconds += 0.1 if self._clock.seconds else 12.0
            return {"protocol": self.protocol}

    def begin_origin(origins: Origins) -> None:
        origins._current = Mock(fault="")

    monkeypatch.setattr(Origins, "_renew", begin_origin)
    with closing(RunFolder.create(tmp_path, "test")) as folder:
        workers = FakeWorkers(kind=SlowFirst)
        run_into(folder, GROUPS, Settings(budget_seconds=15.0, windows=4, window_seconds=0.01), workers=workers)
    assert "measured" in set(rows(folder.path)["status"])


def test_time_left_is_honest_after_the_first_replicate(tmp_path: Path) -> None:
    _, runner, _, steps = measure(tmp_path, replicates=5, seconds=lambda key: 0.05)
    second = next(step for step in steps if step.replicate == 2)
    per_replicate = (runner._now() - START_SECONDS) / 5  # without the start of the worker that timed nothing
    assert second.seconds_left == pytest.approx(4 * per_replicate - START_SECONDS, rel=0.2)
    progress = [(step.replicate, step.visits_done) for step in steps]
    first, *others = ([(r, v) for v in range(4)] for r in range(1, 6))
    of_cases = [(0, v) for v in range(7)]  # checked, and probed after the first replicate
    assert progress == [*of_cases, *first, *of_cases, *itertools.chain(*others)]
    assert [bool(step.ratios) for step in steps] == [step.replicate > 1 for step in steps[:7]] + [
        step.replicate != 1 or step.visits_done > 0 for step in steps[7:]
    ]


def test_a_budget_that_ends_within_the_first_replicate_has_timed_groups_of_every_sweep(tmp_path: Path) -> None:
    groups = [
        Group(
            small.workload(batch_size=size), (small.case("vanilla", batch_size=size),), sweep=0 if size < 20 else size
        )
        for size in range(1, 23)
    ]
    frame, *_ = measure(tmp_path, groups=groups, seconds=lambda key: 1.0, windows=2, budget_seconds=15.0)
    timed = set(frame.loc[frame["status"] == "measured", "batch_size"])
    assert len(timed) < 10
    assert timed >= {20, 21, 22}


SINGLE = [Group(small.workload(batch_size=size), (small.case("gru", batch_size=size),)) for size in (1, 2, 3)]


def metered(message: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
    """The reply of a worker whose device has an energy counter."""
    if message["op"] == "device":
        return reply | {"no_energy": ""}
    return {"ok": True, "values": {"energy_joules": 0.25}, "missing": {}} if message["op"] == "energy" else reply


def begin(
    parent: Path,
    edit: Edit = lambda message, reply: reply,
    fault: Fault = lambda message: None,
    left: Any = None,
    groups: Sequence[Group] = SINGLE,
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
        runner = Runner(groups, settings, begun, folder, root=parent)
        folder.write_info(INFO)
        runner.begin()
        runner.observe()
    folder.close()
    return rows(folder.path), runner, workers


def test_each_place_has_one_ceiling_and_no_worker_is_left(tmp_path: Path) -> None:
    frame, runner, workers = begin(tmp_path)
    assert [ceiling.device for ceiling in runner.ceilings] == ["cpu"]
    assert frame["parameters"].tolist() == [7, 7, 7]
    assert [missing_reasons(text)["energy_joules"] for text in frame["missing"]] == ["no counter"] * 3
    assert runner.stage_seconds.keys() == {"checking", "ceilings", "observing", "energy"}
    assert workers.are_closed


def test_cases_are_observed_although_the_ceilings_took_half_of_the_budget(tmp_path: Path) -> None:
    frame, *_ = begin(tmp_path, left=5.0, taking={"ceiling": 3.0})
    assert frame["parameters"].tolist() == [7, 7, 7]


def test_a_case_whose_probes_fail_keeps_its_times_and_lacks_its_metrics_with_the_reason(tmp_path: Path) -> None:
    culprit = small.case("vanilla", batch_size=2)
    frame, runner, *_ = measure(tmp_path, fault=at(culprit, "probe", reply=ILLEGAL))
    own = frame[frame["case"] == culprit.key]
    assert set(own["status"]) == {"measured"}
    assert set(own.groupby("replicate").size()) == {2}
    reasons = {missing_reasons(text)["parameters"] for text in own["missing"]}
    assert reasons == {f"its probes failed: {ILLEGAL['reason']}"}
    assert runner.notes == []


def test_cases_are_checked_before_the_first_replicate_and_probed_after_it(tmp_path: Path) -> None:
    asked: list[str] = []
    measure(tmp_path, fault=lambda message: asked.append(message["op"]))
    first, last = asked.index("visit"), len(asked) - asked[::-1].index("visit")
    assert set(asked[:first]) <= {"device", "check", "prepare"}
    assert asked.count("check") == asked.count("probe") == 6
    assert set(asked[first:last]) >= {"ceiling", "probe"}
    assert "check" not in asked[first:]


@pytest.mark.parametrize("left", [20.0, 30.0])
def test_a_compilation_that_the_budget_does_not_hold_is_ended_and_comes_after_all_other_cases(
    tmp_path: Path, left: float
) -> None:
    def slow(message: dict[str, Any]) -> None:
        if message["op"] == "observe" and Case.from_axes(message["case"]).implementation == "compiled":
            workers.clock.seconds += 1000.0

    workers, sizes = FakeWorkers(slow), (1, 2)
    groups = [
        Group(
            small.workload(batch_size=size),
            (Case("gru", "compiled", small.workload(batch_size=size)), small.case("gru", batch_size=size)),
        )
        for size in sizes
    ]
    folder, settings = RunFolder.create(tmp_path, "test"), Settings(budget_seconds=left, replicates=2, precision=None)
    run_into(folder, groups, settings, workers=workers)
    folder.close()
    frame = rows(folder.path)
    said = {(row.implementation, row.batch_size, row.status, row.reason) for row in frame.itertuples()}
    assert said == {("loop", size, "measured", "") for size in sizes} | {
        ("compiled", size, "pending", NOT_REACHED) for size in sizes
    }
    assert workers.clock.seconds <= 1.2 * left + START_SECONDS


def test_energy_is_measured_where_there_is_a_counter_and_within_its_share(tmp_path: Path) -> None:
    frame, *_ = begin(tmp_path, metered, left=24.0, taking={"energy": 2.0})
    assert frame["energy_joules"].tolist()[:2] == [0.25, 0.25]
    assert frame["energy_joules"].isna().tolist() == [False, False, True]
    assert missing_reasons(frame["missing"][2]) == {"energy_joules": "not reached within 20% of the budget"}


@pytest.mark.parametrize(
    ("answer", "note"),
    [
        (LOST, f"the limits of cpu in float64 were not measured: {LOST['reason']}"),
        (
            {"no_kernels": "no compiler"},
            "the limits of the processor are those of its fastest product and copy: no compiler",
        ),
    ],
)
def test_limits_that_can_not_be_measured_are_told_and_the_cases_are_observed_all_the_same(
    tmp_path: Path, answer: dict[str, Any], note: str
) -> None:
    def edit(message: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
        return reply | answer if message["op"] == "ceiling" else reply

    frame, runner, workers = begin(tmp_path, edit)
    assert runner.notes == [note]
    assert frame["parameters"].tolist() == [7, 7, 7]
    assert workers.are_closed


@pytest.mark.parametrize(
    ("taking", "left", "column", "reached"),
    [
        # half is for checking: six cases, the last from 15 s on
        ({"check": 3.0}, 31.0, "parity", [11, 12, 21, 22, 31, 32]),
        # 15% are for observing: a start, and six cases, the last from 15 s on
        ({"probe": 3.0}, 123.0, "parameters", [11, 12, 21, 22, 31, 32]),
        ({"energy": 2.0}, 44.5, "energy_joules", [11, 12, 21, 31]),  # 8.4 s are for energy: a start and four cases
    ],
)
def test_a_share_of_the_budget_that_is_too_small_for_all_is_spent_on_every_sweep(
    tmp_path: Path, taking: dict[str, float], left: float, column: str, reached: list[int]
) -> None:
    groups = [
        Group(small.workload(batch_size=size), (small.case("gru", batch_size=size),), sweep=size // 10)
        for size in (11, 12, 13, 21, 22, 23, 31, 32)
    ]
    frame, *_ = begin(tmp_path, metered, left=left, groups=groups, taking=taking)
    is_reached = frame[column].notna() & (frame[column] != "")
    assert frame.loc[is_reached, "batch_size"].tolist() == reached
    if column == "parameters":
        assert {missing_reasons(text).get("parameters") for text in frame.loc[~is_reached, "missing"]} == {NOT_PROBED}


def test_a_case_that_breaks_its_worker_while_energy_is_measured_loses_only_its_energy(tmp_path: Path) -> None:
    frame, _, workers = begin(tmp_path, metered, at(SINGLE[1].cases[0], "energy", reply=ILLEGAL))
    assert frame["energy_joules"].notna().tolist() == [True, False, True]
    assert missing_reasons(frame["missing"][1]) == {"energy_joules": ILLEGAL["reason"]}
    assert len(workers.started) == 4


@pytest.fixture
def shared_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the core be quiet half of the time."""

    def quietest(pulses: Pulses, choices: Sequence[Sequence[int]]) -> Sequence[int]:
        pulses.quiet_share = 0.5
        return choices[0]

    monkeypatch.setattr(Pulses, "quietest", quietest)


@pytest.mark.usefixtures("shared_core")
def test_on_a_shared_core_short_calls_are_timed_apart_from_long_ones_from_the_first_visit_on(tmp_path: Path) -> None:
    short, long = small.case("vanilla", "hoisted"), small.case("vanilla")
    group = Group(short.workload, (short, long, small.reference_case()))
    frame, runner, *_ = measure(
        tmp_path, groups=[group], seconds=lambda key: 4e-3 if key == long.key else 4e-4, replicates=3
    )
    by_case = frame.groupby("case")["replicate"].unique().map(sorted).to_dict()
    assert by_case[short.key] == [0, 2, 4]
    assert by_case[long.key] == [1, 3, 5]
    assert by_case[small.reference_case().key] == [0, 1, 2, 3, 4, 5]
    assert set(frame["status"]) == {"measured"}
    # Beside the long call the reference has blocks of ten calls, beside the short one blocks of one.
    batches = frame[frame["case"] == small.reference_case().key].groupby("replicate")["batch"].unique()
    assert [batch.tolist() for batch in batches] == [[1], [10]] * 3
    assert runner.replicates == 6
    [folder] = tmp_path.iterdir()
    visited = [{case.key for case in each.cases} for each, _, _ in read_earlier_run(folder).visits]
    assert visited == [{short.key, small.reference_case().key}, {long.key, small.reference_case().key}] * 3


@pytest.mark.usefixtures("shared_core")
def test_a_case_whose_subgroup_was_not_reached_has_no_time_and_says_so(tmp_path: Path) -> None:
    short, long = small.case("vanilla", "hoisted"), small.case("vanilla")
    group = Group(short.workload, (short, long, small.reference_case()))
    seconds = {long.key: 4e-3}
    frame, *_ = measure(
        tmp_path, groups=[group], seconds=lambda key: seconds.get(key, 4e-4), replicates=3, budget_seconds=5.0
    )
    of_long = frame[frame["case"] == long.key]
    assert set(zip(of_long["status"], of_long["reason"], strict=True)) == {("pending", NOT_REACHED)}
    assert set(frame.loc[frame["case"] == short.key, "status"]) == {"measured"}
