"""Linux control groups, in files that the test writes."""

from pathlib import Path

import pytest

from rnnbench.harness.devices.cgroup import memory_limits


@pytest.mark.parametrize(
    ("own", "files", "limits"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "3000\n", "a/memory.max": "max\n", "memory.max": "9000\n"}, [3000, 9000]),
        ("0::/hidden/from/here\n", {"memory.max": "3000\n"}, [3000]),
        ("2:cpu:/a\n1:cpuset,memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": "3000\n"}, [3000]),
        ("1:memory:/a\n", {"memory/b/memory.limit_in_bytes": "3000\n"}, []),
        ("", {"memory.max": "3000\n"}, []),
    ],
)
def test_every_group_around_a_process_limits_it(
    tmp_path: Path, own: str, files: dict[str, str], limits: list[int]
) -> None:
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        file = tmp_path / "root" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert memory_limits(tmp_path / "own", tmp_path / "root") == limits


def test_where_there_are_no_control_groups_nothing_is_limited(tmp_path: Path) -> None:
    assert memory_limits(tmp_path / "own", tmp_path / "root") == []
