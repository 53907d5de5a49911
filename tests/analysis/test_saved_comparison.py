"""Two sides of pytest-benchmark's files: verdicts only where the files hold them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnbench import load, summarize
from rnnbench.analysis import stored
from rnnbench.analysis.comparison import Comparison
from rnnbench.analysis.saved_comparison import UNFAIR, compare, in_turns
from rnnbench.errors import UserError
from rnnbench.report.export import pytest_benchmark as exporter
from rnnbench.store.folder import read_info
from rnnbench.store.pytest_benchmark import read
from tests.saved_files import MACHINE, benchmark, side, write
from tests.stored import folder
from tests.workload import case, reference_case

AXES = case("vanilla").axes()
STEADY = [1.0, 1.004, 0.998, 1.002, 1.001, 0.997]
TURNS = ([0, 3, 4, 7, 8, 11], [1, 2, 5, 6, 9, 10])  # the hours in which base and head were measured: ABBA
ONE_AFTER_THE_OTHER = (range(6), range(6, 12))


def sides(
    tmp_path: Path, slower: float, hours: Any = TURNS, reference: str | None = None, number: int = 6, **changes: Any
) -> Comparison:
    before = {"test_a": STEADY[:number], "test_ref": STEADY[::-1][:number]}
    after = {"test_a": [slower * one for one in STEADY[:number]], "test_ref": STEADY[::-1][:number]}
    base = side(tmp_path / "before", before, hours=hours[0])
    head = side(tmp_path / "after", after, hours=hours[1], **changes)
    return compare(read(base), read(head), 0.025, reference)


def verdicts(comparison: Comparison) -> dict[str, str | None]:
    return {one.case.key.removeprefix("bench.py::"): one.verdict for one in comparison.findings}


def test_sides_that_took_turns_get_verdicts_by_time(tmp_path: Path) -> None:
    comparison = sides(tmp_path, 1.10)
    assert verdicts(comparison) == {"test_a": "regressed", "test_ref": "unchanged"}
    worst = comparison.findings[0]
    assert worst.low is not None
    assert worst.low.low < 1.10 < worst.low.high
    assert (worst.replicates, comparison.exit_code(strict=False)) == (6, 1)


def test_sides_one_after_the_other_are_undecided_without_a_reference(tmp_path: Path) -> None:
    comparison = sides(tmp_path, 1.5, ONE_AFTER_THE_OTHER)
    assert {(one.verdict, one.reason) for one in comparison.findings} == {("inconclusive", UNFAIR)}
    assert comparison.exit_code(strict=True) == 3


def test_a_reference_in_each_process_makes_up_for_turns(tmp_path: Path) -> None:
    assert verdicts(sides(tmp_path, 1.10, ONE_AFTER_THE_OTHER, "test_ref")) == {"test_a": "regressed"}


@pytest.mark.parametrize("number", [1, 4])
def test_few_processes_are_undecided_however_much_slower_and_the_change_is_told(tmp_path: Path, number: int) -> None:
    [one] = sides(tmp_path, 3.0, reference="test_ref", number=number).findings
    assert one.verdict == "inconclusive"
    assert one.reason.startswith(f"a verdict takes 5 processes a side, and here are {number} and {number}")
    assert one.low is not None
    assert one.low.value == pytest.approx(3.0, rel=0.01)


def test_another_machine_is_incomparable_with_what_differs(tmp_path: Path) -> None:
    comparison = sides(tmp_path, 1.0, machine_info=MACHINE | {"python_version": "3.13.1"})
    assert {one.verdict for one in comparison.findings} == {"incomparable"}
    assert comparison.findings[0].reason == "python was 'CPython 3.12.4' and is 'CPython 3.13.1'"
    assert comparison.exit_code(strict=False) == 2


def test_what_only_one_side_has_is_listed_and_nothing_in_common_is_an_error(tmp_path: Path) -> None:
    base = read(write(tmp_path / "a.json", [benchmark("test_a", [1.0]), benchmark("test_old", [1.0])]))
    head = read(write(tmp_path / "b.json", [benchmark("test_a", [1.0]), benchmark("test_new", [1.0])]))
    reasons = {one.case.key: one.reason for one in compare(base, head, 0.025).findings}
    assert reasons["bench.py::test_old"] == "only in the base"
    assert reasons["bench.py::test_new"] == "only in the head"
    other = read(write(tmp_path / "c.json", [benchmark("test_c", [1.0])]))
    with pytest.raises(UserError, match=r"a\.json and c\.json have no benchmark in common"):
        compare(base, other, 0.025)


def test_counts_in_extra_info_are_a_verdict_even_of_one_file(tmp_path: Path) -> None:
    base, head = (
        read(write(tmp_path / f"{size}.json", [benchmark("test_a", [1.0], extra=AXES | {"peak_bytes": size})]))
        for size in (100, 200)
    )
    [one] = compare(base, head, 0.025).findings
    assert (one.verdict, one.time_verdict) == ("regressed", "inconclusive")
    assert [(change.base, change.head) for change in one.changes] == [(100, 200)]


@pytest.mark.parametrize(
    ("base", "head", "fair"), [(TURNS[0], TURNS[1], True), (range(3), range(3, 6), False), ([0, 2], [1, 3], False)]
)
def test_turns_are_read_off_the_times_of_the_files(tmp_path: Path, base: Any, head: Any, fair: bool) -> None:
    taken = [
        read(side(tmp_path / name, {"test_a": [1.0] * len(hours)}, hours=list(hours)))
        for name, hours in (("before", base), ("after", head))
    ]
    assert in_turns(*taken) == fair


def test_processes_that_differ_among_themselves_raise_no_alarm(tmp_path: Path) -> None:
    noise = np.random.default_rng(7).lognormal(0, 0.03, (2, 40, 6))
    base, head = (
        read(side(tmp_path / name, {f"test_{n}": list(times) for n, times in enumerate(arm)}, hours=hours))
        for name, arm, hours in zip(("before", "after"), noise, TURNS, strict=True)
    )
    assert compare(base, head, 0.025).count("regressed") == 0


def test_an_exported_run_is_judged_as_the_run_itself(tmp_path: Path) -> None:
    own, layer = case("vanilla"), reference_case()
    exported, runs = [], []
    for number, slower in enumerate((1.0, 1.2)):
        times = {own: [[2 * slower * one] for one in STEADY], layer: [[one] for one in reversed(STEADY)]}
        path = folder(tmp_path, times)
        frame, info = load(path), read_info(path)
        file = tmp_path / f"{number}.json"
        file.write_text(exporter.render(frame, summarize(frame), info), encoding="utf-8")
        exported.append(read(file))
        runs.append(stored.read(path))
    [one] = compare(exported[0], exported[1], 0.025).findings
    [same] = stored.compare(runs[0], runs[1], {own.key: 0.025}).findings
    assert (one.case, one.verdict, one.replicates) == (same.case, same.verdict, same.replicates)
    assert one.verdict == "regressed"
    for found, expected in ((one.low, same.low), (one.mean, same.mean)):
        assert found is not None
        assert expected is not None
        assert [found.value, found.low, found.high] == pytest.approx([expected.value, expected.low, expected.high])
