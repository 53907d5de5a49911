"""Cores on which workers are timed, and those on which cases are prepared."""

from pathlib import Path

import pytest

from rnnbench.harness.machine import cores
from rnnbench.harness.machine.cores import measuring_cores, preparing_cores


def system(root: Path, siblings: dict[int, str]) -> Path:
    for core, together in siblings.items():
        folder = root / f"cpu{core}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{together}\n")
    return root


EIGHT = {core: f"{core % 4},{core % 4 + 4}" for core in range(8)}  # four cores of two threads


def kinds(root: Path, file: str, values: dict[int, int]) -> Path:
    for core, value in values.items():
        (root / f"cpu{core}" / file).parent.mkdir(parents=True, exist_ok=True)
        (root / f"cpu{core}" / file).write_text(f"{value}\n")
    return root


ADJACENT = {core: f"{core // 2 * 2}-{core // 2 * 2 + 1}" for core in range(8)}  # as many virtual machines number them


@pytest.mark.parametrize(
    ("siblings", "number", "expected"),
    [
        (ADJACENT, 1, [7]),
        (ADJACENT, 2, [5, 7]),
        (ADJACENT, 4, [1, 3, 5, 7]),
        (ADJACENT, 5, [1, 3, 5, 6, 7]),
        (EIGHT, 2, [6, 7]),
        ({}, 2, [6, 7]),
    ],
)
def test_threads_are_timed_on_physical_cores_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, siblings: dict[int, str], number: int, expected: list[int]
) -> None:
    monkeypatch.setattr(cores, "allowed_cores", lambda: list(range(8)))
    assert measuring_cores(number, system(tmp_path, siblings)) == expected


@pytest.mark.parametrize(
    ("file", "fast", "slow"), [("cpufreq/cpuinfo_max_freq", 4_900_000, 3_600_000), ("cpu_capacity", 1024, 512)]
)
def test_cores_of_the_fastest_kind_are_timed_though_the_others_come_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, fast: int, slow: int
) -> None:
    monkeypatch.setattr(cores, "allowed_cores", lambda: list(range(8)))
    root = kinds(system(tmp_path, {0: "0-1", 1: "0-1", 2: "2-3", 3: "2-3"}), file, {0: fast, 1: fast, 2: fast, 3: fast})
    kinds(root, file, dict.fromkeys(range(4, 8), slow))
    if file != "cpu_capacity":
        kinds(root, "cpu_capacity", dict.fromkeys(range(8), 1024))
    assert measuring_cores(1, root) == [3]
    assert measuring_cores(2, root) == [1, 3]
    assert preparing_cores(2, 2, root) == [[1, 3], [0, 2]]


def test_threads_are_timed_on_one_package_where_packages_take_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "allowed_cores", lambda: list(range(8)))
    root = kinds(tmp_path, "topology/physical_package_id", {core: core % 2 for core in range(8)})
    assert measuring_cores(2, root) == [5, 7]


@pytest.mark.parametrize(
    ("number", "expected"), [(1, [[5], [4]]), (3, [[3, 4, 5], [0, 1, 2]]), (4, [[2, 3, 4, 5], [2, 3, 4, 5]])]
)
def test_sides_prepare_on_cores_of_their_own_if_there_are_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: list[list[int]]
) -> None:
    monkeypatch.setattr(cores, "allowed_cores", lambda: list(range(6)))
    assert preparing_cores(number, 2, tmp_path) == expected


@pytest.fixture
def limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of control groups; the process is in its group a/b."""
    monkeypatch.setattr(cores, "OWN_GROUP", tmp_path / "own")
    monkeypatch.setattr(cores, "GROUPS", tmp_path / "groups")
    (tmp_path / "own").write_text("0::/a/b\n")
    (tmp_path / "groups" / "a" / "b").mkdir(parents=True)
    return tmp_path / "groups"


def test_every_group_around_a_process_limits_its_memory(limits: Path) -> None:
    assert cores.memory_limits() == []
    for folder, text in {"a/b": "3000\n", "a": "max\n", ".": "9000\n"}.items():
        (limits / folder / "memory.max").write_text(text)
    assert cores.memory_limits() == [3000, 9000]


@pytest.mark.parametrize(
    ("files", "limit", "number"),
    [
        ({"a/b": "max 100000\n", "a": "50000 100000\n"}, "50000 100000", 0.5),
        ({"a/b": "90000 100000\n", "a": "10000 20000\n"}, "10000 20000", 0.5),
        ({"a": "max 100000\n"}, "max 100000", float("inf")),
    ],
)
def test_the_lowest_limit_of_processor_time_around_a_process_counts(
    limits: Path, files: dict[str, str], limit: str, number: float
) -> None:
    assert cores.cpu_limit() is None
    for folder, text in files.items():
        (limits / folder / "cpu.max").write_text(text)
    assert cores.cpu_limit() == limit
    assert cores.cpu_cores(limit) == number
