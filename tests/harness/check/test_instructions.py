"""Instructions as a second witness of a check, on counts that the test sets."""

from collections.abc import Callable
from typing import Any

import pytest

from rnnbench.analysis.comparison import Comparison, Finding
from rnnbench.errors import UserError
from rnnbench.harness.check import instructions
from rnnbench.harness.check.instructions import AVX2, InstructionCheck
from rnnbench.harness.instructions.counting import Counted
from rnnbench.harness.turns.progress import Progress
from rnnbench.store.instructions import InstructionCounts
from rnnbench.store.readings import Unavailable
from tests.doubles import workload as small

CASES = [small.case("gru", batch_size=size) for size in (1, 2)]


class Runner:
    """Counts what the test sets."""

    replicates = 4

    def __init__(self, base: list[Counted], head: list[Counted]) -> None:
        self._counted = {
            side: {case.key: each for case, each in zip(CASES, counts, strict=True)}
            for side, counts in (("base", base), ("head", head))
        }

    def count(self, groups: Any, counter: str, on_done: Callable[[int, int], None]) -> dict[str, dict[str, Counted]]:
        on_done(1, 4)
        return self._counted


def counts(total: int) -> InstructionCounts:
    return InstructionCounts("callgrind", (total,))


def checked(mode: Any, base: list[Counted], head: list[Counted]) -> Comparison:
    """Two unchanged cases with what was counted."""
    check = InstructionCheck.of(mode)
    runner: Any = Runner(base, head)
    check.count(runner, [], lambda step: None)
    findings = tuple(Finding(case, "unchanged", 0.025, time_verdict="unchanged") for case in CASES)
    return check.added(Comparison("mine", "main", "head", "paired", findings, ("a note",)))


@pytest.fixture(autouse=True)
def callgrind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructions, "choose_counter", lambda: "callgrind")


def refuse() -> str:
    raise Unavailable("valgrind can't be found")


def test_a_change_is_shown_and_is_a_verdict_only_as_a_gate() -> None:
    base: list[Counted] = [counts(1000), counts(1000)]
    head: list[Counted] = [counts(1000), counts(1010)]
    shown, gated = checked("show", base, head), checked("gate", base, head)
    assert [finding.verdict for finding in shown.findings] == ["unchanged", "unchanged"]
    assert [finding.verdict for finding in gated.findings] == ["regressed", "unchanged"]
    assert gated.findings[0].case == CASES[1]
    assert all(finding.instructions is not None for finding in shown.findings)
    assert shown.notes == ("a note", AVX2)


def test_a_case_that_was_not_counted_is_told_once_for_each_reason() -> None:
    found = checked("show", ["it was killed", "it was killed"], [counts(1000), counts(1000)])
    assert all(finding.instructions is None for finding in found.findings)
    assert found.notes[2:] == (
        f"instructions of 2 cases were not counted, the first is {CASES[0].key}: base: it was killed",
    )


def test_a_reason_that_both_sides_share_is_told_once() -> None:
    both: list[Counted] = ["it was killed", counts(1000)]
    assert checked("show", both, both).notes[2:] == (
        f"instructions of 1 case were not counted, the first is {CASES[0].key}: it was killed",
    )


def test_without_a_counter_the_check_goes_on_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructions, "choose_counter", refuse)
    found = InstructionCheck.of("show")
    assert found.why_not == "instructions can't be counted here: valgrind can't be found"
    comparison = found.added(Comparison("mine", "main", "head", "paired", (), ()))
    assert comparison.notes == (found.why_not,)
    with pytest.raises(UserError, match="valgrind can't be found, so they can't be a gate"):
        InstructionCheck.of("gate")


def test_nothing_is_counted_unless_it_is_asked_for() -> None:
    check = InstructionCheck.of(None)
    never: Any = None
    check.count(never, [], lambda step: None)
    comparison = Comparison("mine", "main", "head", "paired", ())
    assert check.added(comparison) is comparison


def test_progress_says_that_instructions_are_counted() -> None:
    steps: list[Progress] = []
    runner: Any = Runner([counts(1), counts(1)], [counts(1), counts(1)])
    InstructionCheck.of("show").count(runner, [], steps.append)
    assert steps == [Progress(4, 1, 4, None, is_counting=True)]
