"""Cores on which workers are timed, and those on which cases are prepared."""

from pathlib import Path

import pytest

from rnnbench.harness.machine import cores
from rnnbench.harness.machine.cores import measuring_cores, preparing_cores

SIBLINGS, PACKAGE = "topology/thread_siblings_list", "topology/physical_package_id"
FREQUENCY, CAPACITY = "cpufreq/cpuinfo_max_freq", "cpu_capacity"
ADJACENT = {core: f"{core // 2 * 2}-{core // 2 * 2 + 1}" for core in range(8)}  # as many virtual machines number them
APART = {core: f"{core % 4},{core % 4 + 4}" for core in range(8)}  # four cores of two threads
PAIRED = {core: ADJACENT[core] for core in range(4)}  # beside four cores of one thread
FAST, SLOW = range(4), range(4, 8)


@pytest.mark.parametrize(
    ("files", "number", "expected"),
    [
        ({SIBLINGS: ADJACENT}, 1, [7]),
        ({SIBLINGS: ADJACENT}, 2, [5, 7]),
        ({SIBLINGS: ADJACENT}, 4, [1, 3, 5, 7]),
        ({SIBLINGS: ADJACENT}, 5, [1, 3, 5, 6, 7]),
        ({SIBLINGS: APART}, 2, [6, 7]),
        ({}, 2, [6, 7]),
        # Of two kinds of cores the fastest, though the others come last: some systems give both one capacity.
        ({SIBLINGS: PAIRED, CAPACITY: dict.fromkeys(FAST, "1024") | dict.fromkeys(SLOW, "512")}, 2, [1, 3]),
        (
            {
                SIBLINGS: PAIRED,
                CAPACITY: dict.fromkeys(range(8), "1024"),
                FREQUENCY: dict.fromkeys(FAST, "4900000") | dict.fromkeys(SLOW, "3600000"),
            },
            2,
            [1, 3],
        ),
        ({PACKAGE: {core: str(core % 2) for core in range(8)}}, 2, [5, 7]),  # of one package, where they take turns
    ],
)
def test_threads_are_timed_on_the_fastest_physical_cores_of_their_own(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, dict[int, str]],
    number: int,
    expected: list[int],
) -> None:
    monkeypatch.setattr(cores, "allowed_cores", lambda: list(range(8)))
    for file, texts in files.items():
        for core, text in texts.items():
            (tmp_path / f"cpu{core}" / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / f"cpu{core}" / file).write_text(f"{text}\n")
    assert measuring_cores(number, tmp_path) == expected


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
