"""The verdict of a case from its time, counts and status."""

import math
from dataclasses import replace
from typing import Any, get_args

import pytest

from rnnbench.analysis.comparison import (
    INSTRUCTION_MARGIN,
    WITNESSES,
    Comparison,
    Finding,
    InstructionChange,
    InstructionCounts,
    MemoryMargin,
    OnUndecided,
    Part,
    RuleName,
    ordered,
)
from rnnbench.analysis.decide import RULES, Evidence, Gate, changes, finding_of
from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.verdict import Judged, Verdict
from rnnbench.report.verdicts.reasons import why
from rnnbench.store.parity import AGREES
from rnnbench.store.records import Measurement
from rnnbench.suite.accepted import Acceptance
from tests.doubles import workload as small

CASE = small.case("vanilla")
FINE = Measurement(
    CASE,
    "measured",
    metrics={"parameters": 10, "macs": 100, "peak_bytes": 100_000_000, "operators": 7, "allocations": 3},
)
FAILED = Measurement(CASE, "failed", "parity: off by 1", failure="running")
BROKEN = Measurement(CASE, "failed", "mine.py can't be imported: SyntaxError", failure="loading")
LOST = Measurement(CASE, "failed", "no answer within 120 s", failure="lost")
UNKNOWN = Measurement(CASE, "failed", "in a run of an older rnnbench")
FLAKY = replace(FINE, status="failed", reason="ValueError: now and then", parity=AGREES, failure="running")
OBSERVED = replace(FINE, status="pending", parity=AGREES)
SKIPPED = Measurement(CASE, "skipped", "nothing to hoist")
NOT_REACHED = "not reached within the budget"
PENDING = Measurement(CASE, "pending", NOT_REACHED)


def judged(verdict: Verdict, ratio: float = 1.0) -> Judged:
    return Judged(verdict, Estimate(ratio, ratio - 0.01, ratio + 0.01), Estimate(ratio, ratio - 0.02, ratio + 0.02))


def judge(
    base: Measurement = FINE, head: Measurement = FINE, verdict: Verdict | None = "unchanged", **more: Any
) -> Finding:
    known: dict[str, Any] = (
        {"judged": judged(verdict), "replicates": 9} if verdict else {"open_because": "no time was left"}
    )
    return finding_of(Evidence(case=CASE, margin=0.025, base=base, head=head, **(known | more)))


@pytest.mark.parametrize(
    ("up_to", "change", "time", "reason"),
    [
        (None, {}, "regressed", "it clips"),
        (0.05, {}, "regressed", ""),  # the lower end of the ratio is 1.09
        (0.1, {}, "regressed", "it clips"),
        (0.05, {"macs": 150}, "unchanged", "it clips"),  # no time regressed
        (None, {"status": "failed", "reason": "boom"}, "regressed", ""),
        (None, {}, "undecided", ""),
    ],
)
def test_what_the_team_accepts_is_known_before_the_verdict_and_decides_the_exit_code(
    up_to: float | None, change: dict[str, Any], time: Verdict, reason: str
) -> None:
    metrics = FINE.metrics | {name: value for name, value in change.items() if name == "macs"}
    head = replace(FINE, metrics=metrics, **{name: value for name, value in change.items() if name != "macs"})
    entry = Acceptance("accepted[0]", {"cell": ["vanilla"]}, "cell=vanilla", "1a2b3c4", "it clips", up_to)
    ratio = 1.1 if time == "regressed" else 1.0
    found = judge(head=head, judged=judged(time, ratio), acceptances=(entry,))
    assert found.accepted == reason
    code = Comparison("mine", "base", "head", "paired", (found,)).exit_code(on_undecided="pass")
    assert code == (1 if found.verdict == "regressed" and not reason else 0)


def test_equal_counts_leave_the_verdict_to_the_time() -> None:
    time = judged("undecided")
    assert judge(verdict="undecided") == Finding(
        CASE, "undecided", 0.025, "", time.low, time.mean, 9, (), "undecided", is_counted=True
    )


def test_no_time_is_compared_of_a_gpu_at_unlike_clock_rates_and_counts_decide_all_the_same() -> None:
    unlike = "the clock of the GPU ran at 1,700 MHz in the base and at 1,400 MHz in the head"
    assert judge(verdict="regressed", unlike_clocks=unlike) == Finding(
        CASE, "incomparable", 0.025, unlike, is_counted=True
    )
    more = replace(FINE, metrics=FINE.metrics | {"macs": 150})
    assert judge(head=more, verdict="unchanged", unlike_clocks=unlike).verdict == "regressed"


@pytest.mark.parametrize(
    ("change", "time", "expected"),
    [
        ({"macs": 150}, "unchanged", "regressed"),
        ({"peak_bytes": 101_000_000}, "unchanged", "unchanged"),  # within the margin, but still shown
        ({"peak_bytes": 50_000_000}, "unchanged", "improved"),
        ({"peak_bytes": 50_000_000}, "regressed", "regressed"),
        ({"peak_bytes": 50_000_000, "macs": 150}, "improved", "regressed"),
        ({"operators": 70}, "unchanged", "unchanged"),  # a reason, but no regression by itself
        ({"parameters": 11}, "undecided", "regressed"),
    ],
)
def test_counts_beyond_the_margin_decide_and_every_change_is_told(
    change: dict[str, Any], time: Verdict, expected: Verdict
) -> None:
    result = judge(head=replace(FINE, metrics=FINE.metrics | change), verdict=time)
    assert result.verdict == expected
    assert {changed.metric for changed in result.changes} == set(change)


@pytest.mark.parametrize(
    ("base", "head", "verdict", "reason"),
    [
        (FINE, FAILED, "regressed", "fails now: parity: off by 1"),
        (FAILED, FINE, "improved", "failed in the base: parity: off by 1"),
        (FINE, SKIPPED, "regressed", "is skipped now: nothing to hoist"),
        (FINE, PENDING, "undecided", f"pending in the head: {NOT_REACHED}"),
        # A case that can be measured on neither side is not compared.
        (FAILED, FAILED, None, "failed on both sides: parity: off by 1"),
        (SKIPPED, OBSERVED, None, "skipped in the base: nothing to hoist"),
        (PENDING, SKIPPED, None, f"pending in the base: {NOT_REACHED}; skipped in the head: nothing to hoist"),
        (
            FAILED,
            replace(FAILED, reason="parity: off by 2"),
            None,
            "failed in the base: parity: off by 1; failed in the head: parity: off by 2",
        ),
        # A base that was never measured shows no improvement.
        (BROKEN, FINE, "incomparable", "failed in the base: mine.py can't be imported: SyntaxError"),
        (LOST, FINE, "incomparable", "failed in the base: no answer within 120 s"),
        (UNKNOWN, FINE, "incomparable", "failed in the base: in a run of an older rnnbench"),
        (FLAKY, FINE, "incomparable", "failed in the base: ValueError: now and then"),
    ],
)
def test_a_case_that_does_not_work_on_both_sides_is_judged_by_its_status(
    base: Measurement, head: Measurement, verdict: Verdict | None, reason: str
) -> None:
    assert judge(base, head, None) == Finding(CASE, verdict, 0.025, reason, is_broken=head.status == "failed")


@pytest.mark.parametrize("head", [BROKEN, LOST, UNKNOWN, FLAKY, FAILED])
@pytest.mark.parametrize("base", [FINE, SKIPPED, PENDING, BROKEN, LOST, UNKNOWN])
def test_a_head_that_fails_is_a_regression_unless_the_base_failed_or_was_not_reached(
    base: Measurement, head: Measurement
) -> None:
    """A case that failed on both sides is not compared, whether it could not be imported, was lost or raised."""
    found = judge(base, head, None)
    expected = "regressed" if base in (FINE, SKIPPED) else "incomparable" if base is PENDING else None
    assert found.verdict == expected
    assert found.is_broken


@pytest.mark.parametrize(("broken", "code"), [(3, 2), (2, 0), (1, 0)])
def test_a_suite_of_which_more_than_half_fails_is_never_green(broken: int, code: int) -> None:
    failing = [judge(BROKEN, BROKEN, None) for _ in range(broken)]
    findings = (*failing, *(judge() for _ in range(4 - broken)))
    assert Comparison("quick", "main", "head", "paired", findings).exit_code() == code


@pytest.mark.parametrize(
    ("metrics", "time", "expected", "code"),
    [
        ({"operators": 8}, "unchanged", "regressed", 1),
        ({"allocations": 4}, "undecided", "regressed", 1),
        ({"operators": 8}, None, "regressed", 1),
        ({"operators": 8}, "improved", "improved", 0),
        ({"operators": 6}, "undecided", "undecided", 3),
        ({"peak_bytes": 100_000_001}, "unchanged", "unchanged", 0),
    ],
)
def test_work_that_grows_is_a_regression_if_it_may_not_grow(
    metrics: dict[str, int], time: Verdict | None, expected: Verdict, code: int
) -> None:
    grown = replace(FINE, metrics=FINE.metrics | metrics)
    gated = judge(head=grown, verdict=time, gates=frozenset({"growth"}))
    assert (gated.verdict, Comparison("quick", "main", "head", "paired", (gated,)).exit_code()) == (expected, code)
    assert (gated.witness == "counts") == (code == 1)
    assert judge(head=grown, verdict=time).verdict == (time or "undecided")


def test_memory_has_a_margin_of_its_own_of_a_share_and_a_number_of_bytes() -> None:
    def memory(base: int, head: int, verdict: Verdict | None = "unchanged", *gates: Gate) -> Finding:
        sides = [replace(FINE, metrics=FINE.metrics | {"peak_bytes": size}) for size in (base, head)]
        return judge(sides[0], sides[1], verdict, gates=frozenset(gates))

    assert memory(222_000, 228_000, None).verdict == "undecided"  # 2.7%, of which 6 kB are left to the clock
    assert memory(100_000, 900_000).verdict == "unchanged"  # nine times as much, but less than 1 MB
    assert memory(100_000_000, 109_000_000).verdict == "unchanged"  # 9 MB, but less than a tenth
    assert memory(100_000_000, 111_000_000).verdict == "regressed"
    assert memory(111_000_000, 100_000_000).verdict == "improved"
    faster = memory(100_000_000, 150_000_000, "improved")
    assert (faster.verdict, [change.metric for change in faster.judged_changes]) == ("improved", ["peak_bytes"])
    assert "50.0 MB more peak memory" in why(faster)
    assert memory(100_000_000, 150_000_000, "improved", "growth").verdict == "regressed"
    strict = judge(
        FINE, replace(FINE, metrics=FINE.metrics | {"peak_bytes": 103_000_000}), memory=MemoryMargin(0.02, 0)
    )
    assert strict.verdict == "regressed"


def test_a_case_without_a_single_replicate_is_judged_by_its_counts() -> None:
    result = judge(head=replace(FINE, metrics=FINE.metrics | {"macs": 150}), verdict=None)
    assert (result.verdict, result.time_verdict, [change.ratio for change in result.changes]) == (
        "regressed",
        None,
        [1.5],
    )


def comparison(*verdicts: Verdict | None) -> Comparison:
    low = Estimate(1.0, 0.9, 1.1)
    timed = ("regressed", "improved", "unchanged", "undecided")
    findings = tuple(Finding(CASE, verdict, 0.025, low=low if verdict in timed else None) for verdict in verdicts)
    return Comparison("quick", "main", "head", "paired", findings)


@pytest.mark.parametrize(
    ("verdicts", "on_undecided", "code"),
    [
        (("unchanged", "improved"), "fail", 0),
        (("unchanged", "regressed", "undecided"), "fail", 1),
        (("unchanged", "undecided"), "pass", 0),
        (("unchanged", "undecided"), "fail", 3),
        (("undecided", None), "pass", 0),
        (("undecided",), "fail", 3),
        (("undecided", "undecided", None), None, 3),  # timed, and nothing was decided
        (("undecided", "unchanged"), None, 0),
        (("undecided", "regressed"), None, 1),
        (("undecided", "incomparable"), None, 2),
        (("unchanged", None), None, 0),
        (("incomparable", "incomparable"), "pass", 2),
        ((None, None), "pass", 2),
        (("unchanged", None), "pass", 0),
        (("unchanged", "improved", "incomparable"), "pass", 2),
        (("regressed", "incomparable"), "pass", 1),
        ((), "pass", 2),
    ],
)
def test_the_exit_code_is_the_contract(
    verdicts: tuple[Verdict | None, ...], on_undecided: OnUndecided | None, code: int
) -> None:
    assert comparison(*verdicts).exit_code(on_undecided=on_undecided) == code


def test_too_few_pairs_are_undecided_and_two_stored_runs_without_an_interval_cannot_be_compared() -> None:
    nothing = Finding(CASE, "undecided", 0.025, "no time was left to measure it")
    assert Comparison("quick", "main", "head", "paired", (nothing,)).exit_code() == 3
    assert Comparison("quick", "main", "head", "paired", (nothing,)).exit_code(on_undecided="pass") == 0
    assert Comparison("quick", "main", "head", "stored", (nothing,)).exit_code() == 2
    mended = judge(base=FAILED, verdict=None)
    assert Comparison("quick", "main", "head", "stored", (nothing, mended)).exit_code() == 0
    broken = judge(head=FAILED, verdict=None)
    assert Comparison("quick", "main", "head", "paired", (nothing, broken)).exit_code() == 1


def test_a_ratio_without_an_interval_is_not_kept() -> None:
    unknown = Estimate(1.6, math.nan, math.nan)
    row = judge(verdict=None, judged=Judged("undecided", unknown, unknown))
    assert (row.verdict, row.low, row.mean, row.deciding) == ("undecided", None, None, None)


def test_the_worst_comes_first() -> None:
    slower = judge(head=FINE, verdict="regressed")
    slowest = replace(slower, low=Estimate(2.0, 1.9, 2.1))
    failing = judge(head=FAILED, verdict=None)
    fine, lost = judge(), Finding(CASE, None, 0.0, "only in the base")
    assert ordered([lost, fine, slower, slowest, failing]) == (failing, slowest, slower, fine, lost)
    others = [replace(slower, accepted="it is worth it"), judge(verdict="undecided"), judge(verdict="improved")]
    others += [judge(verdict="incomparable"), lost, fine, slower]
    order = ["regressed", "incomparable", "undecided", "accepted", "improved", "unchanged", None]
    for mixed in (others, others[::-1]):
        assert [found.outcome for found in ordered(mixed)] == order


def test_the_work_of_a_call_that_differs_is_told_apart_from_other_counts() -> None:
    more = replace(FINE, metrics={**FINE.metrics, "operators": 9, "peak_bytes": 2000, "macs": 101})
    assert {change.metric for change in judge(head=more).changes} == {"operators", "peak_bytes", "macs"}
    assert {change.metric for change in judge(head=more).work} == {"operators", "macs"}


@pytest.mark.parametrize(
    ("low", "mean", "is_by_mean"),
    [
        (Estimate(1.01, 0.98, 1.04), Estimate(1.01, 0.9, 1.1), False),
        (Estimate(1.0, 0.99, 1.01), Estimate(1.01, 0.97, 1.05), True),  # the low quantile alone would be unchanged
        (Estimate(1.0, math.nan, math.nan), Estimate(1.01, math.nan, math.nan), False),
    ],
)
def test_an_undecided_case_is_described_by_the_ratio_that_is_open(
    low: Estimate, mean: Estimate, *, is_by_mean: bool
) -> None:
    undecided = Finding(CASE, "undecided", 0.025, low=low, mean=mean)
    assert undecided.is_by_mean == is_by_mean
    assert undecided.deciding == (mean if is_by_mean else low)


def test_counts_decide_where_the_time_has_another_verdict() -> None:
    worse = replace(FINE, metrics=FINE.metrics | {"macs": 150})
    assert judge(head=worse, verdict="unchanged").witness == "counts"
    assert judge(head=worse, verdict="improved").witness == "counts"
    assert judge(head=worse, verdict="regressed").rule == "slower"
    assert judge(verdict="regressed").rule == "slower"


def test_only_counts_that_both_sides_know_and_that_differ_are_changes() -> None:
    base = {"parameters": 10, "macs": 100, "operators": 5}
    head = {"parameters": 10, "macs": 150, "peak_bytes": 5, "operators": 4, "allocations": 3}
    differing = changes(base, head)
    assert [(change.metric, change.base, change.head, change.ratio) for change in differing] == [
        ("macs", 100, 150, 1.5),
        ("operators", 5, 4, 0.8),
    ]


@pytest.mark.parametrize(
    ("verdict", "head", "gate", "expected"),
    [
        ("unchanged", 110, True, "regressed"),
        ("unchanged", 110, False, "unchanged"),
        ("unchanged", 90, True, "unchanged"),
        ("improved", 110, True, "regressed"),
        (None, 110, True, "regressed"),
        (None, 90, True, "undecided"),
    ],
)
def test_more_instructions_are_a_verdict_if_they_are_a_gate(
    verdict: Verdict | None, head: int, gate: bool, expected: Verdict | None
) -> None:
    change = InstructionChange(InstructionCounts("callgrind", (100,)), InstructionCounts("callgrind", (head,)))
    gates: frozenset[Gate] = frozenset({"instructions"}) if gate else frozenset()
    row = judge(verdict=verdict, instructions=change, gates=gates)
    assert (row.verdict, row.instructions, row.margin) == (expected, change, 0.025)
    assert (row.witness == "instructions") == (expected == "regressed")


def test_a_gate_that_counted_nothing_lets_nothing_pass_and_hides_no_regression() -> None:
    gates: frozenset[Gate] = frozenset({"instructions"})
    verdicts = [judge(verdict=time, gates=gates, is_uncounted=True).verdict for time in ("unchanged", "improved", None)]
    assert verdicts == ["incomparable"] * 3
    assert judge(verdict="regressed", gates=gates, is_uncounted=True).verdict == "regressed"
    assert judge(head=FAILED, verdict=None, gates=gates, is_uncounted=True).reason == "fails now: parity: off by 1"


@pytest.mark.parametrize(("is_new", "verdict", "rule"), [(True, None, "new"), (False, "improved", "mended")])
def test_a_case_that_the_head_has_mended_is_improved_and_one_that_the_base_never_had_is_new(
    is_new: bool, verdict: str | None, rule: str
) -> None:
    row = judge(base=BROKEN, verdict=None, mended_file="a.py", is_new=is_new)
    assert (row.verdict, row.rule) == (verdict, rule)
    assert judge(base=FAILED, verdict=None, mended_file="a.py").rule == "status"


def test_every_rule_has_a_name_and_is_asked_in_the_order_of_the_names() -> None:
    assert tuple(RULES) == get_args(RuleName)
    assert set(WITNESSES) < set(RULES)


def instructions(total: int, *more: int, **operators: int) -> InstructionCounts:
    parts: dict[Part, int] = {"kernels": total // 2, "python": total - total // 2}
    return InstructionCounts("callgrind", (total, *more), parts, operators)


def test_a_change_is_the_ratio_of_the_rounds_with_the_fewest() -> None:
    change = InstructionChange(instructions(1000, 1005, 1003), instructions(1010, 1020, 1030))
    assert change.ratio == pytest.approx(1.01)


@pytest.mark.parametrize(
    ("head", "spread", "is_beyond"),
    [
        (100_000, 0, False),
        (100_299, 0, False),
        (100_301, 0, True),
        (99_690, 0, True),
        (100_500, 240, True),
        (100_500, 260, False),  # less than twice the spread
    ],
)
def test_a_change_counts_beyond_the_margin_and_twice_the_spread(head: int, spread: int, is_beyond: bool) -> None:
    change = InstructionChange(instructions(100_000, 100_000 + spread, 100_000 + spread), instructions(head))
    assert pytest.approx(0.003) == INSTRUCTION_MARGIN
    assert change.is_beyond is is_beyond
    assert change.is_more is (is_beyond and head > 100_000)


def test_operators_and_parts_that_changed_are_listed_the_largest_first() -> None:
    base, head = instructions(1000, add=15, mm=3, tanh=2), instructions(1000, add=16, mm=3, mul=5)
    change = InstructionChange(base, replace(head, parts={"kernels": 490, "python": 540}))
    assert change.operators() == [
        ("mul", 0, 5),
        ("tanh", 2, 0),
        ("add", 15, 16),
    ]
    assert change.parts()["python"] == pytest.approx(0.04)


def test_a_number_alone_has_no_parts() -> None:
    change = InstructionChange(InstructionCounts("perf_event", (100,)), InstructionCounts("perf_event", (110,)))
    assert change.is_more
    assert change.parts() == {}


def test_counts_of_processes_are_pooled() -> None:
    one = InstructionCounts("callgrind", (20, 12), {"python": 4}, between=1)
    other = InstructionCounts("callgrind", (15, 17, 16), {"python": 1})
    assert one.pooled(other) == replace(one, rounds=(20, 12, 15, 17, 16), between=3)
    assert other.pooled(one) == replace(one, rounds=(15, 17, 16, 20, 12), between=3)
    assert (one.spread, other.spread, one.pooled(other).spread) == (4, 1, 4)
