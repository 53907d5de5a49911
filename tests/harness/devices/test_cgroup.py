"""Linux control groups, in files that the test writes."""

import math
from pathlib import Path

import pytest

from rnnbench.harness.devices.cgroup import cpu_cores, cpu_limit, memory_limits


def written(folder: Path, own: str, files: dict[str, str]) -> tuple[Path, Path]:
    """Write the file that names a process's groups, and those of the groups; returns the file and their root."""
    (folder / "own").write_text(own)
    for name, text in files.items():
        file = folder / "root" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder / "own", folder / "root"


@pytest.mark.parametrize(
    ("own", "files", "limits"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "3000\n", "a/memory.max": "max\n", "memory.max": "9000\n"}, [3000, 9000]),
        ("0::/hidden/from/here\n", {"memory.max": "3000\n"}, [3000]),
        ("2:cpu:/a\n1:cpuset,memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": "3000\n"}, [3000]),
        ("1:memory:/a\n", {"memory/b/memory.limit_in_bytes": "3000\n"}, []),
        ("0::/müde/a\n", {"müde/memory.max": "3000\n"}, [3000]),
        ("", {"memory.max": "3000\n"}, []),
    ],
)
def test_every_group_around_a_process_limits_it(
    tmp_path: Path, own: str, files: dict[str, str], limits: list[int]
) -> None:
    assert memory_limits(*written(tmp_path, own, files)) == limits


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "50000 100000\n"}, "50000 100000"),
        ("0::/a/b\n", {"a/b/cpu.max": "90000 100000\n", "a/cpu.max": "10000 20000\n"}, "10000 20000"),
        ("0::/a\n", {"a/cpu.max": "max 100000\n"}, "max 100000"),
        ("0::/hidden/from/here\n", {"cpu.max": "150000 100000\n"}, "150000 100000"),
        (
            "3:cpu,cpuacct:/a\n0::/\n",
            {"cpu/a/cpu.cfs_quota_us": "50000\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
            "50000 100000",
        ),
        ("3:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, "max 100000"),
        ("3:cpu:/\n", {"cpu/cpu.cfs_quota_us": "50000\n"}, None),
        ("0::/a\n", {"a/cpu.max": "a word\n"}, None),
    ],
)
def test_the_lowest_limit_of_processor_time_around_a_process_counts(
    tmp_path: Path, own: str, files: dict[str, str], limit: str | None
) -> None:
    assert cpu_limit(*written(tmp_path, own, files)) == limit


def test_a_limit_is_a_number_of_cores() -> None:
    assert cpu_cores("50000 100000") == 0.5
    assert cpu_cores("max 100000") == math.inf


def test_where_there_are_no_control_groups_nothing_is_limited(tmp_path: Path) -> None:
    assert memory_limits(tmp_path / "own", tmp_path / "root") == []
    assert cpu_limit(tmp_path / "own", tmp_path / "root") is None
