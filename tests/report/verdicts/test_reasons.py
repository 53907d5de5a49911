"""Why a case has its verdict, in a sentence."""

from dataclasses import replace

import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis.comparison import Change, Finding, InstructionChange, InstructionCounts, Part
from rnnbench.analysis.estimate import Estimate
from rnnbench.report.verdicts.reasons import MAX_LENGTH, differences, instruction_change, why

from .samples import (
    FASTER,
    LARGER,
    LONE,
    NASTY,
    OPEN,
    SAME,
    SLOWER,
    SOME_CALLS,
    every_verdict,
    finding,
    near,
)

MORE_OPERATORS = Change("operators", 412, 508)


SAMPLES = {
    "slower": SLOWER,
    "faster": FASTER,
    "larger": LARGER,
    "some calls are slower": SOME_CALLS,
    "undecided": OPEN,
    "one replicate": LONE,
    "unchanged": SAME,
    "slower without a cause": finding("regressed", 1.05),
    "faster without a cause": finding("improved", 0.9),
    "faster despite more operators": finding("improved", 0.9, changes=(MORE_OPERATORS,)),
    "more operators, fewer allocations": finding(
        "regressed", 1.05, changes=(MORE_OPERATORS, Change("allocations", 100, 99))
    ),
    "slower in the mean, faster in the typical call": finding(
        "regressed", near(0.997, 0.004), "mean", mean=near(1.051)
    ),
    "the interval of the low quantile holds 1": finding(
        "regressed", Estimate(2.07, 0.81, 5.27), "mean", mean=Estimate(2.5, 1.9, 3.3)
    ),
    "larger and slower": finding("regressed", 1.08, changes=(*LARGER.changes, MORE_OPERATORS)),
    "larger with more operators": finding("regressed", 1.0, None, changes=(*LARGER.changes, MORE_OPERATORS)),
    "larger and not timed": finding("regressed", reason="no time was left to measure it", changes=LARGER.changes),
    "unchanged with other counts": finding(
        "unchanged", 1.0, changes=(Change("peak_bytes", 1000, 1004), MORE_OPERATORS)
    ),
    "undecided in the mean": finding("undecided", 1.0, mean=Estimate(1.01, 0.97, 1.05)),
    "not significant among all cases": finding("undecided", near(1.04)),
    "no interval": finding("undecided"),
    "undecided with equal counts": finding("undecided", Estimate(1.013, 0.988, 1.039), is_counted=True),
    "undecided with other counts": finding(
        "undecided", is_counted=True, changes=(Change("operators", 227, 243), Change("allocations", 147, 99))
    ),
}


def test_what_is_known_is_said(snapshot: SnapshotAssertion) -> None:
    assert {kind: why(sample) for kind, sample in SAMPLES.items()} == snapshot


def test_a_sentence_is_one_printable_line_of_bearable_length() -> None:
    long = finding("regressed", reason=f"fails now: {NASTY * 100}")
    for sample in [*every_verdict().findings, long]:
        assert why(sample).isprintable()
        assert len(why(sample)) <= MAX_LENGTH
    assert why(long).endswith("…")


def change(more: Part | None, by: int = 70, adds: int = 15) -> InstructionChange:
    parts: dict[Part, int] = {"kernels": 5000, "dispatch": 3000, "python": 2000}
    base = InstructionCounts("callgrind", (10_000, 10_004, 10_004), parts, {"aten::add": 15})
    grown = parts if more is None else parts | {more: parts[more] + by}
    total = sum(grown.values())
    return InstructionChange(base, InstructionCounts("callgrind", (total,), grown, {"aten::add": adds}))


def test_a_change_says_how_much_and_where(snapshot: SnapshotAssertion) -> None:
    samples = {
        "an operator is called more often": change("dispatch", adds=16),
        "dispatch": change("dispatch"),
        "kernels": change("kernels"),
        "Python": change("python"),
        "fewer in Python": change("python", -70),
        "an operator is called less often": change("dispatch", -70, adds=14),
        "without functions": InstructionChange(
            InstructionCounts("perf_event", (1000,)), InstructionCounts("perf_event", (1010,))
        ),
    }
    assert {kind: instruction_change(each) for kind, each in samples.items()} == snapshot


def with_change(found: Finding, more: Part | None, *, gate: bool = False, by: int = 70) -> Finding:
    changed = replace(found, instructions=change(more, by))
    return replace(changed, verdict="regressed", rule="more instructions") if gate else changed


def test_the_sentence_says_whether_the_time_agrees(snapshot: SnapshotAssertion) -> None:
    samples = {
        "unchanged": with_change(SAME, "python"),
        "undecided": with_change(OPEN, "python"),
        "slower": with_change(SLOWER, "python"),
        "slower with as many instructions": with_change(SLOWER, None),
        "unchanged with as many instructions": with_change(SAME, None),
        "slower with a cause": with_change(finding("regressed", 1.051), "python"),
        "a gate": with_change(SAME, "python", gate=True),
        "a gate, and the time is undecided": with_change(OPEN, "python", gate=True),
    }
    assert {kind: why(each) for kind, each in samples.items()} == snapshot


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (("operators", 412, 508), "96 more operator calls (412 -> 508, +23%)"),
        (("allocations", 100, 99), "1 fewer allocation (100 -> 99, -1.0%)"),
        (("macs", 0, 20), "20 more MACs (0 -> 20)"),
        (("peak_bytes", 1_900_000, 1_200_000), "700 kB less peak memory (1.90 MB -> 1.20 MB, -37%)"),
    ],
)
def test_counts_are_said_from_base_to_head(change: tuple[str, int, int], text: str) -> None:
    assert differences([Change(*change)]) == text
