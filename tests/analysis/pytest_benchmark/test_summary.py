"""Summaries of pytest-benchmark's files, which have intervals only over processes."""

import math
from pathlib import Path

import pytest

from rnnbench.analysis.estimate import estimates_of
from rnnbench.analysis.pytest_benchmark.summary import chosen, summarize
from rnnbench.errors import UserError
from rnnbench.store.pytest_benchmark import BenchmarkFiles, read
from tests.doubles.saved_files import benchmark, side, write
from tests.doubles.workload import case, reference_case


def test_one_process_has_a_time_and_the_spread_of_its_rounds_but_no_interval(tmp_path: Path) -> None:
    rounds = [1.0, 1.1, 1.2, 1.3, 9.0, 1.1, 1.2, 1.3]
    [row] = summarize(read(write(tmp_path / "a.json", [benchmark("test_a", rounds)]))).to_dict("records")
    assert row["seconds"] == row["rounds_low_seconds"] == pytest.approx(1.1)
    assert row["rounds_high_seconds"] == pytest.approx(1.3)
    assert math.isnan(row["seconds_low"])
    assert math.isnan(row["ratio"])
    assert row["mean_seconds"] == pytest.approx(sum(rounds) / 8)
    assert {key: row[key] for key in ("benchmark", "group", "name", "is_reference", "reference")} == {
        "benchmark": "bench.py::test_a",
        "group": "",
        "name": "test_a",
        "is_reference": False,
        "reference": "",
    }
    assert (row["processes"], row["rounds"]) == (1, 8)


def test_processes_are_the_replicates_and_ratios_are_taken_within_each(tmp_path: Path) -> None:
    times = {"test_a": [2.0, 2.2, 2.5], "test_b": [1.0, 1.1, 1.25]}  # a machine that slows down, equally for both
    rows = summarize(read(side(tmp_path, times)), "test_b").set_index("name")
    expected, _ = estimates_of([[math.log(seconds) for seconds in each] for each in times.values()])
    assert rows.loc["test_a", "seconds_high"] == pytest.approx(math.exp(expected.upper))
    assert list(rows.loc["test_a", ["ratio", "ratio_low", "ratio_high"]]) == pytest.approx([2.0] * 3)
    assert rows.loc["test_b", "ratio"] == 1
    assert rows["is_reference"].to_dict() == {"test_a": False, "test_b": True}
    assert rows["reference"].to_dict() == {"test_a": "test_b", "test_b": "test_b"}
    assert rows["group"].to_dict() == {"test_a": "all", "test_b": "all"}
    assert rows.loc["test_a", "mean_seconds"] == pytest.approx(sum(times["test_a"]) / 3)


def test_a_process_without_the_reference_gives_no_ratio(tmp_path: Path) -> None:
    write(tmp_path / "1.json", [benchmark("test_a", [2.0]), benchmark("test_b", [1.0])])
    write(tmp_path / "2.json", [benchmark("test_a", [3.0])])
    rows = summarize(read(tmp_path), "test_b").set_index("name")
    assert rows.loc["test_a", "ratio"] == pytest.approx(2)
    assert rows.loc["test_a", "processes"] == 2


def test_torch_nn_is_the_reference_of_its_group_where_the_file_says_which_it_is(tmp_path: Path) -> None:
    own, layer = case("vanilla"), reference_case()
    benchmarks = [
        benchmark("test_own", [2.0], group="one", extra=own.axes()),
        benchmark("test_layer", [1.0], group="one", extra=layer.axes()),
        benchmark("test_other", [2.0], group="two", extra=own.axes()),
    ]
    saved = read(write(tmp_path / "a.json", benchmarks))
    assert chosen(saved, None) == {"one": "bench.py::test_layer"}
    assert chosen(saved, "test_own") == {"one": "bench.py::test_own"}
    assert chosen(saved, "bench.py::test_other") == {"two": "bench.py::test_other"}


def test_a_reference_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    saved = read(write(tmp_path / "a.json", [benchmark(f"test_{number}", [1.0]) for number in range(9)]))
    with pytest.raises(UserError, match=r"reference nn: a\.json has no such benchmark; it has test_0, .* and 4 more"):
        chosen(saved, "nn")
    few = read(write(tmp_path / "b.json", [benchmark(f"test_{number}", [1.0]) for number in range(5)]))
    with pytest.raises(UserError, match=r"it has test_0, test_1, test_2, test_3 and test_4$"):
        chosen(few, "nn")


def test_two_references_in_one_group_are_refused(tmp_path: Path) -> None:
    entry = benchmark("test_a", [1.0])
    saved = read(write(tmp_path / "a.json", [entry, entry | {"fullname": "other.py::test_a"}]))
    with pytest.raises(
        UserError, match=r"fits 2 benchmarks of group '': bench\.py::test_a and other\.py::test_a; name one"
    ):
        chosen(saved, "test_a")
    many = [benchmark("test_a", [1.0], group="one", params={"size": size}) for size in range(9)]
    with pytest.raises(
        UserError, match=r"reference \*: fits 9 benchmarks of group 'one': .*\[4\] and 4 more; name one"
    ):
        chosen(read(write(tmp_path / "b.json", many)), "*")


def parametrized(tmp_path: Path) -> BenchmarkFiles:
    """Two sizes of two implementations, each size in its own group, and a benchmark that has no parameter."""
    benchmarks = [
        benchmark("test_cell", [seconds], group=str(size), params={"impl": impl, "size": size})
        for size in (32, 64)
        for impl, seconds in (("mine", 2.0), ("torch.nn", 1.0))
    ]
    return read(write(tmp_path / "a.json", [*benchmarks, benchmark("test_a*b", [1.0])]))


@pytest.mark.parametrize("reference", ["impl=torch.nn", "impl=torch*", "*torch*", "test_cell[torch.nn-*]", "*.nn-*"])
def test_a_reference_may_be_a_parameters_value_or_a_pattern(tmp_path: Path, reference: str) -> None:
    saved = parametrized(tmp_path)
    keys = {size: f"bench.py::test_cell[torch.nn-{size}]" for size in ("32", "64")}
    assert chosen(saved, reference) == keys
    rows = summarize(saved, reference).set_index("benchmark")
    assert rows.loc["bench.py::test_cell[mine-64]", "ratio"] == pytest.approx(2)


def test_an_exact_name_comes_before_a_pattern_and_only_a_star_is_one(tmp_path: Path) -> None:
    saved = parametrized(tmp_path)
    assert chosen(saved, "test_a*b") == {"": "bench.py::test_a*b"}
    for nothing in ("torch", "test_cell[torch?nn-*]", "*torch", "impl=[mt]*"):
        with pytest.raises(UserError, match="no such benchmark"):
            chosen(saved, nothing)


def test_two_cases_of_torch_nn_in_one_group_are_no_default_reference(tmp_path: Path) -> None:
    benchmarks = [benchmark(name, [1.0], extra=reference_case().axes()) for name in ("test_a", "test_b")]
    assert chosen(read(write(tmp_path / "a.json", benchmarks)), None) == {}
