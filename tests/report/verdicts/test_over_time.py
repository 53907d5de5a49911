"""What checks over time say, show and write."""

from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.report.verdicts.over_time import DatedCheck, frame, section
from tests.doubles import checks
from tests.doubles import workload as small
from tests.doubles.pages import shown

from .samples import comparison, estimate, finding, near

LOOP = small.case("vanilla")


def test_checks_come_in_the_order_in_which_they_began_and_those_without_verdicts_are_left_out(tmp_path: Path) -> None:
    same = comparison(finding("unchanged", 1.0, case=LOOP))
    made = [checks.write(tmp_path / name, same, {LOOP: 1.0}) for name in "ab"]
    interrupted = checks.write(tmp_path / "c", None, {LOOP: 1.0})
    found = checks.read_all([*made[::-1], interrupted])
    assert [check.verdicts.suite for check in found] == ["quick", "quick"]
    assert found[0].head.started <= found[1].head.started
    assert checks.read_all([]) == []
    assert frame([]).empty


def test_a_change_is_that_of_the_ratio_which_describes_the_time(tmp_path: Path) -> None:
    by_mean = finding("regressed", near(1.001, 0.002), case=LOOP, mean=estimate(1.2, 1.1, 1.3))
    folder = checks.write(tmp_path, comparison(by_mean, finding("unchanged", 1.004)), {LOOP: 1.0})
    found = frame(checks.read_all([folder]))
    slower, same = (found[found["verdict"] == verdict] for verdict in ("regressed", "unchanged"))
    assert slower[["change", "change_low", "change_high"]].to_numpy().tolist() == [pytest.approx([1.2, 1.1, 1.3])]
    assert same["change"].tolist() == [pytest.approx(1.004)]
    assert set(found["check"]) == {0}


def test_cases_of_different_checks_that_each_call_alike_are_told_apart(tmp_path: Path) -> None:
    cases = [small.case("vanilla", batch_size=size) for size in (1, 32)]
    same = [comparison(finding("unchanged", 1.0, case=case)) for case in cases]
    made = [
        checks.write(tmp_path / str(case.workload.batch_size), of, {case: 1.0})
        for of, case in zip(same, cases, strict=True)
    ]
    found = checks.read_all(made)
    assert {name for check in found for name in check.verdicts.frame["name"]} == {"vanilla loop inference"}
    names = [f"vanilla loop inference, batch {case.workload.batch_size}" for case in cases]
    assert frame(found)["name"].tolist() == names


CASES = [small.case("gru", batch_size=size) for size in range(1, 16)]


def of(tmp_path: Path, *changes: dict[int, float]) -> list[DatedCheck]:
    """A check for each entry, which says by what factor some cases, by their index, became slower."""
    folders = []
    for number, slower in enumerate(changes):
        ratios = [slower.get(index, 1.001) for index in range(len(CASES))]
        verdicts = ["regressed" if ratio > 1.02 else "improved" if ratio < 0.98 else "unchanged" for ratio in ratios]
        found = [
            finding(verdict, ratio, case=case)  # type: ignore[arg-type]
            for verdict, ratio, case in zip(verdicts, ratios, CASES, strict=True)
        ]
        folders.append(checks.write(tmp_path / str(number), comparison(*found), {CASES[0]: 1.0}))
    return checks.read_all(folders)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param([{3: 1.1, 4: 1.3}, {3: 1.2, 5: 0.7}, {}], id="some changed"),
        pytest.param([{}, {7: 1.01}], id="none changed"),
    ],
)
def test_the_words_count_cases_and_name_the_largest_changes(
    tmp_path: Path, changes: list[dict[int, float]], snapshot: SnapshotAssertion
) -> None:
    assert shown(section(of(tmp_path, *changes))) == snapshot
