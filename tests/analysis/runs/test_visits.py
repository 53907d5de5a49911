"""Windows reduced part by part."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rnnbench.analysis.runs.run_times import read
from rnnbench.store import windows
from rnnbench.store.folder import RunFolder
from rnnbench.store.records import Measurement
from tests.doubles import workload as small
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


@pytest.mark.parametrize("piece", [1, 700, 5000])
def test_parts_of_any_size_give_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    path = make_run(tmp_path)
    whole = read(path).replicates
    assert len(whole) == REPLICATES * (len(CASES) + 1) - 3  # the visit that was cut off does not count
    monkeypatch.setattr(windows, "PIECE_BYTES", piece)
    assert_same(read(path).replicates, whole)


def test_files_whose_lines_were_put_into_another_order_give_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_run(tmp_path)
    whole = read(path).replicates
    for file in path.glob("windows-*.jsonl"):
        lines = file.read_text().splitlines(keepends=True)
        random.Random(2).shuffle(lines)
        file.write_text("".join(lines))
    monkeypatch.setattr(windows, "PIECE_BYTES", 700)
    assert_same(read(path).replicates, whole)
