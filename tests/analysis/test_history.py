"""Histories with known truth: which changes are found, which are not, and which runs never share a line."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rnnbench.analysis.estimate import with_runs
from rnnbench.analysis.history import (
    ASSUMED_RUN_CORRELATION,
    LEVEL,
    LOWER_SHARE_OF_VARIANCE,
    History,
    history,
    pieces_of,
    run_scatter,
)
from rnnbench.analysis.stored import RATIO, StoredRun
from rnnbench.analysis.variances import raised
from rnnbench.analysis.verdict import Q
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
    [change] = significant(result).to_dict("records")
    assert (change["case"], change["before"], change["after"]) == (CASES[0].key, 8, 9)
    assert change["low"] < 1 + size < change["high"]
    assert change["p_value"] < 1e-3
    levels = result.points.loc[result.points["case"] == CASES[0].key, "level"]
    assert levels.iloc[8] != levels.iloc[9]
    assert levels.nunique() == 2


def significant(result: History) -> pd.DataFrame:
    return result.changes[result.changes["is_significant"]]


def exact(lines: Sequence[Sequence[float]], error: float = 0.01) -> History:
    """A history with two replicates per case and run, `error` above and below: a case's standard error."""
    logs = np.array(lines)[:, :, None] + [-error, error]
    return history([stored_run(number, CASES[: len(lines)], logs[:, number]) for number in range(logs.shape[1])])


def student(value: float, error: float, freedom: float) -> tuple[float, float, float]:
    """A ratio with its 95% interval, from the logarithm's standard error."""
    half = error * stats.t.ppf(0.975, freedom)
    return math.exp(value), math.exp(value - half), math.exp(value + half)


def test_a_level_is_as_well_known_as_its_runs_are_together() -> None:
    points = exact([[0.1] * 4]).points
    assert list(points["at"]) == [0, 1, 2, 3]
    within = np.log([student(0.1, 0.01, 1)])
    assert np.log(points[RATIO].to_numpy()) == pytest.approx(np.repeat(with_runs(within), 4, axis=0))
    assert points[LEVEL].to_numpy() == pytest.approx(np.array([student(0.1, 0.01 / 2, 3)] * 4))


def test_cases_share_what_is_known_of_their_scatter() -> None:
    spoilt = np.arange(9) == 4
    result = exact([1e-5 * spoilt, 1e-4 * spoilt], error=0.0)  # an error of 0 is taken as a millionth
    alone = np.array([10**2, 100**2]) * (8 / 9) / 8
    scatter, freedom = raised(alone, np.array([8.0, 8.0]), max_gain=math.inf)
    assert 8 < freedom[0] < 16
    for case, value, variance, free in zip(CASES, (1e-5, 1e-4), scatter, freedom, strict=False):
        level = result.points.loc[result.points["case"] == case.key, LEVEL].iloc[0]
        expected = student(float(np.mean(spoilt)) * value, math.sqrt(variance) * 1e-6 / 3, free)
        assert np.log(level.to_numpy()) * 1e6 == pytest.approx(np.log(expected) * 1e6)


@pytest.mark.parametrize(
    ("after", "places"),
    [((4,), 11), ((4, 8), 11 + 11 * 10 // 2)],  # places for one cut between the runs, and for one or two
)
def test_a_p_value_counts_the_places_where_the_change_could_have_been(after: tuple[int, ...], places: int) -> None:
    ends = [*after, 12]
    changes = exact([[0.05 * (after[0] <= run < ends[1]) for run in range(12)]]).changes
    assert list(changes["after"]) == list(after)
    assert changes["is_significant"].all()
    levels = zip([0, *after], ends, strict=True)
    errors = [0.01 / math.sqrt(end - start) for start, end in levels]
    for number, change in enumerate(changes.to_dict("records")):
        error, freedom = math.hypot(*errors[number : number + 2]), 12 - len(ends)
        ratio = [change[name] for name in ("ratio", "low", "high")]
        assert ratio == pytest.approx(student(0.05 * (-1) ** number, error, freedom))
        assert change["p_value"] == pytest.approx(2 * stats.t.sf(0.05 / error, freedom) * places)


def test_a_change_among_many_lines_that_did_not_change_must_be_surer() -> None:
    step, flat = [0.0] * 8 + [0.045] * 8, [0.0] * 16
    [change] = exact([step, *[flat] * 9]).changes.to_dict("records")
    assert Q / 10 < change["p_value"] < Q
    assert not change["is_significant"]
    assert len(significant(exact([step] * 10))) == 10  # no case is without a step


@pytest.mark.parametrize(("size", "counts"), [(0.009, False), (0.011, True), (-0.009, False), (-0.011, True)])
def test_a_change_of_less_than_a_hundredth_counts_for_nothing_however_sure(size: float, counts: bool) -> None:
    result = exact([[0.0] * 8 + [math.log1p(size)] * 8], error=1e-4)
    assert result.changes["p_value"].item() < 1e-6
    assert (len(significant(result)), result.points["level"].nunique()) == ((1, 2) if counts else (0, 1))


def test_one_run_that_something_slowed_is_no_lasting_change() -> None:
    true = steps(9, 0.0)
    true[:, 7] += 0.1  # all cases of one run
    true[3, 12] += 0.3  # one case of another run
    assert significant(simulated(np.random.default_rng(4), true)).empty


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
    assert result.environments[["first", "runs"]].to_numpy().tolist() == [[0, 6], [6, 6]]
    assert result.environments["differences"].tolist() == ["", "torch was '2.13' and is '2.14'"]
    assert significant(result).empty
    assert set(result.points.groupby(["environment", "case"]).size()) == {6}


def of(stored: StoredRun, processor: Processor | None) -> StoredRun:
    """The same run on another processor, or on one that was not recorded."""
    return replace(stored, info=replace(stored.info, environment=on(processor).environment))


def test_a_run_of_an_unknown_machine_is_an_environment_of_its_own_and_on_no_line() -> None:
    known = [None, PROCESSOR, None, PROCESSOR]
    runs = [of(stored_run(number, CASES[:1], np.zeros((1, 6))), known[number]) for number in range(4)]
    result = history(runs)
    assert result.environments["runs"].tolist() == [1, 2, 1]
    assert result.points["at"].tolist() == [1, 3]
    assert len(history(runs[::2]).points) == 0


def test_machines_that_take_turns_have_a_line_each() -> None:
    values = [0.1, 0.0, 0.1, 0.04, 0.1, 0.0, 0.1, 0.04]
    logs = np.repeat(np.array(values)[:, None, None], 6, axis=2)
    result = history([stored_run(number, CASES[:1], logs[number], python=str(number % 2)) for number in range(8)])
    assert result.points.groupby("environment")["at"].agg(list).tolist() == [[0, 2, 4, 6], [1, 3, 5, 7]]
    spread = [0.0, 0.04 / math.sqrt(LOWER_SHARE_OF_VARIANCE)]
    assert result.environments["spread"].tolist() == pytest.approx(spread)
    at = result.points["at"]
    assert np.log(result.points["ratio_to_reference"]).tolist() == pytest.approx([values[run] for run in at])


@pytest.mark.parametrize("replicates", [1, 2])
def test_few_replicates_and_few_runs_are_no_error_and_no_change(replicates: int) -> None:
    logs = np.random.default_rng(1).normal(0, 0.01, (2, len(CASES), replicates))
    result = history([stored_run(number, CASES, logs[number]) for number in range(2)])
    assert result.changes.empty
    assert history([stored_run(0, CASES, logs[0])]).points.empty


def test_cases_that_come_and_go_have_lines_of_their_own_runs() -> None:
    logs = np.random.default_rng(1).normal(0, 0.01, (4, len(CASES), 6))
    runs = [stored_run(number, CASES[number:], logs[number, number:]) for number in range(4)]
    lengths = history(runs).points.groupby("case").size()
    assert [lengths.get(CASES[number].key) for number in (0, 1, 9)] == [None, 2, 4]


@pytest.mark.slow
def test_a_line_that_wanders_and_comes_back_has_no_lasting_change() -> None:
    rng = np.random.default_rng(8)
    false = 0
    for _ in range(30):
        logs = wandering(rng, 0.8, (len(CASES), 20), 0.01)[:, :, None] + 0.002 * rng.standard_normal(
            (len(CASES), 20, 6)
        )
        result = history([stored_run(number, CASES, logs[:, number]) for number in range(20)])
        false += significant(result)["case"].nunique()
    assert false / (30 * len(CASES)) < 0.03


NOISE = np.random.default_rng(3).normal(0, 0.01, 24)


def test_two_steps_are_found_and_noise_is_none() -> None:
    index = np.arange(24)
    stepped = pd.Series(NOISE + 0.1 * ((index >= 8) & (index < 16))) / 0.01
    assert pieces_of(stepped).tolist() == np.repeat([0, 1, 2], 8).tolist()
    assert not pieces_of(pd.Series(NOISE) / 0.01).any()


def points(values: np.ndarray, own_variance: float = 0.0) -> pd.DataFrame:
    """The points of lines, (lines, runs), with the variance that each has by its own replicates."""
    line = np.repeat(np.arange(len(values)), values.shape[1])
    return pd.DataFrame({"line": line, "log": values.ravel(), "own_variance": own_variance})


def test_the_scatter_from_run_to_run_is_what_the_points_own_errors_do_not_explain() -> None:
    rng = np.random.default_rng(6)
    variance, correlation = run_scatter(points(rng.normal(0, 0.01, (40, 40)), 0.003**2))
    assert variance == pytest.approx(0.01**2 - 0.003**2, rel=0.2)
    assert correlation < 0.15
    assert run_scatter(points(np.zeros((1, 3)), 1.0)) == (0.0, 0.0)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.8])
def test_the_correlation_of_neighbouring_runs_is_found(correlation: float) -> None:
    rng = np.random.default_rng(7)
    variance, found = run_scatter(points(wandering(rng, correlation, (40, 40), 0.01)))
    assert found == pytest.approx(correlation, abs=0.1)
    assert variance == pytest.approx(1e-4, rel=0.35)


def test_few_differences_leave_the_correlation_near_what_is_assumed() -> None:
    values = np.random.default_rng(9).normal(0, 0.01, (40, 40))[:, :20]
    one, three, many = (run_scatter(points(values[:lines]))[1] for lines in (1, 3, 40))
    assert 0.4 < one <= 0.8
    assert many < 0.15 < three < one
    assert run_scatter(points(values[:1, :3]))[1] == pytest.approx(ASSUMED_RUN_CORRELATION, abs=0.01)
