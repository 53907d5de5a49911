"""Stored sides against each other: pytest-benchmark's groups, references and replicates, and verdicts with support."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.plugin import pytest_benchmark_group_stats
from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis.comparison import Comparison
from rnnbench.check.compare_files import UNFAIR, compare_files, compare_saved, in_turns, read_saved
from rnnbench.errors import UserError
from tests.doubles.saved_files import MACHINE, benchmark, side, write
from tests.doubles.stored import folder, several
from tests.doubles.workload import case, reference_case

BENCHMARKS = [
    benchmark("test_cell", [1.0], group="cells", params={"impl": impl, "size": size})
    for impl in ("mine", "torch")
    for size in (32, 64)
] + [benchmark("test_other", [1.0], group="others", params={"impl": "mine", "size": 32})]
PLAIN = benchmark("test_plain", [1.0])


def groups(file: Path, by: str | None) -> dict[str, str]:
    times = read_saved(file, group_by=by).ratios
    return dict(zip(times["case"], times["group"], strict=True))


def references(file: Path, reference: str | None, by: str | None = None) -> dict[str, str]:
    """The reference of each group that has one."""
    times = read_saved(file, reference, by).ratios
    return {row["group"]: row["reference"] for row in times.to_dict("records") if row["reference"]}


@pytest.mark.parametrize(
    "by",
    [
        *["group", "name", "func", "fullname", "fullfunc", "param", "param:size", "param:impl"],
        *["func,param:size", "param:impl,group", "group,func,param"],
    ],
)
def test_groups_are_those_of_pytest_benchmark(tmp_path: Path, by: str) -> None:
    # pytest-benchmark has no answer for a missing parameter.
    benchmarks = BENCHMARKS if "param:" in by else [*BENCHMARKS, PLAIN]
    theirs = pytest_benchmark_group_stats(None, list(benchmarks), by)
    expected = {entry["fullname"]: group or "" for group, entries in theirs for entry in entries}
    file = write(tmp_path / "a.json", benchmarks)
    assert groups(file, by) == groups(file, by.replace(",", ", ")) == expected
    mixed = write(tmp_path / "b.json", [*BENCHMARKS, PLAIN])
    assert groups(mixed, "func,param:size")["bench.py::test_plain"] == "test_plain"  # it has no such parameter
    assert groups(mixed, None) == groups(mixed, "group")


@pytest.mark.parametrize("by", ["function", "func,", "param:batch"])
def test_a_label_that_is_none_is_refused_with_those_that_are(
    tmp_path: Path, by: str, snapshot: SnapshotAssertion
) -> None:
    with pytest.raises(UserError) as raised:
        read_saved(write(tmp_path / "a.json", BENCHMARKS), group_by=by)
    assert str(raised.value) == snapshot


def test_torch_nn_is_the_reference_of_its_group_where_the_file_says_which_it_is(tmp_path: Path) -> None:
    own, layer = case("vanilla"), reference_case()
    benchmarks = [
        benchmark("test_own", [2.0], group="one", extra=own.axes()),
        benchmark("test_layer", [1.0], group="one", extra=layer.axes()),
        benchmark("test_other", [2.0], group="two", extra=own.axes()),
    ]
    file = write(tmp_path / "a.json", benchmarks)
    assert references(file, None) == {"one": "bench.py::test_layer"}
    assert references(file, "test_own") == {"one": "bench.py::test_own"}
    two = [benchmark(name, [1.0], extra=layer.axes()) for name in ("test_a", "test_b")]
    assert references(write(tmp_path / "b.json", two), None) == {}


def test_a_reference_that_is_not_there_or_fits_twice_is_answered_with_those_that_are(tmp_path: Path) -> None:
    file = write(tmp_path / "a.json", [benchmark(f"test_{number}", [1.0]) for number in range(9)])
    with pytest.raises(UserError, match=r"reference nn: a\.json has no such benchmark; it has test_0, .* and 4 more"):
        read_saved(file, "nn")
    with pytest.raises(UserError, match=r"reference \*: fits 9 benchmarks of group '': .*_4 and 4 more; name one"):
        read_saved(file, "*")
    two = write(tmp_path / "b.json", [benchmark(f"test_{name}", [1.0], group="one") for name in "ab"])
    with pytest.raises(UserError, match=r"reference test_\*: fits 2 benchmarks of group 'one'"):
        read_saved(two, "test_*")


@pytest.mark.parametrize("reference", ["impl=torch.nn", "impl=torch*", "*torch*", "test_cell[torch.nn-*]", "*.nn-*"])
def test_a_reference_may_be_a_parameters_value_or_a_pattern(tmp_path: Path, reference: str) -> None:
    benchmarks = [
        benchmark("test_cell", [1.0], params={"impl": impl, "size": size})
        for size in (32, 64)
        for impl in ("mine", "torch.nn")
    ]
    file = write(tmp_path / "a.json", [*benchmarks, benchmark("test_a*b", [1.0])])
    keys = {f"size={size}": f"bench.py::test_cell[torch.nn-{size}]" for size in (32, 64)}
    assert references(file, reference, "param:size") == keys
    assert references(file, "test_a*b", "param:size") == {"": "bench.py::test_a*b"}  # a name comes before a pattern
    for nothing in ("torch", "test_cell[torch?nn-*]", "*torch", "impl=[mt]*"):
        with pytest.raises(UserError, match="no such benchmark"):
            read_saved(file, nothing)


AXES = case("vanilla").axes()
STEADY = [1.0, 1.004, 0.998, 1.002, 1.001, 0.997]
TURNS = ([0, 3, 4, 7, 8, 11], [1, 2, 5, 6, 9, 10])  # the hours of base and head: ABBA
ONE_AFTER_THE_OTHER = (range(6), range(6, 12))


def sides(
    tmp_path: Path, slower: float, hours: Any = TURNS, reference: str | None = None, number: int = 6, **changes: Any
) -> Comparison:
    before = {"test_a": STEADY[:number], "test_ref": STEADY[::-1][:number]}
    after = {"test_a": [slower * seconds for seconds in STEADY[:number]], "test_ref": STEADY[::-1][:number]}
    base = side(tmp_path / "before", before, hours=hours[0])
    head = side(tmp_path / "after", after, hours=hours[1], **changes)
    return compare_saved(read_saved(base, reference), read_saved(head, reference))


def verdicts(comparison: Comparison) -> dict[str, str | None]:
    return {finding.case.key.removeprefix("bench.py::"): finding.verdict for finding in comparison.findings}


def test_sides_that_took_turns_get_verdicts_by_time(tmp_path: Path) -> None:
    comparison = sides(tmp_path, 1.10)
    assert verdicts(comparison) == {"test_a": "regressed", "test_ref": "unchanged"}
    worst = comparison.findings[0]
    assert worst.low is not None
    assert worst.low.lower < 1.10 < worst.low.upper
    assert (worst.replicates, worst.reason, comparison.exit_code()) == (6, "", 1)
    assert (comparison.suite, comparison.way) == ("pytest-benchmark", "saved")
    assert (comparison.base, comparison.head) == tuple(
        f"{name} (6 files, commit 0123456)" for name in ("before", "after")
    )


def test_sides_one_after_the_other_are_undecided_without_a_reference(tmp_path: Path) -> None:
    comparison = sides(tmp_path, 1.5, ONE_AFTER_THE_OTHER)
    assert {(finding.verdict, finding.reason) for finding in comparison.findings} == {("undecided", UNFAIR)}


@pytest.mark.parametrize("number", [6, 5])
def test_a_reference_in_each_of_five_processes_makes_up_for_turns(tmp_path: Path, number: int) -> None:
    comparison = sides(tmp_path, 1.10, ONE_AFTER_THE_OTHER, "test_ref", number)
    assert verdicts(comparison) == {"test_a": "regressed"}


@pytest.mark.parametrize("number", [1, 4])
def test_few_processes_are_undecided_however_much_slower(tmp_path: Path, number: int) -> None:
    [finding] = sides(tmp_path, 3.0, reference="test_ref", number=number).findings
    assert finding.verdict == "undecided"
    assert finding.reason.startswith(f"a verdict takes 5 processes a side, and here are {number} and {number}")


def test_what_more_processes_would_decide_is_told_so(tmp_path: Path) -> None:
    noise = np.exp(0.05 * np.random.default_rng(3).standard_normal((2, 6)))
    base, head = (
        read_saved(side(tmp_path / name, {"test_a": list(times)}, hours=hours))
        for name, times, hours in zip(("before", "after"), noise, TURNS, strict=True)
    )
    comparison = compare_saved(base, head)
    assert (verdicts(comparison), comparison.needed[:9]) == ({"test_a": "undecided"}, "save more")


def test_benchmarks_that_can_have_no_verdict_take_nothing_from_those_that_can(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    runs = []
    for name, slower, hours in zip(("before", "after"), (1.0, 1.07), TURNS, strict=True):
        for number, (hour, noise) in enumerate(zip(hours, rng.standard_normal(6), strict=True)):
            few = [benchmark(f"test_{each}", [1.0]) for each in range(200) if number < 2]
            own = benchmark("test_a", [slower * np.exp(0.01 * noise)])
            when = f"2026-01-01T{hour:02d}:00:00+00:00"
            write(tmp_path / name / f"{number:04d}.json", [own, *few], datetime=when)
        runs.append(read_saved(tmp_path / name))
    judged = verdicts(compare_saved(runs[0], runs[1]))
    assert (judged.pop("test_a"), set(judged.values())) == ("regressed", {"undecided"})


def test_what_only_one_side_has_is_listed_and_nothing_in_common_is_an_error(tmp_path: Path) -> None:
    base, head, other = (
        read_saved(write(tmp_path / f"{names[-1]}.json", [benchmark(name, [1.0]) for name in names]))
        for names in (("test_a", "test_old"), ("test_a", "test_new"), ("test_c",))
    )
    reasons = {finding.case.key: finding.reason for finding in compare_saved(base, head).findings}
    assert reasons["bench.py::test_old"] == "only in the base"
    assert reasons["bench.py::test_new"] == "only in the head"
    with pytest.raises(UserError, match=r"test_old\.json .* have no benchmark with the same fullname"):
        compare_saved(base, other)


def test_counts_in_extra_info_are_a_verdict_even_of_one_file(tmp_path: Path) -> None:
    base, head = (
        read_saved(write(tmp_path / f"{size}.json", [benchmark("test_a", [1.0], extra=AXES | {"peak_bytes": size})]))
        for size in (100, 200)
    )
    [finding] = compare_saved(base, head).findings
    assert finding.verdict == "regressed"
    assert [(change.base, change.head) for change in finding.changes] == [(100, 200)]


@pytest.mark.parametrize(
    ("base", "head", "fair"),
    [(TURNS[0], TURNS[1], True), (range(3), range(3, 6), False), ([0, 2], [1, 3], False), ([0, 2, 4], [1, 3], True)],
)
def test_turns_are_read_off_the_times_of_the_files(tmp_path: Path, base: Any, head: Any, fair: bool) -> None:
    files = [
        read_saved(side(tmp_path / name, {"test_a": [1.0] * len(hours)}, hours=list(hours)))
        for name, hours in (("before", base), ("after", head))
    ]
    assert in_turns(*files) == fair


CPU = {"brand_raw": "AMD EPYC", "vendor_id_raw": "AuthenticAMD", "family": 25, "model": 17, "flags": ["avx2", "fma"]}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"python_version": "3.13.1"}, "python was 'CPython 3.12.4 x86_64' and is 'CPython 3.13.1 x86_64'"),
        (
            {"cpu": CPU | {"family": 26, "model": 2}},
            "processor was AMD EPYC (family 25, model 17) and is AMD EPYC (family 26, model 2)",
        ),
        ({"cpu": CPU | {"flags": ["avx2"]}}, "processor instruction sets was fma and is none"),
    ],
)
def test_files_of_another_machine_are_incomparable_with_what_differs(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    machine = MACHINE | {"cpu": CPU}
    base, head = (
        read_saved(write(tmp_path / f"{number}.json", [benchmark("test_a", [1.0])], machine_info=machine | more))
        for number, more in enumerate(({}, change))
    )
    comparison = compare_saved(base, head)
    [finding] = comparison.findings
    assert (finding.verdict, finding.reason, comparison.exit_code()) == ("incomparable", reason, 2)


def test_two_paths_are_compared_by_the_suites_margins_or_by_reference_and_two_kinds_are_refused(tmp_path: Path) -> None:
    suite = {"check": {"margins": [{"only": "batch_size=1", "margin": 0.3}]}}
    base, head = (
        folder(tmp_path / name, several([slow] * 6), resolved=suite) for name, slow in (("runs", 2.0), ("others", 2.2))
    )
    found = {each.case.axes()["batch_size"]: each for each in compare_files(base, head, margin=None).findings}
    assert {size: each.margin for size, each in found.items()} == {1: 0.3} | dict.fromkeys(range(2, 7), 0.025)
    assert (found[1].verdict, found[2].verdict) == ("unchanged", "regressed")
    assert {each.margin for each in compare_files(base, head, margin=0.5).findings} == {0.5}

    sides = [
        side(
            tmp_path / name,
            {"test_a": [slow * each for each in STEADY], "test_ref": STEADY},
            hours=range(hour, hour + 6),
        )
        for name, slow, hour in (("before", 1.0, 0), ("after", 1.1, 6))
    ]
    beside = compare_files(*sides, margin=0.01, reference="test_ref", group_by="group")
    assert (verdicts(beside), beside.findings[0].margin) == ({"test_a": "regressed"}, 0.01)
    for first, second, options, words in (
        (base, base, {}, "are the same"),
        (base, sides[0], {}, "expected two runs, or two sides"),
        (base, head, {"reference": "x"}, "runs have their own references"),
        (base, head, {"group_by": "func"}, "runs have their own references"),
    ):
        with pytest.raises(UserError, match=words):
            compare_files(first, second, margin=None, **options)
