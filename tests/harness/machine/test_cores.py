"""Cores for lanes that work at the same time."""

from pathlib import Path

import pytest

from rnnbench.harness.machine import cores
from rnnbench.harness.machine.cores import cores_apart, preparing_cores


def system(root: Path, siblings: dict[int, str]) -> Path:
    for core, together in siblings.items():
        folder = root / f"cpu{core}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{together}\n")
    return root


EIGHT = {core: f"{core % 4},{core % 4 + 4}" for core in range(8)}  # four cores of two threads


@pytest.mark.parametrize(
    ("threads", "sets"),
    [
        (1, [(7,), (6,), (5,)]),  # 4 is left to the coordinator; 0 to 3 are on the same physical cores
        (2, [(6, 7)]),
        (3, [(5, 6, 7)]),
        (4, []),
        (9, []),
    ],
)
def test_no_two_lanes_share_a_physical_core_and_one_is_left_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, sets: list[tuple[int, ...]]
) -> None:
    monkeypatch.setattr(cores, "allowed_cores", lambda: list(range(8)))
    assert cores_apart(threads, system(tmp_path, EIGHT)) == sets


def test_only_allowed_cores_are_given_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "allowed_cores", lambda: [1, 2, 6])
    assert cores_apart(1, system(tmp_path, EIGHT)) == [(6,)]


def test_where_the_system_tells_nothing_each_core_is_one_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "allowed_cores", lambda: [0, 1, 2])
    assert cores_apart(1, tmp_path) == [(2,), (1,)]


@pytest.mark.parametrize(
    ("number", "expected"), [(1, [[5], [4]]), (3, [[3, 4, 5], [0, 1, 2]]), (4, [[2, 3, 4, 5], [2, 3, 4, 5]])]
)
def test_sides_prepare_on_cores_of_their_own_if_there_are_enough(
    monkeypatch: pytest.MonkeyPatch, number: int, expected: list[list[int]]
) -> None:
    monkeypatch.setattr(cores, "allowed_cores", lambda: list(range(6)))
    assert preparing_cores(number, 2) == expected
