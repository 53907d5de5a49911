"""pytest-benchmark's files: what is read from them, and the messages for other files."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.check.compare_files import read_saved
from rnnbench.errors import UserError
from rnnbench.store.pytest_benchmark import is_saved, read_files
from tests.doubles.saved_files import MACHINE, benchmark, content, write
from tests.doubles.workload import reference_case

BENCHMARKS = """
import pytest
@pytest.mark.benchmark(group="sums")
@pytest.mark.parametrize("n", [10, 100])
def test_sum(benchmark, n):
    benchmark.extra_info["n"] = n
    benchmark(sum, range(n))
def test_sorted(benchmark):
    benchmark(sorted, [3, 2, 1])
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two files written by pytest-benchmark itself, one with its data and one without."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "test_real.py").write_text(BENCHMARKS)
    quick = [
        "--benchmark-max-time=0.001",
        "--benchmark-min-rounds=5",
        "--benchmark-warmup=off",
        "-p",
        "no:cacheprovider",
    ]
    command = [sys.executable, "-m", "pytest", "-q", "--benchmark-json=with.json", "--benchmark-save=without", *quick]
    # If these tests run in parallel, pytest-benchmark would see that in the environment and not measure.
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=folder, env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_what_the_real_tool_writes_is_read_the_same_with_its_data_and_without(real: Path) -> None:
    [with_data], [without] = (read_files(real / name).values() for name in ("with.json", ".benchmarks"))
    names = [(entry.fullname, entry.name, entry.group) for entry in with_data.benchmarks]
    assert names == [
        ("test_real.py::test_sum[10]", "test_sum[10]", "sums"),
        ("test_real.py::test_sum[100]", "test_sum[100]", "sums"),
        ("test_real.py::test_sorted", "test_sorted", None),
    ]
    for entry, other in zip(with_data.benchmarks, without.benchmarks, strict=True):
        assert entry.stats == other.stats
    assert with_data.environment["worker"]["python"].startswith("CPython 3.")


@pytest.mark.parametrize(
    ("version", "changes"),
    [
        ("3.4.1", {"datetime": "2021-05-01T10:00:00.123456"}),  # no time zone: UTC
        ("4.0.0", {"datetime": "2023-02-26T15:56:42.267008", "machine_info": MACHINE | {"cpu": {"brand": "Old"}}}),
        ("5.3.1", {"commit_info": {"id": "unversioned"}}),
    ],
)
def test_every_version_from_3_on_is_read(tmp_path: Path, version: str, changes: dict[str, Any]) -> None:
    file = write(tmp_path / "a.json", [benchmark("test_a", [2.0, 2.1])], version=version, **changes)
    [saved] = read_files(file).values()
    assert saved.benchmarks[0].stats.q1 == pytest.approx(2.0)
    assert saved.started.tzinfo is not None
    assert saved.commit == (None if version.startswith("5") else "0123456789abcdef")


def test_axes_in_extra_info_make_a_case_and_anything_else_there_does_not(tmp_path: Path) -> None:
    case = reference_case()
    known = benchmark(
        "test_known", [1.0], extra={**case.axes(), "macs": 12, "peak_bytes": None, "operators": float("inf")}
    )
    newer = benchmark("test_newer", [1.0], extra=case.axes() | {"implementation": "hyper"})
    other = benchmark("test_other", [1.0], extra={"cell": "of a battery", "implementation": 3})
    [saved] = read_files(write(tmp_path / "a.json", [known, newer, other])).values()
    assert [entry.case for entry in saved.benchmarks] == [case, None, None]
    assert saved.benchmarks[0].metrics == {"macs": 12}


GOOD = benchmark("test_a", [1.0, 1.1])


def with_stats(**changes: Any) -> list[dict[str, Any]]:
    return [GOOD | {"stats": GOOD["stats"] | changes}]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\x00\xff{",
        "[1, 2]",
        '{"results": [{"command": "sleep 1"}]}',
        '{"benchmarks": [{"runs": []}], "version": "1.0"}',
        '{"schema_version": 1, "resolved": {}}',
        json.dumps(content([])),
        json.dumps(content([GOOD], datetime="noon")),
        json.dumps(content([{"name": "x"}])),
        json.dumps(content([GOOD | {"fullname": 7}])),
        json.dumps(content(with_stats(q1=float("nan")))),
        json.dumps(content(with_stats(mean=-1.0))),
        json.dumps(content(with_stats(q1=10**400))),
        json.dumps(content([GOOD], rnnbench={})),
    ],
)
def test_another_file_is_refused_in_two_lines_at_most(tmp_path: Path, text: str, snapshot: SnapshotAssertion) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError) as caught:
        read_saved(file)
    assert str(caught.value).replace(str(tmp_path), "FOLDER") == snapshot
    assert len(str(caught.value).splitlines()) <= 2


@pytest.mark.parametrize(
    "changes",
    [
        {"commit_info": {"id": "fedcba98"}},
        {"machine_info": MACHINE | {"python_version": "3.13.0"}},
        {"machine_info": MACHINE | {"cpu": {"brand_raw": "Another", "count": 8}}},
    ],
)
def test_files_that_differ_by_more_than_chance_are_no_replicates(
    tmp_path: Path, changes: dict[str, Any], snapshot: SnapshotAssertion
) -> None:
    write(tmp_path / "0001.json", [GOOD])
    write(tmp_path / "0002.json", [GOOD], **changes)
    with pytest.raises(UserError) as caught:
        read_saved(tmp_path)
    assert str(caught.value).replace(str(tmp_path), "FOLDER") == snapshot


def test_another_name_of_the_machine_or_a_measured_clock_rate_is_no_other_machine(tmp_path: Path) -> None:
    write(tmp_path / "1.json", [GOOD])
    write(tmp_path / "2.json", [GOOD], machine_info=MACHINE | {"node": "builder-8"})
    assert set(read_saved(tmp_path).ratios["replicate"]) == {0, 1}


def test_only_files_and_folders_of_them_are_taken_for_such(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    file = write(tmp_path / "saved" / "deeper" / "a.json", [GOOD])
    assert [is_saved(path) for path in (file, file.parents[1])] == [True, True]
    assert not any(is_saved(tmp_path / name) for name in ("run", "empty", "nowhere"))
