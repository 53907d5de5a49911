from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.errors import UserError
from rnnbench.harness.slurm.parts import NO_JOB_YET, read_parts, split, write_parts
from rnnbench.store.folder import last_lines, last_measurements
from rnnbench.store.records import Group
from tests.doubles import workload as small


def group(batch_size: int, device: str = "cpu") -> Group:
    cells = ("vanilla", "combined")
    return Group(
        small.workload(batch_size=batch_size, device=device),
        tuple(small.case(cell, batch_size=batch_size, device=device) for cell in cells),
    )


@given(st.integers(1, 200), st.integers(1, 50))
def test_each_group_is_in_one_piece_and_pieces_are_about_equal(groups: int, most: int) -> None:
    whole = [group(batch_size) for batch_size in range(1, groups + 1)]
    pieces = split(whole, most)
    assert [member for piece in pieces for member in piece] == whole
    sizes = [len(piece) for piece in pieces]
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1


def test_jobs_of_unlike_kinds_are_not_mixed() -> None:
    with pytest.raises(UserError, match="cases on cpu and on cuda need different kinds of jobs"):
        split([group(1), group(2, "cuda")], 16)


def test_parts_come_back_from_the_run_in_the_order_of_its_cases(tmp_path: Path) -> None:
    groups = [group(batch_size) for batch_size in range(1, 8)]
    write_parts(tmp_path, split(groups, 3))
    parts = read_parts(tmp_path)
    assert [part.name for part in parts] == ["p00000", "p00001", "p00002"]
    assert [case for part in parts for case in part.cases] == [case for group in groups for case in group.cases]
    assert list(last_lines(tmp_path)) == [case.key for g in groups for case in g.cases]
    assert {measurement.reason for measurement in last_measurements(tmp_path).values()} == {NO_JOB_YET}
