"""pytest-benchmark's files: groups, times and ratios, and verdicts only where the files support them."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.plugin import pytest_benchmark_group_stats
from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis import stored
from rnnbench.analysis.comparison import Comparison, Finding
from rnnbench.analysis.estimate import estimates_of
from rnnbench.analysis.pytest_benchmark import UNDECIDED, UNFAIR, chosen, compare, grouped, in_turns, summarize
from rnnbench.analysis.runs import run_times
from rnnbench.analysis.runs.summary import summarize as summarize_run
from rnnbench.analysis.stored import MIN_CASES, TOO_FEW
from rnnbench.errors import UserError
from rnnbench.report import as_pytest_benchmark as exporter
from rnnbench.store.folder import read_info
from rnnbench.store.pytest_benchmark import BenchmarkFiles, read
from rnnbench.store.records import Case
from tests.doubles.saved_files import MACHINE, benchmark, side, write
from tests.doubles.stored import PROCESSOR, folder, on
from tests.doubles.workload import case, reference_case

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


AXES = case("vanilla").axes()
STEADY = [1.0, 1.004, 0.998, 1.002, 1.001, 0.997]
TURNS = ([0, 3, 4, 7, 8, 11], [1, 2, 5, 6, 9, 10])  # the hours of base and head: ABBA
Groups = dict[str | None, dict[str, list[float]]]
ONE_AFTER_THE_OTHER = (range(6), range(6, 12))


def sides(
    tmp_path: Path, slower: float, hours: Any = TURNS, reference: str | None = None, number: int = 6, **changes: Any
) -> Comparison:
    before = {"test_a": STEADY[:number], "test_ref": STEADY[::-1][:number]}
    after = {"test_a": [slower * seconds for seconds in STEADY[:number]], "test_ref": STEADY[::-1][:number]}
    base = side(tmp_path / "before", before, hours=hours[0])
    head = side(tmp_path / "after", after, hours=hours[1], **changes)
    return compare(read(base), read(head), 0.025, reference)


def verdicts(comparison: Comparison) -> dict[str, str | None]:
    return {finding.case.key.removeprefix("bench.py::"): finding.verdict for finding in comparison.findings}


def test_sides_that_took_turns_get_verdicts_by_time(tmp_path: Path) -> None:
    comparison = sides(tmp_path, 1.10)
    assert verdicts(comparison) == {"test_a": "regressed", "test_ref": "unchanged"}
    worst = comparison.findings[0]
    assert worst.low is not None
    assert worst.low.lower < 1.10 < worst.low.upper
    assert (worst.replicates, worst.reason, comparison.exit_code()) == (6, "", 1)


def test_it_is_said_what_is_compared_and_what_the_intervals_are_over(tmp_path: Path) -> None:
    comparison = sides(tmp_path, 1.10)
    assert (comparison.suite, comparison.way) == ("pytest-benchmark", "saved")
    assert comparison.base == "before (6 processes, commit 0123456)"
    assert comparison.head == "after (6 processes, commit 0123456)"
    [note] = comparison.notes
    assert note.startswith("Intervals are over files, each of one process.")


def test_sides_one_after_the_other_are_undecided_without_a_reference(tmp_path: Path) -> None:
    comparison = sides(tmp_path, 1.5, ONE_AFTER_THE_OTHER)
    assert {(finding.verdict, finding.reason) for finding in comparison.findings} == {("undecided", UNFAIR)}
    assert comparison.exit_code(on_undecided="fail") == 3


def test_a_reference_in_each_process_makes_up_for_turns(tmp_path: Path) -> None:
    assert verdicts(sides(tmp_path, 1.10, ONE_AFTER_THE_OTHER, "test_ref")) == {"test_a": "regressed"}


def test_five_processes_a_side_are_enough(tmp_path: Path) -> None:
    assert verdicts(sides(tmp_path, 1.10, reference="test_ref", number=5)) == {"test_a": "regressed"}


def test_what_more_processes_would_decide_is_told_so(tmp_path: Path) -> None:
    noise = np.exp(0.05 * np.random.default_rng(3).standard_normal((2, 6)))
    base, head = (
        read(side(tmp_path / name, {"test_a": list(times)}, hours=hours))
        for name, times, hours in zip(("before", "after"), noise, TURNS, strict=True)
    )
    [finding] = compare(base, head, 0.025).findings
    assert (finding.verdict, finding.reason) == ("undecided", UNDECIDED)


def test_a_benchmark_that_is_never_beside_its_reference_is_undecided_and_the_next_is_judged(tmp_path: Path) -> None:
    for name, slower in (("before", 1.0), ("after", 1.1)):
        write(tmp_path / name / "0000.json", [benchmark("test_alone", [1.0], group="all")])
        for number, time in enumerate(STEADY, 1):
            rounds = [("test_a", slower * time), ("test_ref", 1.0)]
            write(
                tmp_path / name / f"{number:04d}.json",
                [benchmark(key, [seconds], group="all") for key, seconds in rounds],
            )
    base, head = read(tmp_path / "before"), read(tmp_path / "after")
    alone, judged = sorted(compare(base, head, 0.025, "test_ref").findings, key=lambda finding: len(finding.case.key))[
        ::-1
    ]
    assert alone == Finding(alone.case, "undecided", 0.025, "never in one process with its reference")
    assert (alone.case.key, judged.case.key) == ("bench.py::test_alone", "bench.py::test_a")
    assert judged.verdict == "regressed"


def in_groups(parent: Path, groups: Groups, hours: Any) -> Path:
    """Like `side`, with several groups in each file."""
    for number, hour in enumerate(hours):
        benchmarks = [
            benchmark(name, [times[number]] * 5, group=group)
            for group, members in groups.items()
            for name, times in members.items()
            if number < len(times)
        ]
        write(parent / f"{number:04d}.json", benchmarks, datetime=f"2026-01-01T{hour:02d}:00:00+00:00")
    return parent


def test_times_and_ratios_are_judged_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    noise = np.exp(0.002 * rng.standard_normal((2, 2, 6))), np.exp(0.05 * rng.standard_normal((2, 9, 6)))
    beside, alone = [], []
    for name, quiet, loud, hours in zip(("before", "after"), *noise, TURNS, strict=True):
        ratio: Groups = {"one": {"test_a": list(quiet[0]), "test_ref": list(quiet[1])}}
        times: Groups = {"two": {f"test_{number}": list(sample) for number, sample in enumerate(loud)}}
        alone.append(read(in_groups(tmp_path / "alone" / name, ratio, hours)))
        beside.append(read(in_groups(tmp_path / "beside" / name, ratio | times, hours)))
    [expected] = compare(alone[0], alone[1], 0.025, "test_ref").findings
    findings = {finding.case.key: finding for finding in compare(beside[0], beside[1], 0.025, "test_ref").findings}
    finding = findings[expected.case.key]
    assert (finding.low, finding.mean) == (expected.low, expected.mean)


def test_benchmarks_that_can_have_no_verdict_take_nothing_from_those_that_can(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    few = {f"test_{number}": [1.0, 1.0] for number in range(200)}
    own = [list(slower * np.exp(0.01 * rng.standard_normal(6))) for slower in (1.0, 1.07)]
    alone, beside = (
        [
            read(in_groups(tmp_path / where / name, {None: {"test_a": times} | others}, hours))
            for name, times, hours in zip(("before", "after"), own, TURNS, strict=True)
        ]
        for where, others in (("alone", {}), ("beside", few))
    )
    assert verdicts(compare(alone[0], alone[1], 0.025))["test_a"] == "regressed"
    judged = verdicts(compare(beside[0], beside[1], 0.025))
    assert judged.pop("test_a") == "regressed"
    assert set(judged.values()) == {"undecided"}


def test_a_benchmark_whose_reference_is_another_on_each_side_is_compared_by_time(tmp_path: Path) -> None:
    own, layer, other = case("vanilla"), reference_case(), reference_case(hidden_size=9)
    read_sides = []
    for name, reference, hours in (("before", layer, TURNS[0]), ("after", other, TURNS[1])):
        for number, hour in enumerate(hours):
            benchmarks = [
                benchmark("test_own", [STEADY[number]], group="one", extra=own.axes()),
                benchmark(f"test_layer_{name}", [STEADY[number] * 3], group="one", extra=reference.axes()),
            ]
            when = f"2026-01-01T{hour:02d}:00:00+00:00"
            write(tmp_path / name / f"{number:04d}.json", benchmarks, datetime=when)
        read_sides.append(read(tmp_path / name))
    [finding] = [
        finding for finding in compare(read_sides[0], read_sides[1], 0.025).findings if finding.verdict is not None
    ]
    assert (finding.verdict, finding.replicates) == ("unchanged", 6)


@pytest.mark.parametrize("number", [1, 4])
def test_few_processes_are_undecided_however_much_slower(tmp_path: Path, number: int) -> None:
    [finding] = sides(tmp_path, 3.0, reference="test_ref", number=number).findings
    assert finding.verdict == "undecided"
    assert finding.reason.startswith(f"a verdict takes 5 processes a side, and here are {number} and {number}")


def test_another_machine_is_incomparable_with_what_differs(tmp_path: Path) -> None:
    comparison = sides(tmp_path, 1.0, machine_info=MACHINE | {"python_version": "3.13.1"})
    assert {finding.verdict for finding in comparison.findings} == {"incomparable"}
    assert comparison.findings[0].reason == "python was 'CPython 3.12.4' and is 'CPython 3.13.1'"
    assert {(finding.case.key, finding.margin) for finding in comparison.findings} == {
        ("bench.py::test_a", 0.025),
        ("bench.py::test_ref", 0.025),
    }
    assert comparison.exit_code() == 2


def test_what_only_one_side_has_is_listed_and_nothing_in_common_is_an_error(tmp_path: Path) -> None:
    base = read(write(tmp_path / "a.json", [benchmark("test_a", [1.0]), benchmark("test_old", [1.0])]))
    head = read(write(tmp_path / "b.json", [benchmark("test_a", [1.0]), benchmark("test_new", [1.0])]))
    reasons = {finding.case.key: finding.reason for finding in compare(base, head, 0.025).findings}
    assert reasons["bench.py::test_old"] == "only in the base"
    assert reasons["bench.py::test_new"] == "only in the head"
    other = read(write(tmp_path / "c.json", [benchmark("test_c", [1.0])]))
    with pytest.raises(UserError, match=r"a\.json and c\.json have no benchmark with the same fullname"):
        compare(base, other, 0.025)


def test_counts_in_extra_info_are_a_verdict_even_of_one_file(tmp_path: Path) -> None:
    base, head = (
        read(write(tmp_path / f"{size}.json", [benchmark("test_a", [1.0], extra=AXES | {"peak_bytes": size})]))
        for size in (100, 200)
    )
    [finding] = compare(base, head, 0.025).findings
    assert (finding.verdict, finding.time_verdict) == ("regressed", "undecided")
    assert [(change.base, change.head) for change in finding.changes] == [(100, 200)]


@pytest.mark.parametrize(
    ("base", "head", "fair"),
    [(TURNS[0], TURNS[1], True), (range(3), range(3, 6), False), ([0, 2], [1, 3], False), ([0, 2, 4], [1, 3], True)],
)
def test_turns_are_read_off_the_times_of_the_files(tmp_path: Path, base: Any, head: Any, fair: bool) -> None:
    files = [
        read(side(tmp_path / name, {"test_a": [1.0] * len(hours)}, hours=list(hours)))
        for name, hours in (("before", base), ("after", head))
    ]
    assert in_turns(*files) == fair


def test_processes_that_differ_among_themselves_raise_no_alarm(tmp_path: Path) -> None:
    noise = np.random.default_rng(7).lognormal(0, 0.03, (2, 40, 6))
    base, head = (
        read(side(tmp_path / name, {f"test_{n}": list(times) for n, times in enumerate(arm)}, hours=hours))
        for name, arm, hours in zip(("before", "after"), noise, TURNS, strict=True)
    )
    assert compare(base, head, 0.025).count("regressed") == 0


@pytest.mark.parametrize(("number", "verdict"), [(6, "regressed"), (3, "regressed"), (1, "undecided")])
def test_an_exported_run_is_judged_as_the_run_itself(tmp_path: Path, number: int, verdict: str) -> None:
    exported, runs = [], []
    for slower in (1.0, 1.2):
        times: dict[Case, list[list[float]]] = {}
        for batch in range(MIN_CASES):
            times |= {case("vanilla", batch_size=batch + 1): [[2 * slower * time] for time in STEADY[:number]]}
            times |= {reference_case(batch_size=batch + 1): [[time] for time in STEADY[:number]]}
        path = folder(tmp_path, times)
        taken, info = run_times.read(path), read_info(path)
        file = tmp_path / f"{slower}.json"
        file.write_text(exporter.render(info, taken, summarize_run(taken)), encoding="utf-8")
        exported.append(read(file))
        runs.append(stored.read(path))
    comparison = compare(exported[0], exported[1], 0.025)
    [note] = comparison.notes
    assert note.startswith("Intervals are over replicates, each of a fresh process.")
    margins = dict.fromkeys(runs[0].measurements, 0.025)
    finding = comparison.findings[0]
    [same] = [same for same in stored.compare(runs[0], runs[1], margins).findings if same.case == finding.case]
    assert (finding.case, finding.verdict, finding.replicates) == (same.case, same.verdict, same.replicates)
    assert (finding.verdict, finding.reason) == (verdict, "" if verdict == "regressed" else TOO_FEW)
    for interval, expected in ((finding.low, same.low), (finding.mean, same.mean)):
        assert (interval is None) == (expected is None)
        if interval and expected:
            assert [interval.value, interval.lower, interval.upper] == pytest.approx(
                [expected.value, expected.lower, expected.upper]
            )


def test_an_exported_run_is_not_compared_with_files_of_another_origin(tmp_path: Path) -> None:
    path = folder(tmp_path, {case("vanilla"): [[2.0]] * 6, reference_case(): [[1.0]] * 6})
    times = run_times.read(path)
    file = tmp_path / "exported.json"
    file.write_text(exporter.render(read_info(path), times, summarize_run(times)), encoding="utf-8")
    exported = read(file)
    names = [saved.name for saved in exported.benchmarks.values()]
    plain = [benchmark(name, [1.0]) for name in names]
    for entry, key in zip(plain, exported.benchmarks, strict=True):
        entry["fullname"] = key
    other = read(write(tmp_path / "plain.json", plain))
    for finding in compare(other, exported, 0.025).findings:
        assert finding.verdict == "incomparable"
        assert "one side was exported by rnnbench" in finding.reason


@pytest.mark.parametrize(
    ("processor", "reason"),
    [
        (replace(PROCESSOR, stepping="2"), "processor stepping was 1 and is 2"),
        (None, "the head was made by an rnnbench that did not record the machine's identity"),
    ],
)
def test_exported_runs_of_two_machines_are_incomparable(tmp_path: Path, processor: Any, reason: str) -> None:
    path = folder(tmp_path, {case("vanilla"): [[2.0]] * 6, reference_case(): [[1.0]] * 6})
    times = run_times.read(path)
    for name, known in (("base", PROCESSOR), ("head", processor)):
        (tmp_path / name).write_text(exporter.render(on(known), times, summarize_run(times)), encoding="utf-8")
    comparison = compare(read(tmp_path / "base"), read(tmp_path / "head"), 0.025)
    assert {(finding.verdict, finding.reason) for finding in comparison.findings} == {("incomparable", reason)}


def test_files_of_two_processors_of_one_name_are_incomparable(tmp_path: Path) -> None:
    cpu = {"brand_raw": "AMD EPYC", "vendor_id_raw": "AuthenticAMD", "family": 25, "model": 17, "stepping": 1}
    flags = ["fpu", "avx2", "avx512f"]
    base, same, other, lesser = (
        read(write(tmp_path / f"{number}.json", [benchmark("test_a", [1.0])], machine_info=MACHINE | {"cpu": facts}))
        for number, facts in enumerate([cpu, cpu, cpu | {"family": 26, "model": 2}, cpu | {"flags": ["fpu", "avx2"]}])
    )
    full = read(
        write(tmp_path / "f", [benchmark("test_a", [1.0])], machine_info=MACHINE | {"cpu": cpu | {"flags": flags}})
    )
    assert compare(base, same, 0.025).findings[0].verdict == "undecided"
    for head, reason in (
        (other, "processor was AMD EPYC (family 25, model 17) and is AMD EPYC (family 26, model 2)"),
        (lesser, "instruction sets lost avx512f"),
    ):
        assert compare(full, head, 0.025).findings[0].reason == reason
