"""A whole check on a fake runner: when it looks, when it stops, and what it leaves behind."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnbench import suites
from rnnbench.analysis.comparison import Comparison
from rnnbench.analysis.verdict import Trial, Verdict
from rnnbench.errors import Interrupted, UserError
from rnnbench.harness.check.affected import SameCode
from rnnbench.harness.check.check import check, measure
from rnnbench.harness.check.looks import MIN_PAIRS, MIN_PAIRS_FOR_UNCHANGED
from rnnbench.harness.check.observed_before import ObservedBefore
from rnnbench.harness.check.paired import Ratios
from rnnbench.harness.check.selection import select, strictest
from rnnbench.harness.check.sides import Side
from rnnbench.store.folder import read_info
from rnnbench.store.records import Case, Group, Measurement
from tests.doubles import workload as small

SUITE = """
name = "mine"
[check]
budget_seconds = {budget}
margins = [{{only = "batch_size=3", margin = 0.20}}]
[[sweep]]
cell = ["vanilla", "combined"]
batch_size = {sizes}
"""
PAIR_SECONDS, CASE_SECONDS = 1.0, 0.5


class FakeRunner:
    """Returns the log-ratios that the test sets, at a known cost."""

    def __init__(self, ratio: Callable[[Case], float], noise: float, fault: BaseException | None) -> None:
        self.log_ratios: dict[str, Ratios] = {}
        self.replicates, self.seconds, self.notes = 0, 0.0, ["a note"]
        self.start_seconds = PAIR_SECONDS
        self.visited: list[int] = []
        self.fixed_addresses = True
        self.closed = False
        self.broken: dict[tuple[str, str], str] = {}
        self.same = SameCode()
        self.guarded: bool | None = None  # whether all cases are the same, and need a guard
        self.modules: dict[str, dict[str, str]] = {"base": {}, "head": {}}
        self._ratio, self._noise, self._fault = ratio, noise, fault
        self._rng = np.random.default_rng(1)

    def __call__(self, *_: Any) -> Any:
        """Stands in for the classes of the pairs and of the runner."""
        return self

    def start(self) -> dict[str, dict[str, Any]]:
        return {side: {"torch": "1", "fixed_addresses": self.fixed_addresses} for side in ("base", "head")}

    def end(self) -> None:
        self.closed = True

    def observe(self, groups: Sequence[Group], on_done: Callable[[int, int], None], before: ObservedBefore) -> None:
        on_done(0, len(groups))

    def find_same(self, cases: Sequence[Case], on_done: Callable[[int, int], None]) -> None:
        on_done(0, len(cases))
        if self.guarded is not None:
            self.same = SameCode(frozenset(case.key for case in cases), self.guarded)

    def imported(self, side: str) -> dict[str, str]:
        return self.modules[side]

    def given_up(self, case: Case) -> str:
        return ""

    def expected_seconds(self, groups: Sequence[Group]) -> float:
        return PAIR_SECONDS + CASE_SECONDS * sum(len(group.cases) for group in groups)

    def replicate(
        self, groups: Sequence[Group], left: float, on_visit: Callable[[int], None] = lambda done: None
    ) -> None:
        on_visit(0)
        if self._fault and self.replicates == 2:
            raise self._fault
        cases = [case for group in groups for case in group.cases]
        for case in cases:
            ratios = self.log_ratios.setdefault(case.key, Ratios())
            log = math.log(self._ratio(case)) + self._noise * self._rng.standard_normal()
            ratios.low.append(log)
            ratios.mean.append(log)
        self.visited.append(len(cases))
        self.replicates += 1
        self.seconds += self.expected_seconds(groups)

    def recorded_notes(self) -> list[str]:
        return []

    def failed(self, case: Case) -> bool:
        return any((side, case.key) in self.broken for side in ("base", "head"))

    def measurement(self, side: str, case: Case) -> Measurement:
        reason = self.broken.get((side, case.key), "")
        return Measurement(case, "failed", reason, failure="loading") if reason else Measurement(case, "measured")


def side(folder: Path, name: str, sizes: Sequence[int] = (1, 2, 3), budget: float = 60.0) -> Side:
    file = folder / f"{name}.toml"
    file.write_text(SUITE.format(sizes=list(sizes), budget=budget))
    return Side(name, f"the {name}", suites.read(str(file)))


def run(
    folder: Path,
    ratio: Callable[[Case], float] = lambda case: 1.0,
    *,
    noise: float = 0.004,
    fault: BaseException | None = None,
    budget: float = 60.0,
    broken: dict[tuple[str, str], str] | None = None,
    warnings: list[str] | None = None,
    guarded: bool | None = None,
) -> tuple[Path, Comparison, FakeRunner]:
    base, head = side(folder, "base", budget=budget), side(folder, "head", budget=budget)
    runner = FakeRunner(ratio, noise, fault)
    runner.broken, runner.guarded = broken or {}, guarded
    chosen = select(base, head, {}, None, any_number=False)
    result = check(
        base,
        head,
        chosen,
        out=folder / "out",
        command="rnnbench check",
        on_progress=lambda step: None,
        on_warning=(warnings if warnings is not None else []).append,
        start_pairs=runner,
        start_runner=runner,
    )
    return *result, runner


def verdicts(comparison: Comparison) -> dict[str, Any]:
    return {"{cell} {batch_size}".format(**finding.case.axes()): finding.verdict for finding in comparison.findings}


def test_clear_cases_end_the_check_early(tmp_path: Path) -> None:
    _, comparison, runner = run(tmp_path)
    assert set(verdicts(comparison).values()) == {"unchanged"}
    assert runner.replicates == MIN_PAIRS_FOR_UNCHANGED
    assert runner.seconds < 0.7 * 60
    assert runner.closed


def test_one_slow_case_is_found_and_the_others_are_not_blamed(tmp_path: Path) -> None:
    _, comparison, _ = run(
        tmp_path, lambda case: 1.06 if case.cell == "vanilla" and case.workload.batch_size == 2 else 1
    )
    assert comparison.count("regressed") == 1
    worst = comparison.findings[0]
    axes = worst.case.axes()
    assert (axes["cell"], axes["batch_size"], worst.verdict) == ("vanilla", 2, "regressed")
    assert worst.low is not None
    assert worst.low.lower < 1.06 < worst.low.upper
    assert comparison.exit_code() == 1


def test_a_case_has_the_margin_that_the_suite_gives_it(tmp_path: Path) -> None:
    _, comparison, _ = run(tmp_path, lambda case: 1.08)
    expected = {1: "regressed", 2: "regressed", 3: "unchanged"}
    assert all(verdict == expected[int(name[-1])] for name, verdict in verdicts(comparison).items())


def test_undecided_cases_get_the_rest_of_the_budget_to_themselves(tmp_path: Path) -> None:
    _, comparison, runner = run(tmp_path, lambda case: 1.025 if case.workload.batch_size == 1 else 1.0)
    assert runner.visited[0] == 6
    assert runner.visited[-1] == 2
    assert {name: verdict for name, verdict in verdicts(comparison).items() if verdict == "undecided"}.keys() == {
        "vanilla 1",
        "combined 1",
    }
    assert 60 - runner.expected_seconds([]) - 2 * CASE_SECONDS < runner.seconds <= 60


@pytest.mark.parametrize("budget", [1.0, 9.0, 20.0, 120.0])
def test_the_budget_is_kept_but_for_the_first_pair(tmp_path: Path, budget: float) -> None:
    _, comparison, runner = run(tmp_path, noise=0.1, budget=budget)
    assert runner.replicates >= 1
    assert runner.seconds <= max(budget, PAIR_SECONDS + 6 * CASE_SECONDS)
    assert not set(verdicts(comparison).values()) & {"regressed", "improved"}


def test_nothing_is_judged_before_the_sixth_pair_however_clear_it_is(tmp_path: Path) -> None:
    _, comparison, runner = run(tmp_path, lambda case: 2.0, budget=11.0)
    assert runner.replicates < MIN_PAIRS
    assert set(verdicts(comparison).values()) == {"undecided"}
    assert comparison.exit_code() == 0
    assert comparison.exit_code(on_undecided="fail") == 3
    _, comparison, runner = run(tmp_path, lambda case: 2.0)
    assert runner.replicates == MIN_PAIRS
    assert set(verdicts(comparison).values()) == {"regressed"}


def test_a_case_that_fails_in_the_head_is_a_regression_and_is_not_measured_again(tmp_path: Path) -> None:
    key = select(side(tmp_path, "base"), side(tmp_path, "head"), {}, None, any_number=False).groups[0].cases[0].key
    _, comparison, runner = run(tmp_path, broken={("head", key): "parity: off"})
    assert comparison.findings[0].verdict == "regressed"
    assert comparison.findings[0].reason == "fails now: parity: off"
    assert runner.visited[1] == 5


def test_both_sides_are_in_the_folder_and_say_how_they_ended(tmp_path: Path) -> None:
    folder, comparison, _ = run(tmp_path)
    for name in ("base", "head"):
        info = read_info(folder / name)
        assert (info.status, info.suite, info.command) == ("finished", "mine", "rnnbench check")
        assert info.notes == [f"{name} of a check: the {name}"]
        assert info.environment["worker"]["torch"] == "1"
    assert (comparison.base, comparison.head, comparison.notes) == ("the base", "the head", ("a note",))


def test_an_interrupted_check_gives_no_verdict_and_says_where_its_data_are(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="no verdict; what was measured is in"):
        run(tmp_path, fault=KeyboardInterrupt())
    (folder,) = (tmp_path / "out").iterdir()
    assert {read_info(folder / name).status for name in ("base", "head")} == {"interrupted"}


def test_a_full_disk_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't be written: No space left on device; no verdict"):
        run(tmp_path, fault=OSError(28, "No space left on device"))


def test_cases_of_one_side_are_listed_and_not_compared(tmp_path: Path) -> None:
    base, head = side(tmp_path, "base", sizes=(1, 2)), side(tmp_path, "head", sizes=(2, 3))
    selected = select(base, head, {}, None, any_number=False)
    assert {case.workload.batch_size for group in selected.groups for case in group.cases} == {2}
    assert {case.workload.batch_size for case in selected.only_base} == {1}
    assert {case.workload.batch_size for case in selected.only_head} == {3}


def test_sides_without_a_common_case_are_refused(tmp_path: Path) -> None:
    base, head = side(tmp_path, "base", sizes=(1,)), side(tmp_path, "head", sizes=(2,))
    with pytest.raises(UserError, match=r"base \(the base\) and head \(the head\) have no case in common"):
        select(base, head, {}, None, any_number=False)


def test_a_value_that_only_the_heads_suite_has_may_be_asked_for_and_a_typo_may_not(tmp_path: Path) -> None:
    base, head = side(tmp_path, "base", sizes=(1, 2)), side(tmp_path, "head", sizes=(2, 3))
    selected = select(base, head, {"batch_size": ["2", "3"]}, None, any_number=False)
    assert {case.workload.batch_size for group in selected.groups for case in group.cases} == {2}
    assert {case.workload.batch_size for case in selected.only_head} == {3}
    for values in (["2", "4"], ["1", "2"]):
        with pytest.raises(UserError, match=r"head.*batch_size=\d: the suite has batch_size=2,3"):
            select(base, head, {"batch_size": values}, None, any_number=False)


def test_torch_nn_itself_is_compared_only_where_interpreters_differ(tmp_path: Path) -> None:
    base, head = side(tmp_path, "base"), side(tmp_path, "head")
    selected = select(base, head, {}, None, any_number=False)
    assert not any(case.is_reference for group in selected.groups for case in group.cases)
    selected = select(replace(base, python="another"), head, {}, None, any_number=False)
    assert sum(case.is_reference for group in selected.groups for case in group.cases) == 3


def test_another_cell_that_is_the_reference_is_a_part_of_the_code(tmp_path: Path) -> None:
    sides = [side(tmp_path, name, sizes=(1,)) for name in ("base", "head")]
    for each in sides:
        each.suite.file.write_text(each.suite.file.read_text() + 'reference = "ugrnn"\n')
    base, head = (replace(each, suite=suites.read(str(each.suite.file))) for each in sides)
    selected = select(base, head, {}, None, any_number=False)
    assert [case.cell for group in selected.groups for case in group.cases] == ["ugrnn", "vanilla", "combined"]


def test_sides_that_imported_none_of_their_own_files_stop_the_check_before_any_timing(tmp_path: Path) -> None:
    for name in ("base", "head"):
        (tmp_path / name).mkdir()
    base, head = (replace(side(tmp_path, name), tree=tmp_path / name) for name in ("base", "head"))
    runner = FakeRunner(lambda case: 1.0, 0.004, None)
    chosen = select(base, head, {}, None, any_number=False)
    options: dict[str, Any] = {"out": tmp_path, "command": "", "on_progress": lambda step: None}
    options |= {"start_pairs": runner, "start_runner": runner}
    runner.modules = {name: {"elsewhere": "/usr/lib/elsewhere.py"} for name in ("base", "head")}
    with pytest.raises(UserError, match="nothing differs between base"):
        check(base, head, chosen, **options)
    assert runner.visited == []
    runner.broken = {("base", case.key): "it fails" for group in chosen.groups for case in group.cases}
    check(base, head, chosen, **options)  # if nothing could be loaded, the message must say so


def test_a_budget_that_cannot_be_enough_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    warnings: list[str] = []
    assert run(tmp_path, budget=3.0, warnings=warnings)[2].replicates == 1
    assert warnings == [
        "a budget of 3 s is too short for a verdict about time: 6 pairs of workers take at least 10 s, "
        "and checking the cases first takes longer"
    ]
    run(tmp_path, budget=60.0, warnings=warnings)
    assert len(warnings) == 1


def test_a_budget_that_is_too_short_is_told_with_one_that_is_enough(tmp_path: Path) -> None:
    _, comparison, runner = run(tmp_path, noise=0.1, budget=9.0)
    assert runner.replicates == 1
    assert comparison.notes[-1] == (
        "a verdict about time takes 6 pairs of workers; the budget of 9 s was too short for 6 of 6 cases; "
        "about 20 s more would be enough for these"
    )


def test_with_time_for_some_cases_those_that_look_slowest_are_decided_and_nothing_is_wasted(tmp_path: Path) -> None:
    def ratio(case: Case) -> float:
        return 1.5 if (case.cell, case.workload.batch_size) == ("combined", 3) else 1.0

    _, comparison, runner = run(tmp_path, ratio, budget=18.0)  # four pairs of all six cases take 16 s
    found = verdicts(comparison)
    assert found.pop("combined 3") == "regressed"
    assert runner.visited[:2] == [6, 6]
    assert set(runner.visited[2:MIN_PAIRS]) == {runner.visited[2]}
    assert 0 < runner.visited[2] < 6
    assert len(runner.visited) >= MIN_PAIRS
    assert "undecided" in found.values()


def test_no_pair_is_begun_that_can_not_count(tmp_path: Path) -> None:
    # The first pair takes 4 s; five more of a single case would take 7.5 s.
    _, comparison, runner = run(tmp_path, lambda case: 1.5, budget=11.0)
    assert (runner.replicates, runner.seconds) == (1, 4.0)
    assert comparison.count("undecided") == 6


def test_cases_that_were_left_out_count_among_the_tests() -> None:
    cases = [small.case("vanilla", batch_size=size + 1) for size in range(6)]
    groups = [Group(case.workload, (case,)) for case in cases]
    runner: Any = FakeRunner(lambda case: 1.0, 0.004, None)
    trial = Trial({case.key: 0.025 for case in cases})
    measure(runner, groups, trial, 18.0, lambda step: None)
    assert trial.evidence.keys() == {case.key for case in cases}
    assert min(len(ratios.low) for ratios in runner.log_ratios.values()) < MIN_PAIRS <= runner.replicates


def test_with_time_for_a_few_of_many_cases_the_slow_ones_are_found_and_equal_code_is_not_blamed() -> None:
    cases = [small.case("vanilla", batch_size=size + 1) for size in range(24)]
    groups = [Group(case.workload, (case,)) for case in cases]
    slow = {case.key for case in cases[:2]}
    found: list[set[str]] = []
    for seed in range(20):
        runner: Any = FakeRunner(lambda case: 1.2 if case.key in slow else 1.0, 0.015, None)
        runner._rng = np.random.default_rng(seed)
        trial = Trial({case.key: 0.025 for case in cases})
        measure(runner, groups, trial, 55.0, lambda step: None)  # four pairs of all cases take 52 s
        found.append({key for key, judged in trial.verdicts().items() if judged.verdict == "regressed"})
    assert found == [slow] * 20


def test_a_commit_can_not_loosen_the_check_that_judges_it(tmp_path: Path) -> None:
    base, head = side(tmp_path, "base"), side(tmp_path, "head")
    loose = SUITE.replace("budget_seconds = {budget}", "budget_seconds = 1\nmargin = 0.99").replace("0.20", "0.01")
    loose = loose.replace("[check]", "[measure]\nwindow_seconds = 5.0\n[check]")
    head.suite.file.write_text(loose.format(sizes=[1, 2, 3]))
    head = replace(head, suite=suites.read(str(head.suite.file)))
    cases = [case for group in select(base, head, {}, None, any_number=False).groups for case in group.cases]
    suite, allowed, notes = strictest(base.suite, head.suite, cases)
    assert {(case.workload.batch_size, allowed[case.key]) for case in cases} == {(1, 0.025), (2, 0.025), (3, 0.01)}
    assert (suite.content.check.budget_seconds, suite.settings) == (60.0, base.suite.settings)
    assert [note.partition(" (")[0] for note in notes] == [
        "the head's suite allows more of 4 cases",
        "the head's suite has a budget of 1 s; the base's is kept: 60 s",
        "the head's suite changes measure.window_seconds; the base's values are kept",
    ]
    assert strictest(base.suite, base.suite, cases)[2] == []


def test_undecided_cases_are_told_how_much_more_time_would_decide_them(tmp_path: Path) -> None:
    _, comparison, runner = run(tmp_path, noise=0.1, budget=60.0)
    assert runner.replicates >= 4
    undecided = comparison.count("undecided")
    assert undecided
    said = rf"about \d+ (s|min|h) more would be enough for \d of {undecided} undecided cases?"
    assert re.fullmatch(said, comparison.needed)


def test_a_case_that_fails_in_the_base_is_named_with_the_submodules_that_are_empty(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    base = replace(side(tmp_path, "base"), tree=tree, revision="main", empty_submodules=("libs/a", "b"))
    head = side(tmp_path, "head")
    runner = FakeRunner(lambda case: 1.0, 0.004, None)
    runner.notes = [f"lost at {tree}/mine.py"]
    chosen = select(base, head, {}, None, any_number=False)
    keys = [case.key for group in chosen.groups for case in group.cases]
    runner.broken = {("base", keys[0]): "no module b"}
    options: dict[str, Any] = {"out": tmp_path, "command": "", "on_progress": lambda step: None}
    options |= {"start_pairs": runner, "start_runner": runner}
    _, comparison = check(base, head, chosen, **options)
    worst = comparison.findings[0]
    assert (worst.case.key, worst.verdict) == (keys[0], "incomparable")
    assert worst.reason.startswith("failed in the base: no module b; these submodules are empty in main, since")
    assert "this machine: libs/a, b; fetch them" in worst.reason
    assert comparison.notes == ("lost at main:mine.py",)


def test_the_revision_is_named_where_the_bases_suite_has_none_of_the_cases(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    base = replace(side(tmp_path / "tree", "base", sizes=(1,)), tree=tmp_path / "tree", revision="HEAD~1")
    with pytest.raises(UserError) as refused:
        select(base, side(tmp_path, "head"), {"batch_size": ["2"]}, None, any_number=False)
    assert str(refused.value).startswith("HEAD~1:base.toml: no case is selected")


def test_a_system_that_keeps_addresses_random_is_told_of(tmp_path: Path) -> None:
    base, head = side(tmp_path, "base"), side(tmp_path, "head")
    runner = FakeRunner(lambda case: 1.0, 0.004, None)
    runner.fixed_addresses = False
    chosen = select(base, head, {}, None, any_number=False)
    options: dict[str, Any] = {"out": tmp_path, "command": "", "on_progress": lambda step: None}
    options |= {"start_pairs": runner, "start_runner": runner}
    _, comparison = check(base, head, chosen, **options)
    assert comparison.notes == (
        "a note",
        "less precise: memory addresses are random on this system, so the two sides have different ones",
    )


class ModesRunner:
    """Pairs of processes of 24 cases; each process of the first cases is in one of two modes at random."""

    def __init__(self, rng: np.random.Generator, cases: int, slower: float, *, base_too: bool) -> None:
        self.log_ratios: dict[str, Ratios] = {}
        self.replicates, self.seconds = 0, 0.0
        self._rng, self._cases, self._slower, self._base_too = rng, cases, slower, base_too

    def replicate(
        self, groups: Sequence[Group], left: float, on_visit: Callable[[int], None] = lambda done: None
    ) -> None:
        for group in groups:
            size = group.workload.batch_size
            log = self._rng.normal(0, 0.006)
            if size <= self._cases:
                head, base = math.log1p(self._slower) * (self._rng.random(2) < 0.5)
                log += head - base * self._base_too
            ratios = self.log_ratios.setdefault(group.cases[0].key, Ratios())
            ratios.low.append(log)
            ratios.mean.append(log + self._rng.normal(0, 0.002))
        self.replicates += 1
        self.seconds += 1.0

    def expected_seconds(self, groups: Sequence[Group]) -> float:
        return 1.0

    def failed(self, case: Case) -> bool:
        return False


def judged_with_modes(seed: int, suites: int, cases: int, slower: float, *, base_too: bool) -> list[list[Verdict]]:
    """The verdicts of the cases with two modes, for each of so many suites that have time for eight pairs."""
    rng, all_cases = np.random.default_rng(seed), [small.case("vanilla", batch_size=size + 1) for size in range(24)]
    groups, found = [Group(case.workload, (case,)) for case in all_cases], []
    for _ in range(suites):
        trial = Trial({case.key: 0.025 for case in all_cases})
        runner: Any = ModesRunner(rng, cases, slower, base_too=base_too)
        measure(runner, groups, trial, 8.0, lambda step: None)
        judged = trial.verdicts()
        found.append([judged[case.key].verdict for case in all_cases[:cases]])
    return found


def test_equal_code_whose_processes_have_two_modes_is_hardly_ever_called_changed() -> None:
    suites = judged_with_modes(1, 120, 6, 0.08, base_too=True)
    # With four pairs before the first look, seven suites in a hundred were called regressed or improved.
    assert sum(bool({"regressed", "improved"} & set(verdicts)) for verdicts in suites) <= 2


def test_a_slowdown_in_half_of_the_processes_is_hardly_ever_unchanged() -> None:
    cases = [verdict for suite in judged_with_modes(2, 60, 12, 0.06, base_too=False) for verdict in suite]
    # Of 720 cases, 3 have eight fast processes by chance. With four pairs, and trimmed from eight on, 50 were
    # unchanged.
    assert cases.count("unchanged") <= 9


def test_cases_of_the_same_code_are_guarded_by_a_pair_and_timed_if_they_look_changed(tmp_path: Path) -> None:
    _, comparison, runner = run(tmp_path, lambda case: 1.5 if case.workload.batch_size == 2 else 1.0, guarded=True)
    assert verdicts(comparison)["vanilla 2"] == "regressed"
    assert runner.visited[:3] == [6, 2, 2]  # all, those that look changed, and then only these
    others = [finding for finding in comparison.findings if finding.case.axes()["batch_size"] != 2]
    assert {(each.verdict, each.is_by_code, each.replicates) for each in others} == {("unchanged", True, 0)}


def test_cases_of_the_same_code_take_no_pair_if_nothing_that_they_import_differs(tmp_path: Path) -> None:
    warnings: list[str] = []
    _, comparison, runner = run(tmp_path, lambda case: 9.0, guarded=False, budget=1.0, warnings=warnings)
    assert (runner.visited, warnings) == ([], [])
    assert {finding.verdict for finding in comparison.findings} == {"unchanged"}
    assert comparison.exit_code() == 0
