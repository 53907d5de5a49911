"""Profiles of a run's cases, with workers whose replies the test sets."""

import json
from pathlib import Path
from typing import Any

import pytest

from rnnbench.errors import Interrupted
from rnnbench.harness.coordinator.process import lost
from rnnbench.harness.turns.schedule import Progress
from rnnbench.profiling.run import BESIDE_SECONDS, LEAST_PROFILE_SECONDS, profile_run
from rnnbench.store.folder import read_profiles
from rnnbench.store.profiles import Profile
from rnnbench.store.records import NOT_REACHED, Case, Measurement
from rnnbench.suite.file import Settings
from tests.doubles import workload as small
from tests.doubles.fakes import START_SECONDS, Failing, FakeWorkers, Fault
from tests.doubles.stored import folder

LOOP, REFERENCE = small.case("gru"), small.reference_case("gru")
TIMES: dict[str, tuple[float, ...]] = {"call": (1e-3, 1e-3)}


def profiled(path: Path, fault: Fault = lambda message: None, **options: Any) -> dict[str, Profile]:
    return clocked(path, fault, **options)[0]


def clocked(path: Path, fault: Fault = lambda message: None, **options: Any) -> tuple[dict[str, Profile], float]:
    """The profiles of workers that take all the time that each is given, and some beside it; and the seconds in all."""

    def spend(message: dict[str, Any]) -> None:
        if message["op"] == "profile":
            workers.clock.seconds += BESIDE_SECONDS + (message["seconds"] or 60.0)
        fault(message)

    def reply(message: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
        if message["op"] != "profile":
            return reply
        return reply | {"profile": Profile(Case.from_axes(message["case"]).key, times=TIMES).to_json()}

    workers = FakeWorkers(spend, edit=reply)
    before = workers.clock()
    how = {"timed": {}} | options
    taken = profile_run(path, path, Settings(), start_worker=workers, now=workers.clock, **how)
    return taken, workers.clock() - before


@pytest.fixture
def run(tmp_path: Path) -> Path:
    skipped = Measurement(small.case("combined", "hoisted"), "skipped", "nothing to hoist")
    return folder(tmp_path, {LOOP: [[1e-4]], REFERENCE: [[1e-4]]}, [skipped])


def test_every_case_that_was_measured_is_profiled_and_kept(run: Path) -> None:
    steps: list[Progress] = []
    profiles = profiled(run, on_progress=steps.append)
    assert list(profiles) == [LOOP.key, REFERENCE.key]
    assert all(profile.works for profile in profiles.values())
    assert read_profiles(run) == profiles
    assert [(step.visits_done, step.visits) for step in steps] == [(0, 2), (1, 2)]


def test_a_reference_is_not_profiled_if_no_case_that_is_compared_with_it_was_measured(tmp_path: Path) -> None:
    failed = Measurement(LOOP, "failed", "ValueError: on purpose")
    assert profiled(folder(tmp_path, {REFERENCE: [[1e-4]]}, [failed])) == {}


def test_a_case_that_fails_or_kills_its_worker_keeps_its_row_with_the_reason(run: Path) -> None:
    def dies(message: dict[str, Any]) -> None:
        if message["op"] == "profile" and Case.from_axes(message["case"]) == LOOP:
            raise Failing(lost("the worker was killed by SIGSEGV"))

    profiles = profiled(run, dies)
    assert profiles[LOOP.key] == Profile(LOOP.key, "failed", "under the profiler: the worker was killed by SIGSEGV")
    assert profiles[REFERENCE.key].works
    assert read_profiles(run) == profiles


def test_a_profile_that_does_not_fit_is_taken_again_up_to_twice_and_the_last_counts(run: Path) -> None:
    steps: list[Progress] = []
    profiles = profiled(run, timed={LOOP.key: 1.0, REFERENCE.key: 1e-3}, on_progress=steps.append)
    assert [(step.visits_done, step.visits) for step in steps] == [(0, 2), (1, 2), (1, 2), (1, 2)]
    lines = (run / "profiles.jsonl").read_text().splitlines()
    assert [json.loads(line)["case"] for line in lines] == [LOOP.key, REFERENCE.key, LOOP.key, LOOP.key]
    assert read_profiles(run) == profiles


def test_what_the_budget_leaves_out_is_told(run: Path) -> None:
    profiles = profiled(run, left=1.5 * LEAST_PROFILE_SECONDS)
    assert profiles[LOOP.key].works
    assert profiles[REFERENCE.key] == Profile(REFERENCE.key, "failed", NOT_REACHED)


@pytest.mark.parametrize("left", [8.0, 13.0, 30.0, 100.0])
@pytest.mark.parametrize("fits", [False, True])
def test_all_profiles_together_end_within_the_budget(run: Path, left: float, fits: bool) -> None:
    _, seconds = clocked(run, timed={} if fits else {LOOP.key: 1.0, REFERENCE.key: 1.0}, left=left)
    assert seconds <= left + START_SECONDS + 0.1


def test_ctrl_c_keeps_what_was_profiled(run: Path) -> None:
    def interrupts(message: dict[str, Any]) -> None:
        if Case.from_axes(message["case"]) == REFERENCE:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="1 of 2 cases is profiled"):
        profiled(run, interrupts)
    assert list(read_profiles(run)) == [LOOP.key]
