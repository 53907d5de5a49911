import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from rnnbench.harness.coordinator.budget import enough, shortfall, wider_than_asked, without_shortfall
from rnnbench.harness.coordinator.runner import Runner
from rnnbench.harness.turns.needed import TimeNeeded
from rnnbench.store.folder import RunFolder
from rnnbench.store.records import Group, Measurement
from rnnbench.store.run_info import RunInfo
from rnnbench.suite_file import Settings
from tests.doubles import workload as small
from tests.doubles.fakes import FakeWorkers, run_into

SETTINGS = Settings(replicates=5, windows=4, window_seconds=0.01)
STAGES = {"ceilings": 1.0, "observing": 4.0, "energy": 0.0}


def cut_off(
    cases: int,
    observed: int,
    seconds: float | None = 7.0,
    stages: dict[str, float] = STAGES,
    visit_seconds: float | None = None,
) -> TimeNeeded | None:
    info = RunInfo("test", "", {"measure": SETTINGS.model_dump()}, "", "", {}, seconds=seconds, stage_seconds=stages)
    all_cases = [small.case("gru", batch_size=1 + number) for number in range(cases)]
    known = [
        Measurement(case, "pending", "", parity="agrees" if index < observed else "")
        for index, case in enumerate(all_cases)
    ]
    return enough(info, {measurement.case.key: measurement for measurement in known}, visit_seconds)


def seconds(needed: TimeNeeded | None) -> float:
    assert needed is not None
    assert not needed.is_least
    return needed.seconds


def test_what_is_enough_follows_from_what_was_seen() -> None:
    # A worker took 2 s to start and 20 cases took 2 s, so 100 cases take 10 s, with the ceilings 11 s: half of 22 s.
    # 9 s for the past and a start, 11 s before timing, 10 s for calibration, and five replicates of 2 + 6 s.
    assert seconds(cut_off(100, 20)) == pytest.approx(7 + 2 + 11 + 10 + 5 * (2 + 100 * 0.06))


def test_half_of_a_budget_is_for_observing() -> None:
    assert seconds(cut_off(1, 1)) == pytest.approx(7 + 2 + max(2 * (1 + 2), 1 + 2 + 2 + 5 * (2 + 0.06)))
    longer = STAGES | {"observing": 100.0}
    assert seconds(cut_off(20, 10, 103.0, longer)) == pytest.approx(
        103 + 2 + max(2 * (1 + 196), 1 + 196 + 196 + 5 * (2 + 1.2))
    )


@pytest.mark.parametrize("cases", [10, 100, 1000])
def test_where_no_case_was_reached_only_the_least_is_named(cases: int) -> None:
    # Nobody knows how long a case takes to observe: 1 s of ceilings and 2 s of a start are known, and the windows.
    needed = cut_off(cases, 0, 3.0, STAGES | {"observing": 0.0})
    assert needed is not None
    assert needed.is_least
    assert needed.seconds == pytest.approx(3 + 2 + 1 + 5 * (2 + cases * 0.04))


def test_what_a_case_took_in_a_replicate_is_believed_before_its_windows() -> None:
    assert seconds(cut_off(100, 20, visit_seconds=0.5)) == pytest.approx(7 + 2 + 11 + 10 + 5 * (2 + 100 * 0.5))


def test_nothing_is_said_of_a_run_that_tells_nothing() -> None:
    assert cut_off(10, 0, None) is None
    assert cut_off(10, 0, 3.0, {}) is None


SIZES = (1, 2, 3, 4)
GROUPS = [
    Group(
        small.workload(batch_size=size), (small.case("vanilla", batch_size=size), small.reference_case(batch_size=size))
    )
    for size in SIZES
]


def ran(parent: Path, seconds: Callable[[str], float] = lambda key: 0.05, **settings: Any) -> tuple[RunInfo, Runner]:
    """A finished run with workers on a fake clock."""
    noise = random.Random(1)
    workers = FakeWorkers(seconds=lambda key: seconds(key) * (1 + 0.02 * noise.random()))
    defaults = {"replicates": 6, "windows": 4, "window_seconds": 0.01, "precision": None, "max_replicates": 100}
    chosen = Settings(**(defaults | settings))
    folder = RunFolder.create(parent, "test")
    runner = run_into(folder, GROUPS, chosen, on_progress=lambda step: None, workers=workers, seed=1)
    folder.close()
    info = RunInfo("test", "", {"measure": chosen.model_dump()}, "", "", {}, seconds=runner.seconds)
    return replace(info, stage_seconds=runner.preliminaries.stage_seconds), runner


def seconds_in(note: str) -> float:
    size, unit = re.search(r"(?:about|at least) (\d+) (s|min) more", note).groups()  # type: ignore[union-attr]
    return float(size) * (60 if unit == "min" else 1)


@pytest.mark.parametrize("budget", [12.0, 15.0])
def test_a_budget_as_much_larger_as_the_note_says_is_enough(tmp_path: Path, budget: float) -> None:
    info, runner = ran(tmp_path, budget_seconds=budget)
    [note] = shortfall(info, runner)
    assert re.fullmatch(r"budget: it ended the run; about \d+ s more would be enough for all replicates", note)
    info, runner = ran(tmp_path, budget_seconds=budget + seconds_in(note))
    assert runner.replicates == 6
    assert shortfall(info, runner) == []


def test_where_precision_is_the_aim_the_note_follows_from_the_spread_that_was_seen(tmp_path: Path) -> None:
    info, runner = ran(tmp_path, budget_seconds=25.0, precision=0.003)
    assert 3 <= runner.replicates < 15
    [note] = shortfall(info, runner)
    # How many depends on the order in which threads draw their noise.
    beginning = (
        r"precision: [1-4] of 4 groups (has|have) a ratio that is not known within ±0\.3%; about \d+ (s|min) more "
    )
    assert re.fullmatch(
        beginning + "would be enough for the replicates that are still wanted, at most 100 in all", note
    )
    _, longer = ran(tmp_path, budget_seconds=25.0 + 1.3 * seconds_in(note), precision=0.003)
    assert longer.missed < 4


def test_with_too_few_replicates_to_see_a_spread_the_note_names_the_least(tmp_path: Path) -> None:
    [note] = shortfall(*ran(tmp_path, budget_seconds=8.0, precision=0.004))
    assert "±0.4%; at least " in note


def test_a_run_that_lacks_nothing_has_no_note(tmp_path: Path) -> None:
    assert shortfall(*ran(tmp_path)) == []


def test_a_note_counts_the_cases_that_were_not_reached(tmp_path: Path) -> None:
    [note] = shortfall(*ran(tmp_path, lambda key: 0.5, budget_seconds=6.0))
    assert re.fullmatch(r"budget: \d of 8 cases were not reached; about \d min more would be enough to time all", note)


def test_what_a_run_lacked_is_forgotten_when_it_goes_on() -> None:
    notes = ["budget: 1 of 8 cases was not reached", "precision: 1 of 4 groups has", "a worker was lost"]
    assert without_shortfall(notes) == ["a worker was lost"]


@pytest.mark.parametrize(("missed", "words"), [(0, []), (1, "1 of 4 groups has a"), (3, "3 of 4 groups have a")])
def test_groups_that_are_less_precise_than_asked_are_counted(missed: int, words: Any) -> None:
    notes = wider_than_asked(missed, 4, Settings(precision=0.025))
    assert notes == (words and [f"precision: {words} ratio that is not known within ±2.5%"])


@dataclass
class EndedRunner:
    """What the notes are made from, of a run that its budget ended before a replicate."""

    measurements: dict[str, Measurement]
    missed: int = 0

    groups = GROUPS
    settings = Settings(precision=0.02)
    time_needed = TimeNeeded(30.0, is_least=False)


def test_nothing_is_said_to_be_missing_where_every_case_failed() -> None:
    cases = [case for group in GROUPS for case in group.cases]
    info = RunInfo("test", "", {}, "", "", {})
    failed = {case.key: Measurement(case, "failed", "it raises") for case in cases}
    assert shortfall(info, EndedRunner(failed)) == []  # type: ignore[arg-type]
    one_left = failed | {cases[0].key: Measurement(cases[0], "measured")}
    [note] = shortfall(info, EndedRunner(one_left))  # type: ignore[arg-type]
    assert note.startswith("budget: it ended the run")


def test_groups_without_a_ratio_have_none_that_is_imprecise(tmp_path: Path) -> None:
    _, runner = ran(tmp_path, budget_seconds=8.0, precision=0.004)
    assert runner.missed > 0
    known = dict(runner.measurements)
    for key, measurement in known.items():
        if measurement.case.is_reference:
            runner._recorder.measurements[key] = replace(measurement, status="failed", reason="it raises")
    assert runner.missed == 0
