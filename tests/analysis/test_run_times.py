"""Windows reduced to visits, windows that were lost, and the ratio of two cases on a machine with states."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench import load
from rnnbench.analysis import stored
from rnnbench.analysis.replicate_times import LEVELS, Times, log_quantiles, log_ratio, times_by_case
from rnnbench.analysis.run_times import read_run_times, read_whole, run_of_frames
from rnnbench.errors import UserError
from tests.doubles import stored as made
from tests.doubles import workload as small
from tests.doubles.commands import rnnbench
from tests.doubles.stored import steady, window

GROUPS = [
    [
        small.case("vanilla", batch_size=size),
        small.case("combined", batch_size=size),
        small.reference_case(batch_size=size),
    ]
    for size in (1, 2, 3)
]
CASES = [case for group in GROUPS for case in group]
STREAM = small.case("gru", task="streaming", seq_len=1)
WINDOWS, REPLICATES = 4, 3


def make_run(parent: Path) -> Path:
    """A finished run with visits of groups in random order, turns in random order, and a visit that was cut off."""
    rng, windows = random.Random(1), []
    for replicate in range(REPLICATES):
        for group in rng.sample([*GROUPS, [STREAM]], len(GROUPS) + 1):
            order = [case for _ in range(WINDOWS) for case in rng.sample(group, len(group))]
            if replicate == 2 and group is GROUPS[0]:
                order = order[:-1]
            for index, case in enumerate(order):
                calls = [rng.lognormvariate(-7, 0.1) for _ in range(rng.randint(1, 30 if case is STREAM else 11))]
                windows.append(replace(made.window(case, replicate, calls, turns=WINDOWS * len(group)), order=index))
    return made.written(parent, made.measured([*CASES, STREAM]), windows, status="finished")


def assert_same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    keys = ["number", "replicate"]
    first, second = (rows.sort_values(keys).reset_index(drop=True) for rows in (one, other))
    pd.testing.assert_frame_equal(first.drop(columns="steps"), second.drop(columns="steps"))
    for left, right in zip(first["steps"], second["steps"], strict=True):
        assert (left is None) == (right is None)
        assert left is None or np.array_equal(np.sort(left), np.sort(right))


def test_rows_are_the_same_in_whatever_order_the_lines_of_a_worker_are(tmp_path: Path) -> None:
    path = make_run(tmp_path)
    whole = read_run_times(path).replicates
    assert len(whole) == REPLICATES * (len(CASES) + 1) - 3  # the visit that was cut off does not count
    for file in path.glob("windows-*.jsonl"):
        lines = file.read_text().splitlines(keepends=True)
        random.Random(2).shuffle(lines)
        file.write_text("".join(lines))
    assert_same(read_run_times(path).replicates, whole)


def test_workers_of_a_users_frames_may_be_numbers_as_in_a_csv_file_and_every_case_of_a_small_run_shows_its_noise(
    tmp_path: Path,
) -> None:
    run = load(make_run(tmp_path))
    known = run_of_frames(run.windows, run.frame, run.steps).replicates
    numbered = [frame.assign(worker=frame["worker"].astype(str).astype(int)) for frame in (run.windows, run.steps)]
    assert_same(run_of_frames(numbered[0], run.frame, numbered[1]).replicates, known)
    assert known["self_log_ratio"].notna().all()


GRU, LAYER = small.case("gru"), small.reference_case("gru")
TIMES = {case: [[0.002], [0.002], [0.002]] for case in (GRU, LAYER)}
FINISHED: dict[str, Any] = {"status": "finished", "replicates": 3}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of three replicates, with a file of windows for each."""
    return made.folder(tmp_path, TIMES, **FINISHED)


def test_a_whole_run_has_no_such_note(run: Path) -> None:
    assert read_whole(run)[0].notes == []


def test_a_run_without_any_windows_is_refused_wherever_it_is_read(run: Path, tmp_path: Path) -> None:
    for file in run.glob("windows-*.jsonl"):
        file.unlink()
    words = f"{run}: all windows of 2 measured cases are missing: windows-*.jsonl; restore these files"
    other = made.folder(tmp_path / "other", TIMES)
    for arguments in (("report", run), ("export", run, "--format", "csv"), ("compare", run, other)):
        done = rnnbench(*arguments, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr
    with pytest.raises(UserError, match="all windows of 2 measured cases are missing"):
        load(run)


def test_a_lost_file_is_told_and_the_rest_is_read(run: Path, tmp_path: Path) -> None:
    (run / "windows-0001.jsonl").unlink()
    words = "indows are missing: those of 1 of 3 finished replicates; nothing here counts what they held"
    exported = rnnbench("export", run, "--format", "csv", cwd=tmp_path, code=0)
    assert words in exported.stderr
    rnnbench("report", run, "--out", "page", cwd=tmp_path, code=0)
    assert words in (tmp_path / "page" / "index.html").read_text()
    assert words in repr(load(run)).replace("\n", " ")
    other = made.folder(tmp_path / "other", TIMES, **FINISHED)
    notes = stored.compare(stored.read_stored_run(other), stored.read_stored_run(run), {GRU.key: 0.05}).notes
    assert f"{run.name}: w{words}" in notes
    rnnbench("report", "--together", other, run, "--out", "together", cwd=tmp_path, code=0)
    assert f"{run.name}: w{words}" in (tmp_path / "together" / "index.html").read_text()


def test_a_run_that_was_cut_off_before_its_first_replicate_lacks_nothing(tmp_path: Path) -> None:
    assert read_whole(made.folder(tmp_path, {GRU: []}))[0].notes == []


CASE = small.case("vanilla")


def of_calls(*seconds: Sequence[float] | np.ndarray) -> Times:
    """The times of a case from the calls of its windows."""
    return times_by_case(window(CASE, 0, list(calls)) for calls in seconds)[CASE.key]


def test_all_calls_of_all_windows_count_alike() -> None:
    few, many = [1.0, 5.0], [2.0] * 18  # of 20 calls one takes 1 s and 18 take 2 s
    found = of_calls(few, many)
    assert found.median == pytest.approx(2.0)
    assert found.mean == pytest.approx((1 + 5 + 18 * 2) / 20)
    assert np.exp(found.log_quantiles[[0, -1]]) == pytest.approx([1.0, 5.0])


def test_windows_are_told_apart_by_their_case() -> None:
    other = small.case("gru")
    found = times_by_case([window(CASE, 0, [1.0]), window(other, 0, [4.0]), window(CASE, 0, [3.0])])
    assert {case: of_case.mean for case, of_case in found.items()} == {CASE.key: 2.0, other.key: 4.0}
    assert found[CASE.key].log_quantiles.tolist() == of_calls([1.0, 3.0]).log_quantiles.tolist()


@given(st.floats(1e-6, 10.0), st.floats(1e-6, 10.0))
def test_the_ratio_of_steady_cases_is_that_of_their_times(first: float, second: float) -> None:
    assert log_ratio(steady(first), steady(second)) == pytest.approx(math.log(first / second), abs=1e-9)


def test_a_factor_on_all_calls_is_the_ratio_whatever_the_calls_look_like() -> None:
    calls = np.random.default_rng(1).lognormal(0, 1, 500)
    assert log_ratio(of_calls(1.3 * calls), of_calls(calls)) == pytest.approx(math.log(1.3))


@pytest.mark.parametrize(("share", "other"), [(0.5, 0.4), (0.3, 0.45), (0.9, 0.8)])
def test_sides_that_see_a_slow_state_unlike_often_are_compared_state_by_state(share: float, other: float) -> None:
    """Calls are in one of two states, 30% apart."""
    rng = np.random.default_rng(2)
    noise = lambda: rng.normal(0, 0.01, 2000)  # noqa: E731
    slow, slower = (np.where(rng.random(2000) < part, 0.26, 0.0) for part in (share, other))
    base, head = of_calls(np.exp(slow + noise())), of_calls(1.05 * np.exp(slower + noise()))
    error = abs(log_ratio(head, base) - math.log(1.05))
    assert error < 0.01
    assert error < abs(math.log(head.mean / base.mean) - math.log(1.05))


windows = st.tuples(st.integers(0, 3), st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=11), st.integers(1, 50))


@given(st.lists(windows, min_size=1, max_size=20))
def test_a_quantile_is_the_first_that_its_share_of_the_calls_does_not_exceed(drawn: list[Any]) -> None:
    known = sorted({group for group, _, _ in drawn})
    groups = np.array([known.index(group) for group, _, _ in drawn])
    sizes, points = [len(each) for _, each, _ in drawn], [value for _, each, _ in drawn for value in each]
    logs = log_quantiles(groups, np.array(sizes), np.array(points), np.array([calls for *_, calls in drawn]))
    for number in range(len(known)):
        shares = [
            (seconds, calls / len(each))
            for group, (_, each, calls) in zip(groups, drawn, strict=True)
            if group == number
            for seconds in each
        ]
        total = sum(share for _, share in shares)
        for level in (0, 24, 48):
            reached = [
                at
                for at, _ in shares
                if sum(share for time, share in shares if time <= at) >= (LEVELS[level] - 1e-9) * total
            ]
            assert logs[number, level] == pytest.approx(math.log(min(reached)))
