"""Histories with known truth: which changes are found, which are not, and which runs never share a line."""

import math
from collections.abc import Sequence
from dataclasses import astuple, replace

import numpy as np
import pytest
from scipy import stats

from rnnbench.analysis.estimate import Location, raised
from rnnbench.analysis.history import (
    ASSUMED_CORRELATION,
    LOWER_SHARE_OF_VARIANCE,
    History,
    RunScatter,
    history,
    run_scatter,
    starts_of_levels,
)
from rnnbench.analysis.stored import StoredRun
from rnnbench.analysis.verdict import Q
from rnnbench.store.records import Case
from rnnbench.store.run_info import Processor
from tests.doubles import workload as small
from tests.doubles.stored import PROCESSOR, on
from tests.validation.history_simulated import error_rates, simulated, stored_run, wandering

CASES = [small.case("gru", batch_size=size) for size in range(1, 25)]


def steps(at: int, size: float, runs: int = 16) -> np.ndarray:
    """Log-ratios (cases, runs) that are 0, except that the first case changes by `size` from run `at` on."""
    true = np.zeros((len(CASES), runs))
    true[0, at:] = np.log1p(size)
    return true


@pytest.mark.parametrize("size", [0.06, 0.12, -0.08])
def test_a_lasting_step_is_found_between_the_runs_where_it_happened(size: float) -> None:
    result = simulated(np.random.default_rng(2), steps(9, size))
    changed = [line for line in result.lines if line.significant]
    assert [line.case.workload.batch_size for line in changed] == [1]
    [change] = changed[0].significant
    assert change.after == 9
    assert change.ratio.lower < 1 + size < change.ratio.upper
    assert change.p_value < 1e-3
    levels = [level.value for level in changed[0].levels]
    assert levels[8] != levels[9]
    assert len(set(levels)) == 2


def exact(lines: Sequence[Sequence[float]], error: float = 0.01) -> History:
    """A history with two replicates per case and run, `error` above and below: a case's standard error."""
    logs = np.array(lines)[:, :, None] + [-error, error]
    return history([stored_run(number, CASES[: len(lines)], logs[:, number]) for number in range(logs.shape[1])])


def student(value: float, error: float, freedom: float) -> tuple[float, float, float]:
    """A ratio with its 95% interval, from the logarithm's standard error."""
    half = error * stats.t.ppf(0.975, freedom)
    return math.exp(value), math.exp(value - half), math.exp(value + half)


def test_a_level_is_as_well_known_as_its_runs_are_together() -> None:
    (line,) = exact([[0.1] * 4]).lines
    assert [point.run for point in line.points] == [0, 1, 2, 3]
    for point, level in zip(line.points, line.levels, strict=True):
        assert astuple(point.ratio) == pytest.approx(student(0.1, 0.01, 1))
        assert astuple(level) == pytest.approx(student(0.1, 0.01 / 2, 3))


def test_cases_share_what_is_known_of_their_scatter() -> None:
    spoilt = np.arange(9) == 4
    result = exact([1e-5 * spoilt, 1e-4 * spoilt], error=0.0)  # an error of 0 is taken as a millionth
    alone = np.array([10**2, 100**2]) * (8 / 9) / 8
    scatter, freedom = raised(alone, np.array([8.0, 8.0]), max_gain=math.inf)
    assert 8 < freedom[0] < 16
    for line, variance, free in zip(result.lines, scatter, freedom, strict=True):
        logs = np.log(astuple(line.levels[0])) * 1e6
        mean = float(np.mean(spoilt)) * (1e-5 if line is result.lines[0] else 1e-4)
        assert logs == pytest.approx(np.log(student(mean, math.sqrt(variance) * 1e-6 / 3, free)) * 1e6)


@pytest.mark.parametrize(
    ("after", "places"),
    [((4,), 11), ((4, 8), 11 + 11 * 10 // 2)],  # places for one cut between the runs, and for one or two
)
def test_a_p_value_counts_the_places_where_the_change_could_have_been(after: tuple[int, ...], places: int) -> None:
    ends = [*after, 12]
    (line,) = exact([[0.05 * (after[0] <= run < ends[1]) for run in range(12)]]).lines
    assert [change.after for change in line.significant] == list(after)
    levels = zip([0, *after], ends, strict=True)
    errors = [0.01 / math.sqrt(end - start) for start, end in levels]
    for number, change in enumerate(line.changes):
        error, freedom = math.hypot(*errors[number : number + 2]), 12 - len(ends)
        assert astuple(change.ratio) == pytest.approx(student(0.05 * (-1) ** number, error, freedom))
        assert change.p_value == pytest.approx(2 * stats.t.sf(0.05 / error, freedom) * places)


def test_a_change_among_many_lines_that_did_not_change_must_be_surer() -> None:
    step, flat = [0.0] * 8 + [0.05] * 8, [0.0] * 16
    (change,) = exact([step, *[flat] * 9]).lines[0].changes
    assert Q / 10 < change.p_value < Q
    assert not change.is_significant
    assert all(line.significant for line in exact([step] * 10).lines)  # no case is without a step


@pytest.mark.parametrize(("size", "counts"), [(0.009, False), (0.011, True), (-0.009, False), (-0.011, True)])
def test_a_change_of_less_than_a_hundredth_counts_for_nothing_however_sure(size: float, counts: bool) -> None:
    (line,) = exact([[0.0] * 8 + [math.log1p(size)] * 8], error=1e-4).lines
    (change,) = line.changes
    assert change.p_value < 1e-6
    assert (len(line.significant), len({level.value for level in line.levels})) == ((1, 2) if counts else (0, 1))


def test_one_run_that_something_slowed_is_no_lasting_change() -> None:
    true = steps(9, 0.0)
    true[:, 7] += 0.1  # all cases of one run
    true[3, 12] += 0.3  # one case of another run
    assert not any(line.significant for line in simulated(np.random.default_rng(4), true).lines)


@pytest.mark.slow
def test_false_changes_are_rare_and_steps_are_found() -> None:
    table = error_rates(2, cases=80, lengths=(20,))
    assert (table["with a false change"] <= 0.06).all()
    table = table[table["correlation of neighbours"] == 0]
    assert (table["with a false change"] <= 0.02).all()
    shares = dict(zip(table["step"], table["found, at most one run off"], strict=True))
    assert shares[0.10] >= 0.9
    assert shares[0.05] >= 0.7


def test_runs_of_another_machine_or_torch_are_not_on_the_same_line() -> None:
    rng = np.random.default_rng(1)
    logs = rng.normal(0, 0.01, (12, len(CASES), 6))
    logs[6:] += 0.2  # all ratios differ from there on
    runs = [stored_run(number, CASES, logs[number], torch=f"2.{13 + number // 6}") for number in range(12)]
    result = history(runs)
    assert [era.runs for era in result.eras] == [tuple(range(6)), tuple(range(6, 12))]
    assert result.eras[1].differences == ("torch was '2.13' and is '2.14'",)
    assert not any(line.significant for line in result.lines)
    assert {len(line.points) for line in result.lines} == {6}


def of(stored: StoredRun, processor: Processor | None) -> StoredRun:
    """The same run on another processor, or by an rnnbench that did not record it."""
    return replace(stored, info=replace(stored.info, environment=on(processor).environment))


def test_runs_of_an_unknown_machine_are_on_no_line_and_counted() -> None:
    known = [None, PROCESSOR, None, PROCESSOR]
    runs = [of(stored_run(number, CASES[:1], np.zeros((1, 6))), known[number]) for number in range(4)]
    result = history(runs)
    assert (result.unidentified, [era.runs for era in result.eras]) == (2, [(0, 1)])
    assert [name for name, _ in result.runs] == ["simulated-01", "simulated-03"]
    assert [[point.run for point in line.points] for line in result.lines] == [[0, 1]]
    assert (history(runs[::2]).eras, history(runs[::2]).lines) == ((), ())


def test_machines_that_take_turns_have_a_line_each() -> None:
    values = [0.1, 0.0, 0.1, 0.04, 0.1, 0.0, 0.1, 0.04]
    logs = np.repeat(np.array(values)[:, None, None], 6, axis=2)
    result = history([stored_run(number, CASES[:1], logs[number], python=str(number % 2)) for number in range(8)])
    assert [era.runs for era in result.eras] == [(0, 2, 4, 6), (1, 3, 5, 7)]
    seen = [era.scatter.of_neighbours for era in result.eras]
    assert seen == pytest.approx([0.0, 0.04**2 / LOWER_SHARE_OF_VARIANCE])
    assert [line.era for line in result.lines] == [0, 1]
    for line, era in zip(result.lines, result.eras, strict=True):
        assert {point.run: math.log(point.ratio.value) for point in line.points} == (
            pytest.approx({run: values[run] for run in era.runs})
        )


@pytest.mark.parametrize("replicates", [1, 2])
def test_few_replicates_and_few_runs_are_no_error_and_no_change(replicates: int) -> None:
    logs = np.random.default_rng(1).normal(0, 0.01, (2, len(CASES), replicates))
    result = history([stored_run(number, CASES, logs[number]) for number in range(2)])
    assert not any(line.changes for line in result.lines)
    assert len(history([stored_run(0, CASES, logs[0])]).lines) == 0


def test_cases_that_come_and_go_have_lines_of_their_own_runs() -> None:
    logs = np.random.default_rng(1).normal(0, 0.01, (4, len(CASES), 6))
    runs = [stored_run(number, CASES[number:], logs[number, number:]) for number in range(4)]
    lengths: dict[Case, int] = {line.case: len(line.points) for line in history(runs).lines}
    assert (lengths.get(CASES[0]), lengths[CASES[1]], lengths[CASES[9]]) == (None, 2, 4)


@pytest.mark.slow
def test_a_line_that_wanders_and_comes_back_has_no_lasting_change() -> None:
    rng = np.random.default_rng(8)
    false = 0
    for _ in range(30):
        logs = wandering(rng, 0.8, (len(CASES), 20), 0.01)[:, :, None] + 0.002 * rng.standard_normal(
            (len(CASES), 20, 6)
        )
        lines = history([stored_run(number, CASES, logs[:, number]) for number in range(20)]).lines
        false += sum(bool(line.significant) for line in lines)
    assert false / (30 * len(CASES)) < 0.03


NOISE = np.random.default_rng(3).normal(0, 0.01, 24)


def test_two_steps_are_found_and_noise_is_none() -> None:
    index = np.arange(24)
    assert starts_of_levels(NOISE + 0.1 * ((index >= 8) & (index < 16)), 1e-4) == [0, 8, 16]
    assert starts_of_levels(NOISE, 1e-4) == [0]


def test_the_scatter_from_run_to_run_is_what_the_points_own_errors_do_not_explain() -> None:
    rng = np.random.default_rng(6)
    lines = [[Location(value, 0.003, 5.0) for value in rng.normal(0, 0.01, 40)] for _ in range(40)]
    assert run_scatter(lines).variance == pytest.approx(0.01**2 - 0.003**2, rel=0.2)
    assert run_scatter(lines).correlation < 0.15
    assert run_scatter([[Location(0.0, 1.0, 5.0)] * 3]) == RunScatter(0.0, 0.0)
    assert run_scatter([]) == RunScatter(0.0, 0.0)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.8])
def test_the_correlation_of_neighbouring_runs_is_found_and_makes_means_less_certain(correlation: float) -> None:
    rng = np.random.default_rng(7)
    lines = wandering(rng, correlation, (40, 40), 0.01)
    scatter = run_scatter([[Location(value, 0.0, 5.0) for value in line] for line in lines.tolist()])
    assert scatter.correlation == pytest.approx(correlation, abs=0.1)
    assert scatter.variance == pytest.approx(1e-4, rel=0.35)
    assert scatter.lasting_variance == scatter.variance * (1 + scatter.correlation) / (1 - scatter.correlation)


def test_few_differences_leave_the_correlation_near_what_is_assumed() -> None:
    values = np.random.default_rng(9).normal(0, 0.01, 40 * 40).tolist()
    points = [Location(value, 0.0, 5.0) for value in values]
    one, three, many = (run_scatter([points[40 * row : 40 * row + 20] for row in range(rows)]) for rows in (1, 3, 40))
    assert 0.4 < one.correlation <= 0.8
    assert many.correlation < 0.15 < three.correlation < one.correlation
    assert run_scatter([points[:3]]).correlation == pytest.approx(ASSUMED_CORRELATION, abs=0.01)
