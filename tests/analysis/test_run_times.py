"""Windows reduced to visits, and windows that were lost."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rnnbench import load
from rnnbench.analysis import stored
from rnnbench.analysis.run_times import read, read_whole
from rnnbench.errors import UserError
from rnnbench.store.folder import RunFolder, info_bytes, read_info
from rnnbench.store.records import Measurement
from tests.doubles import stored as made
from tests.doubles import workload as small
from tests.doubles.commands import rnnbench
from tests.doubles.stored import INFO, window

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
    rng, run = random.Random(1), RunFolder.create(parent, "test")
    run.write_info(replace(INFO, status="finished", id="abcd"))
    for case in (*CASES, STREAM):
        run.add_measurement(Measurement(case, "measured", parity="agrees"))
    for replicate in range(REPLICATES):
        for group in rng.sample([*GROUPS, [STREAM]], len(GROUPS) + 1):
            order = [case for _ in range(WINDOWS) for case in rng.sample(group, len(group))]
            if replicate == 2 and group is GROUPS[0]:
                order = order[:-1]
            for index, case in enumerate(order):
                calls = [rng.lognormvariate(-7, 0.1) for _ in range(rng.randint(1, 30 if case is STREAM else 11))]
                made = window(case, replicate, calls, turns=WINDOWS * len(group))
                run.add_window(replace(made, order=index))
    run.close()
    return run.path


def assert_same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    keys = ["number", "replicate"]
    first, second = (rows.sort_values(keys).reset_index(drop=True) for rows in (one, other))
    pd.testing.assert_frame_equal(first.drop(columns="steps"), second.drop(columns="steps"))
    for left, right in zip(first["steps"], second["steps"], strict=True):
        assert (left is None) == (right is None)
        assert left is None or np.array_equal(np.sort(left), np.sort(right))


def test_rows_are_the_same_in_whatever_order_the_lines_of_a_worker_are(tmp_path: Path) -> None:
    path = make_run(tmp_path)
    whole = read(path).replicates
    assert len(whole) == REPLICATES * (len(CASES) + 1) - 3  # the visit that was cut off does not count
    for file in path.glob("windows-*.jsonl"):
        lines = file.read_text().splitlines(keepends=True)
        random.Random(2).shuffle(lines)
        file.write_text("".join(lines))
    assert_same(read(path).replicates, whole)


GRU, LAYER = small.case("gru"), small.reference_case("gru")
TIMES = {case: [[0.002], [0.002], [0.002]] for case in (GRU, LAYER)}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of three replicates, with a file of windows for each."""
    return finished(made.folder(tmp_path, TIMES), 3)


def finished(path: Path, replicates: int) -> Path:
    info = replace(read_info(path), status="finished", replicates=replicates)
    (path / "run.json").write_bytes(info_bytes(info))
    return path


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
    other = finished(made.folder(tmp_path / "other", TIMES), 3)
    notes = stored.compare(stored.read(other), stored.read(run), {GRU.key: 0.05}).notes
    assert f"{run.name}: w{words}" in notes
    for option in ("--together", "--history"):
        rnnbench("report", option, other, run, "--out", option[2:], cwd=tmp_path, code=0)
        assert f"{run.name}: w{words}" in (tmp_path / option[2:] / "index.html").read_text()


def test_a_run_that_was_cut_off_before_its_first_replicate_lacks_nothing(tmp_path: Path) -> None:
    assert read_whole(made.folder(tmp_path, {GRU: []}))[0].notes == []
