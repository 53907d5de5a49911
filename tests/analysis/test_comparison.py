"""One verdict from time, counts and status."""

from dataclasses import replace
from typing import Any

import pytest

from rnnbench.analysis.comparison import Comparison, Finding, finding, one_sided, ordered
from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.verdict import Judged, Verdict
from rnnbench.store.records import Measurement
from tests import workload as small

CASE = small.case("vanilla")
FINE = Measurement(
    CASE,
    "measured",
    metrics={"parameters": 10, "macs": 100, "peak_bytes": 1000, "operators": 7, "allocations": 3},
)
FAILED = replace(FINE, status="failed", reason="parity: off by 1")


def judged(verdict: Verdict, ratio: float = 1.0) -> Judged:
    return Judged(verdict, Estimate(ratio, ratio - 0.01, ratio + 0.01), Estimate(ratio, ratio - 0.02, ratio + 0.02))


def found(base: Measurement = FINE, head: Measurement = FINE, verdict: Verdict | None = "unchanged") -> Finding:
    return finding(base, head, judged(verdict) if verdict else None, 0.025, 9, "no time was left")


def test_equal_counts_leave_the_verdict_to_the_time() -> None:
    one = found(verdict="inconclusive")
    assert (one.verdict, one.replicates, one.changes) == ("inconclusive", 9, ())


@pytest.mark.parametrize(
    ("change", "time", "expected"),
    [
        ({"macs": 150}, "unchanged", "regressed"),
        ({"peak_bytes": 1010}, "unchanged", "unchanged"),  # within the margin, and shown all the same
        ({"peak_bytes": 500}, "unchanged", "improved"),
        ({"peak_bytes": 500}, "regressed", "regressed"),
        ({"peak_bytes": 500, "macs": 150}, "improved", "regressed"),
        ({"operators": 70}, "unchanged", "unchanged"),  # a reason, and no regression by itself
        ({"parameters": 11}, "inconclusive", "regressed"),
    ],
)
def test_counts_beyond_the_margin_decide_and_every_change_is_told(
    change: dict[str, Any], time: Verdict, expected: Verdict
) -> None:
    one = found(head=replace(FINE, metrics=FINE.metrics | change), verdict=time)
    assert one.verdict == expected
    assert {each.metric.name for each in one.changes} == set(change)


def test_a_case_that_newly_fails_is_a_regression_and_one_that_is_mended_an_improvement() -> None:
    assert found(head=FAILED, verdict=None).verdict == "regressed"
    assert found(head=FAILED, verdict=None).reason == "fails now: parity: off by 1"
    assert found(base=FAILED, verdict=None).verdict == "improved"


def test_a_case_that_can_be_measured_on_neither_side_is_not_compared() -> None:
    one = found(FAILED, FAILED, None)
    assert (one.verdict, one.reason) == (None, "failed on both sides: parity: off by 1")
    skipped = replace(FINE, status="skipped", reason="nothing to hoist")
    one = found(FINE, skipped, None)
    assert (one.verdict, one.reason) == (None, "skipped in the head: nothing to hoist")


def test_a_case_without_a_single_replicate_is_undecided() -> None:
    assert (found(verdict=None).verdict, found(verdict=None).reason) == ("inconclusive", "no time was left")


def comparison(*verdicts: Verdict | None) -> Comparison:
    findings = tuple(Finding(CASE, verdict, 0.025) for verdict in verdicts)
    return Comparison("quick", "main", "head", "paired", findings)


@pytest.mark.parametrize(
    ("verdicts", "strict", "code"),
    [
        (("unchanged", "improved"), True, 0),
        (("unchanged", "regressed", "inconclusive"), True, 1),
        (("unchanged", "inconclusive"), False, 0),
        (("unchanged", "inconclusive"), True, 3),
        (("incomparable", "incomparable"), False, 2),
        ((None, None), False, 2),
        (("unchanged", None), False, 0),
    ],
)
def test_the_exit_code_is_the_contract(verdicts: tuple[Verdict | None, ...], strict: bool, code: int) -> None:
    assert comparison(*verdicts).exit_code(strict=strict) == code


def test_the_worst_comes_first() -> None:
    slower = found(head=FINE, verdict="regressed")
    slowest = replace(slower, low=Estimate(2.0, 1.9, 2.1))
    failing = found(head=FAILED, verdict=None)
    fine, lost = found(), one_sided([CASE], "in the base")[0]
    assert ordered([lost, fine, slower, slowest, failing]) == (failing, slowest, slower, fine, lost)
