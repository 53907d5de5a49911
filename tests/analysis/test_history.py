"""Histories whose truth is known: what is found, what is not, and what is never put on one line."""

import numpy as np
import pytest

from rnnbench.analysis.history import history, run_spread
from rnnbench.analysis.location import Location
from rnnbench.store.records import Case
from tests import workload as small
from tests.validation.history_simulated import error_rates, simulated, stored_run

CASES = [small.case("gru", batch_size=size) for size in range(1, 25)]


def steps(at: int, size: float, runs: int = 16) -> np.ndarray:
    """Log-ratios of which the first case's goes up: (cases, runs)."""
    true = np.zeros((len(CASES), runs))
    true[0, at:] = np.log1p(size)
    return true


@pytest.mark.parametrize("size", [0.06, 0.12, -0.08])
def test_a_lasting_step_is_found_between_the_runs_where_it_happened(size: float) -> None:
    found = simulated(np.random.default_rng(2), steps(9, size))
    changed = [line for line in found.lines if line.significant]
    assert [line.case.workload.batch_size for line in changed] == [1]
    [change] = changed[0].significant
    assert change.after == 9
    assert change.ratio.low < 1 + size < change.ratio.high
    assert change.p_value < 1e-3
    levels = [level.value for level in changed[0].levels]
    assert levels[8] != levels[9]
    assert len(set(levels)) == 2


def test_what_never_changed_is_one_level() -> None:
    found = simulated(np.random.default_rng(4), steps(9, 0.0))
    assert not any(line.significant for line in found.lines)
    assert all(len({level.value for level in line.levels}) == 1 for line in found.lines)


def test_one_run_that_something_slowed_is_no_lasting_change() -> None:
    true = steps(9, 0.0)
    true[:, 7] += 0.1  # the whole run
    true[3, 12] += 0.3  # and one case in another
    assert not any(line.significant for line in simulated(np.random.default_rng(4), true).lines)


def test_false_changes_are_rare_and_steps_are_found() -> None:
    table = error_rates(2, cases=80, lengths=(20,))
    assert (table["with a false change"] <= 0.02).all()
    found = dict(zip(table["step"], table["found, at most one run off"], strict=True))
    assert found[0.10] >= 0.9
    assert found[0.05] >= 0.7


def test_runs_of_another_machine_or_torch_are_not_on_the_same_line() -> None:
    rng = np.random.default_rng(1)
    logs = rng.normal(0, 0.01, (12, len(CASES), 6))
    logs[6:] += 0.2  # the ratios are others there, for all cases
    runs = [stored_run(place, CASES, logs[place], torch=f"2.{13 + place // 6}") for place in range(12)]
    found = history(runs)
    assert [era.runs for era in found.eras] == [tuple(range(6)), tuple(range(6, 12))]
    assert found.eras[1].differences == ("torch was '2.13' and is '2.14'",)
    assert not any(line.significant for line in found.lines)
    assert {len(line.points) for line in found.lines} == {6}


def test_machines_that_take_turns_have_a_line_each() -> None:
    logs = np.random.default_rng(1).normal(0, 0.01, (8, len(CASES), 6))
    found = history([stored_run(place, CASES, logs[place], python=str(place % 2)) for place in range(8)])
    assert [era.runs for era in found.eras] == [(0, 2, 4, 6), (1, 3, 5, 7)]


def test_runs_are_in_the_order_in_which_they_were_started() -> None:
    logs = np.random.default_rng(1).normal(0, 0.01, (3, len(CASES), 6))
    found = history([stored_run(place, CASES, logs[place]) for place in (2, 0, 1)])
    assert [name for name, _ in found.runs] == ["simulated-00", "simulated-01", "simulated-02"]


@pytest.mark.parametrize("replicates", [1, 2])
def test_few_replicates_and_few_runs_are_no_error_and_no_change(replicates: int) -> None:
    logs = np.random.default_rng(1).normal(0, 0.01, (2, len(CASES), replicates))
    found = history([stored_run(place, CASES, logs[place]) for place in range(2)])
    assert not any(line.changes for line in found.lines)
    assert len(history([stored_run(0, CASES, logs[0])]).lines) == 0


def test_cases_that_come_and_go_have_lines_of_their_own_runs() -> None:
    logs = np.random.default_rng(1).normal(0, 0.01, (4, len(CASES), 6))
    runs = [stored_run(place, CASES[place:], logs[place, place:]) for place in range(4)]
    lengths: dict[Case, int] = {line.case: len(line.points) for line in history(runs).lines}
    assert (lengths.get(CASES[0]), lengths[CASES[1]], lengths[CASES[9]]) == (None, 2, 4)


def test_the_scatter_from_run_to_run_is_what_the_points_own_errors_do_not_explain() -> None:
    rng = np.random.default_rng(5)
    lines = [[Location(value, 0.003, 5.0) for value in rng.normal(0, 0.01, 40)] for _ in range(40)]
    assert run_spread(lines) == pytest.approx((0.01**2 - 0.003**2) ** 0.5, rel=0.1)
    assert run_spread([[Location(0.0, 1.0, 5.0)] * 3]) == 0.0
    assert run_spread([]) == 0.0
