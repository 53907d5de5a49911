"""Windows reduced part by part, and the table that is kept of a large run."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rnnbench.analysis.runs import run_times
from rnnbench.analysis.runs.run_times import read
from rnnbench.analysis.runs.summary import summarize
from rnnbench.errors import UserError
from rnnbench.store import jsonlines
from rnnbench.store.folder import RunFolder, read_info
from rnnbench.store.frames import kept_table
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
    monkeypatch.setattr(jsonlines, "PIECE_BYTES", piece)
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
    monkeypatch.setattr(jsonlines, "PIECE_BYTES", 700)
    assert_same(read(path).replicates, whole)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that is large enough for a table, which is made."""
    monkeypatch.setattr(kept_table, "MIN_BYTES", 1)
    path = make_run(tmp_path)
    read(path)
    assert (path / kept_table.NAME).is_file()
    return path


def no_windows(*arguments: object) -> None:
    raise AssertionError("the windows were read")


def test_a_large_run_is_reduced_once(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (kept / kept_table.NAME).unlink()
    fresh = read(kept)
    monkeypatch.setattr(run_times, "window_parts", no_windows)
    again = read(kept)
    assert_same(again.replicates, fresh.replicates)
    pd.testing.assert_frame_equal(summarize(again), summarize(fresh))


def test_a_table_of_other_windows_or_cases_is_made_again(kept: Path) -> None:
    before = read(kept).replicates
    file = kept / "windows-0000.jsonl"
    file.write_text(file.read_text().replace('"calls":', '"calls": '))  # another size, the same content
    assert_same(read(kept).replicates, before)
    run = RunFolder(kept)
    run.add_measurement(Measurement(small.case("lstm"), "measured"))
    run.close()
    assert len(read(kept).cases) == len(CASES) + 2
    file.write_text(file.read_text().replace('"host_seconds":', '"host_seconds":-'))
    with pytest.raises(UserError, match="host_seconds: expected a"):
        read(kept)


@pytest.mark.parametrize("least", [1, kept_table.MIN_BYTES], ids=["large", "small"])
def test_a_file_of_windows_that_leads_nowhere_is_named(kept: Path, least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_table, "MIN_BYTES", least)
    (kept / "windows-9999.jsonl").symlink_to(kept / "gone")
    with pytest.raises(UserError, match=r"windows-9999\.jsonl: can't be read: No such file"):
        read(kept)


@pytest.mark.parametrize("spoil", ["cut", "flip", "empty", "other"])
def test_a_torn_table_is_made_again_and_a_strangers_file_stays(kept: Path, spoil: str) -> None:
    before, table = read(kept).replicates, kept / kept_table.NAME
    data = table.read_bytes()
    spoilt = {
        "cut": data[: len(data) // 2],
        "flip": data[:300] + bytes([data[300] ^ 0xFF]) + data[301:],
        "empty": b"",
        "other": b"my own notes",
    }[spoil]
    table.write_bytes(spoilt)
    assert_same(read(kept).replicates, before)
    assert table.read_bytes() == (data if spoil == "flip" else spoilt)


def test_a_run_in_a_folder_that_can_not_be_written_is_read(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (kept / kept_table.NAME).unlink()

    def refuse(file: Path, data: bytes) -> None:
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr(kept_table, "replace", refuse)
    assert len(read(kept).replicates)
    assert not (kept / kept_table.NAME).exists()


def test_no_table_is_kept_of_a_run_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_table, "MIN_BYTES", 1)
    path = make_run(tmp_path)
    run = RunFolder(path)
    run.write_info(replace(read_info(path), status="running"))
    run.close()
    read(path)
    assert not (path / kept_table.NAME).exists()
