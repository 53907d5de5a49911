from pathlib import Path

import pytest

from rnnbench.report.verdicts import over_time
from tests.doubles import checks
from tests.doubles import workload as small

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
    assert over_time.frame([]).empty


def test_a_change_is_that_of_the_ratio_which_describes_the_time(tmp_path: Path) -> None:
    by_mean = finding("regressed", near(1.001, 0.002), case=LOOP, mean=estimate(1.2, 1.1, 1.3))
    folder = checks.write(tmp_path, comparison(by_mean, finding("unchanged", 1.004)), {LOOP: 1.0})
    frame = over_time.frame(checks.read_all([folder]))
    slower, same = (frame[frame["verdict"] == verdict] for verdict in ("regressed", "unchanged"))
    assert slower[["change", "change_low", "change_high"]].to_numpy().tolist() == [pytest.approx([1.2, 1.1, 1.3])]
    assert same["change"].tolist() == [pytest.approx(1.004)]
    assert set(frame["check"]) == {0}


def test_cases_of_different_checks_that_each_call_alike_are_told_apart(tmp_path: Path) -> None:
    cases = [small.case("vanilla", batch_size=size) for size in (1, 32)]
    same = [comparison(finding("unchanged", 1.0, case=case)) for case in cases]
    made = [
        checks.write(tmp_path / str(case.workload.batch_size), of, {case: 1.0})
        for of, case in zip(same, cases, strict=True)
    ]
    found = checks.read_all(made)
    assert {name for check in found for name in check.verdicts.findings["name"]} == {"vanilla loop inference"}
    names = [f"vanilla loop inference, batch {case.workload.batch_size}" for case in cases]
    assert over_time.frame(found)["name"].tolist() == names
