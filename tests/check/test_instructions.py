"""Instructions as a second witness of a check, on counts that the test sets."""

from collections.abc import Callable
from typing import Any

import pytest

from rnnbench.analysis.comparison import Comparison, Finding
from rnnbench.analysis.instructions import InstructionCounts
from rnnbench.check import instructions
from rnnbench.check.counting import Counted
from rnnbench.check.instructions import AVX2, added, chosen_counter, count
from rnnbench.errors import UserError
from rnnbench.store.readings import Unavailable
from rnnbench.store.records import Group
from tests.doubles import workload as small

CASES = [small.case("gru", batch_size=size) for size in (1, 2)]

GROUPS = [Group(case.workload, (case,)) for case in CASES]


class Runner:
    """Counts what the test sets."""

    replicates = 4
    seconds = 10.0

    def __init__(self, base: list[Counted], head: list[Counted]) -> None:
        self._counted = {
            side: {case.key: each for case, each in zip(CASES, counts, strict=True)}
            for side, counts in (("base", base), ("head", head))
        }
        self.again: dict[str, dict[str, Counted]] = {}  # what later processes count, if not the same
        self.asked: list[list[str]] = []

    def count(self, groups: Any, counter: str, on_done: Callable[[int, int], None]) -> dict[str, dict[str, Counted]]:
        self.asked.append([case.key for group in groups for case in group.cases])
        self.seconds += 3.0
        on_done(1, 4)
        counted = self._counted
        self._counted = self.again or counted
        return {side: {key: counted[side][key] for key in self.asked[-1]} for side in counted}


def counts(total: int) -> InstructionCounts:
    return InstructionCounts("callgrind", (total,))


def checked(mode: Any, base: list[Counted], head: list[Counted]) -> Comparison:
    """Two unchanged cases with what was counted."""
    return counted(mode, Runner(base, head))


def counted(mode: Any, runner: Any) -> Comparison:
    counter, notes = chosen_counter(mode)
    assert counter is not None
    changes = count(runner, GROUPS, counter, lambda step: None)
    findings = tuple(Finding(case, "unchanged", 0.025, time_verdict="unchanged") for case in CASES)
    return added(
        Comparison("mine", "main", "head", "paired", findings, ("a note",)), changes, notes, is_gate=mode == "gate"
    )


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


@pytest.mark.parametrize("head", [counts(1000), "it was killed"])
def test_a_case_that_was_not_counted_is_told_once_for_each_reason(head: Counted) -> None:
    found = checked("show", ["it was killed", "it was killed"], [head, head])
    assert all(finding.instructions is None for finding in found.findings)
    told = f"instructions of 2 cases were not counted, the first is {CASES[0].key}: it was killed"
    assert found.notes[2:] == (told,)


def test_a_gate_that_counted_nothing_does_not_pass() -> None:
    """Workers under callgrind were forked once: nothing was counted, a note said so, and the exit code was 0."""
    lost: list[Counted] = ["it was killed", "it was killed"]
    shown, gated = checked("show", lost, lost), checked("gate", lost, lost)
    assert (shown.exit_code(), gated.exit_code()) == (0, 2)
    assert {finding.verdict for finding in gated.findings} == {"incomparable"}
    assert checked("gate", ["it was killed", counts(1000)], [counts(1000), counts(1000)]).exit_code() == 0


def test_without_a_counter_the_check_goes_on_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructions, "choose_counter", refuse)
    assert chosen_counter("show") == (None, ["instructions can't be counted here: valgrind can't be found"])
    with pytest.raises(UserError, match="valgrind can't be found, so they can't be a gate"):
        chosen_counter("gate")


def test_a_change_that_is_not_larger_than_that_of_equal_code_in_other_processes_is_chance() -> None:
    runner = Runner([counts(1000), counts(1000)], [counts(1000), counts(1010)])
    runner.again = {"base": {CASES[1].key: counts(1000)}, "head": {CASES[1].key: counts(1000)}}
    found = next(each for each in counted("gate", runner).findings if each.case == CASES[1])
    assert runner.asked == [[case.key for case in CASES], [CASES[1].key]]  # only what seems to have changed
    assert found.verdict == "unchanged"
    assert found.instructions is not None
    assert (found.instructions.ratio, found.instructions.spread) == (1.0, 0.01)
    slower = Runner([counts(1000), counts(1000)], [counts(1000), counts(1010)])
    assert counted("gate", slower).exit_code() == 1
    assert len(slower.asked) == 1 + instructions.CONFIRMATIONS
