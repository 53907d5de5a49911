"""Groups of pytest-benchmark's benchmarks."""

from pathlib import Path

import pytest
from pytest_benchmark.plugin import pytest_benchmark_group_stats
from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis.pytest_benchmark.groups import grouped
from rnnbench.analysis.pytest_benchmark.summary import chosen
from rnnbench.errors import UserError
from rnnbench.store.pytest_benchmark import read
from tests.doubles.saved_files import benchmark, write

BENCHMARKS = [
    benchmark("test_cell", [1.0], group="cells", params={"impl": impl, "size": size})
    for impl in ("mine", "torch")
    for size in (32, 64)
] + [benchmark("test_other", [1.0], group="others", params={"impl": "mine", "size": 32})]
PLAIN = benchmark("test_plain", [1.0])


def groups(file: Path, by: str | None) -> dict[str, str]:
    return {key: benchmark.group for key, benchmark in grouped(read(file), by).benchmarks.items()}


@pytest.mark.parametrize(
    "by",
    [
        *["group", "name", "func", "fullname", "fullfunc", "param", "param:size", "param:impl"],
        *["func,param:size", "param:impl,group", "group,func,param"],
    ],
)
def test_groups_are_those_of_pytest_benchmark(tmp_path: Path, by: str) -> None:
    benchmarks = (
        BENCHMARKS if "param:" in by else [*BENCHMARKS, PLAIN]
    )  # pytest-benchmark has no answer for a missing one
    theirs = pytest_benchmark_group_stats(None, list(benchmarks), by)
    expected = {entry["fullname"]: group or "" for group, entries in theirs for entry in entries}
    assert groups(write(tmp_path / "a.json", benchmarks), by) == expected


def test_without_a_label_the_files_own_groups_stay_and_spaces_do_not_matter(tmp_path: Path) -> None:
    file = write(tmp_path / "a.json", BENCHMARKS)
    assert groups(file, None) == groups(file, "group")
    assert groups(file, "func, param:size") == groups(file, "func,param:size")


def test_a_benchmark_without_the_parameter_is_grouped_by_the_rest(tmp_path: Path) -> None:
    file = write(tmp_path / "a.json", [*BENCHMARKS, PLAIN])
    assert groups(file, "func,param:size")["bench.py::test_plain"] == "test_plain"
    assert groups(file, "param:size")["bench.py::test_plain"] == ""


def test_a_parameters_value_is_the_reference_of_each_group(tmp_path: Path) -> None:
    file = write(tmp_path / "a.json", BENCHMARKS)
    with pytest.raises(UserError, match=r"fits 2 benchmarks of group 'cells'"):
        chosen(read(file), "impl=torch")
    assert chosen(grouped(read(file), "func,param:size"), "impl=torch") == {
        "test_cell size=32": "bench.py::test_cell[torch-32]",
        "test_cell size=64": "bench.py::test_cell[torch-64]",
    }


@pytest.mark.parametrize(
    "by",
    [
        "function",
        "func,",
        "param:batch",
    ],
)
def test_a_label_that_is_none_is_refused_with_those_that_are(
    tmp_path: Path, by: str, snapshot: SnapshotAssertion
) -> None:
    with pytest.raises(UserError) as raised:
        grouped(read(write(tmp_path / "a.json", BENCHMARKS)), by)
    assert str(raised.value) == snapshot


def test_a_file_without_parameters_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has a parameter 'size'; it has none"):
        grouped(read(write(tmp_path / "a.json", [PLAIN])), "param:size")
