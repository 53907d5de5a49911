"""A whole check on a fake runner: when it looks, when it stops, and what it leaves behind."""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from rnnbench.analysis.comparison import Comparison
from rnnbench.analysis.pairs import PairRatio
from rnnbench.check import live as module
from rnnbench.check.live import CheckOptions, changed_groups, check
from rnnbench.check.looks import more_time
from rnnbench.check.same_code import SameCode
from rnnbench.check.sides import Side, select, strictest
from rnnbench.errors import Interrupted, UserError
from rnnbench.harness.accepted import NOTHING_ACCEPTED, AcceptedChange
from rnnbench.store.folder import read_info
from rnnbench.store.records import NOT_TIMED_ALONE, Case, Group, Measurement
from rnnbench.suite import suites
from rnnbench.suite.accepted import Acceptance
from rnnbench.suite.outline import cases_of, grouped
from tests.analysis.test_stored import CASE, EDGE, undecided

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
Run = Callable[..., tuple[Path, Comparison, Any]]


def fake_runner(
    cases: Sequence[Case],
    ratio: Callable[[Case], float],
    noise: float,
    fault: BaseException | None,
    *,
    notes: Sequence[str] = ("a note",),
    guarded: bool | None = None,
    imports_late: bool = False,
    broken: Mapping[tuple[str, str], str] = MappingProxyType({}),
    fixed_addresses: bool = True,
    pair: Callable[[PairRatio], PairRatio] = lambda ratio: ratio,
) -> Any:
    """Return a runner of cases with the log-ratios that the test sets, at a known cost.

    `guarded`: whether cases, which all run the same code, need a guard; `imports_late`: whether a later call of them
    imports changed code; `broken`: a side and a case -> why it fails; `pair`: changes what a pair shows.
    """
    runner = Mock(replicates=0, seconds=0.0, notes=[*notes], same=SameCode(), visited=[], recorders={})
    runner.ratios, runner.definitions = defaultdict(list), {}
    runner.only_lent = frozenset[str]()
    runner.set_aside = defaultdict(list)
    rng = np.random.default_rng(1)
    hello = {"torch": "1", "fixed_addresses": fixed_addresses}
    runner.clock_notes.return_value = []
    runner.apart.return_value = {}
    runner.files.return_value = {}
    runner.start.return_value = {"base": hello, "head": hello}
    runner.failed.side_effect = lambda case: any((side, case.key) in broken for side in ("base", "head"))
    runner.expected_seconds.side_effect = lambda groups: PAIR_SECONDS + CASE_SECONDS * len(cases_of(groups))

    def find_same(cases: Sequence[Case], on_done: Callable[[int, int], None]) -> None:
        on_done(0, len(cases))
        if guarded is not None:
            runner.same = SameCode(frozenset(case.key for case in cases), needs_guard=guarded)

    def look_again() -> None:
        if imports_late:
            runner.same = runner.same.but(runner.same.cases)

    def replicate(
        groups: Sequence[Group],
        left: float,
        on_visit: Callable[[int], None] = lambda done: None,
        *,
        is_observed: bool = True,
    ) -> None:
        on_visit(0)
        if fault and runner.replicates == 2:
            raise fault
        assert is_observed or not runner.observe.called
        for case in cases_of(groups):
            log = math.log(ratio(case)) + noise * rng.standard_normal()
            shown = pair(PairRatio(runner.replicates, log, log))
            chosen = runner.set_aside if shown.unlike_clocks else runner.ratios
            chosen[case.key].append(shown)
        runner.visited.append(len(cases_of(groups)))
        runner.replicates += 1
        runner.seconds += runner.expected_seconds(groups)

    def measurement(side: str, case: Case) -> Measurement:
        reason = broken.get((side, case.key), "")
        return Measurement(case, "failed", reason, failure="loading") if reason else Measurement(case, "measured")

    runner.find_same, runner.replicate, runner.look_again = find_same, replicate, look_again
    for name in ("base", "head"):
        known = {case.key: measurement(name, case) for case in cases}
        runner.recorders[name] = SimpleNamespace(measurements=known, imported={}, notes={}, faults={})
    return runner


def side(folder: Path, name: str, sizes: Sequence[int] = (1, 2, 3), budget: float = 60.0) -> Side:
    file = folder / f"{name}.toml"
    file.write_text(SUITE.format(sizes=list(sizes), budget=budget))
    return Side(name, f"the {name}", suites.read_suite(str(file)))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A check of a fake runner."""

    def run_check(
        ratio: Callable[[Case], float] = lambda case: 1.0,
        *,
        noise: float = 0.004,
        fault: BaseException | None = None,
        budget: float = 60.0,
        sides: Callable[[Side], Side] = lambda side: side,
        share: float = 1.0,
        accepted: AcceptedChange = NOTHING_ACCEPTED,
        **more: Any,
    ) -> tuple[Path, Comparison, Any]:
        base, head = (sides(side(tmp_path, name, budget=budget)) for name in ("base", "head"))
        chosen = select(base, head, {}, None)
        runner = fake_runner(cases_of(chosen[0]), ratio, noise, fault, **more)

        def begun(sides: Sequence[Side], *_: Any) -> Any:
            runner.sides = {each.name: each for each in sides}
            return runner

        monkeypatch.setattr(module, "PairedRunner", begun)
        monkeypatch.setattr(module, "library_notes", list)
        how: Any = {"out": tmp_path / "out", "on_progress": lambda step: None}
        how["options"] = CheckOptions(command="rnnbench check", share=share, accepted=accepted)
        return *check(base, head, *chosen, **how), runner

    return run_check


def verdicts(comparison: Comparison) -> dict[str, Any]:
    return {"{cell} {batch_size}".format(**finding.case.axes()): finding.verdict for finding in comparison.findings}


def test_a_check_ends_when_all_is_clear_and_blames_only_what_is_slower_than_its_margin(run: Run) -> None:
    _, comparison, runner = run()
    assert set(verdicts(comparison).values()) == {"unchanged"}
    assert (runner.replicates, runner.end.called) == (8, True)  # with fewer, two modes would often look like none
    _, comparison, _ = run(lambda case: 1.08 if case.cell == "vanilla" else 1.0)
    expected = {f"{cell} {size}": "unchanged" for cell in ("vanilla", "combined") for size in (1, 2, 3)}
    assert verdicts(comparison) == expected | {"vanilla 1": "regressed", "vanilla 2": "regressed"}  # 3 has 20%
    worst = comparison.findings[0]
    assert worst.low.lower < 1.08 < worst.low.upper
    assert comparison.exit_code() == 1


def test_what_is_accepted_of_a_change_is_so_in_the_rows_and_what_accepts_nothing_is_noted(run: Run) -> None:
    entries = (
        Acceptance("accepted[0]", {"cell": ["vanilla"]}, "cell=vanilla", "1a2b3c4", "it clips", None),
        Acceptance("accepted[1]", {"cell": ["other"]}, "cell=other", "1a2b3c4", "it clips", None),
    )
    change = AcceptedChange(Path("accepted.toml"), entries, about=entries, has_repository=True)
    _, comparison, _ = run(lambda case: 1.5 if case.cell == "vanilla" else 1.0, accepted=change)
    outcomes = {each.case.cell: each.outcome for each in comparison.findings if isinstance(each.case, Case)}
    assert outcomes["vanilla"] == "accepted"
    assert comparison.exit_code() == 0
    assert comparison.notes[-1] == "accepted.toml: accepted[1]: no case of this check has cell=other"


@pytest.mark.parametrize("budget", [1.0, 9.0, 20.0, 60.0])
def test_the_budget_is_kept_but_for_the_first_pair_and_undecided_cases_are_told_what_they_take(
    run: Run, budget: float
) -> None:
    _, comparison, runner = run(noise=0.1, budget=budget)
    assert runner.seconds <= max(budget, PAIR_SECONDS + 6 * CASE_SECONDS)
    assert not set(verdicts(comparison).values()) & {"regressed", "improved"}
    said = rf"about \d+ (s|min|h) more would be enough for \d of {comparison.count('undecided')} undecided cases?"
    assert re.fullmatch(said, comparison.needed)


def test_undecided_cases_get_the_rest_of_the_budget_to_themselves(run: Run) -> None:
    _, comparison, runner = run(lambda case: 1.025 if case.workload.batch_size == 1 else 1.0)
    assert (runner.visited[0], runner.visited[-1]) == (6, 2)
    undecided = {name for name, verdict in verdicts(comparison).items() if verdict == "undecided"}
    assert undecided == {"vanilla 1", "combined 1"}
    assert 60 - runner.expected_seconds([]) - 2 * CASE_SECONDS < runner.seconds <= 60


def test_no_pair_is_begun_that_can_not_count_and_no_case_is_judged_before_the_sixth_nor_a_definition_before_the_fifth(
    run: Run,
) -> None:
    # The first pair takes 4 s; five more of a single case would take 7.5 s.
    _, comparison, runner = run(lambda case: 2.0, budget=11.0)
    assert (runner.replicates, runner.seconds, comparison.count("undecided")) == (1, 4.0, 6)
    assert [comparison.exit_code(on_undecided=each) for each in ("pass", None, "fail")] == [0, 3, 3]
    _, comparison, runner = run(lambda case: 2.0)
    assert runner.replicates == 6
    assert {bool(each.family): each.replicates for each in comparison.findings} == {True: 5, False: 6}
    assert set(verdicts(comparison).values()) == {"regressed"}


def test_cases_of_a_changed_definition_that_are_slower_together_need_fewer_pairs_than_each_alone(
    run: Run,
) -> None:
    _, comparison, _ = run(lambda case: 1.06 if case.cell == "vanilla" else 1.0, noise=0.01)
    slower = [each for each in comparison.findings if each.family]
    assert {(each.verdict, each.margin, each.replicates) for each in slower} == {("regressed", 0.025, 5)}
    assert {each.family.name for each in slower if each.family} == {"vanilla (margin 2.5%)"}
    assert len(slower) == 2  # the third case has another margin


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ({1: 1.2, 2: 1.0, 3: 1.0}, ["regressed", "unchanged", "unchanged"]),
        ({1: 1.2, 2: 0.8, 3: 1.0}, ["regressed", "improved", "unchanged"]),
    ],
)
def test_a_single_slow_case_and_changes_of_mixed_signs_are_found_by_the_cases_own_tests(
    run: Run, ratios: dict[int, float], expected: list[str]
) -> None:
    _, comparison, _ = run(lambda case: ratios[case.workload.batch_size])
    found = verdicts(comparison)
    assert [found[f"vanilla {size}"] for size in ratios] == expected
    assert {each.family for each in comparison.findings} == {None}


@pytest.mark.parametrize(
    ("quiet_pairs", "state", "ratio"), [(1.0, "undisturbed", 1.0), (0.5, "on a shared core", 1.2), (0.0, "", 1.2)]
)
def test_a_case_is_judged_by_its_quiet_pairs_if_it_has_enough_and_its_state_is_said(
    run: Run, quiet_pairs: float, state: str, ratio: float
) -> None:
    """All blocks are slower by 20%, and quiet ones are not, as if the head suffered more from sharing."""

    def shared(own: PairRatio) -> PairRatio:
        if not quiet_pairs:
            return own
        is_quiet = quiet_pairs == 1 or own.pair % 2 == 0
        quiet = (own.low - math.log(1.2), own.mean - math.log(1.2)) if is_quiet else (math.nan, math.nan)
        return replace(own, quiet_low=quiet[0], quiet_mean=quiet[1], pulses=100, quiet_pulses=20)

    _, comparison, _ = run(lambda case: 1.2, pair=shared)
    assert {each.state for each in comparison.findings} == {state}
    assert all(each.low and each.low.value == pytest.approx(ratio, rel=0.01) for each in comparison.findings)


@pytest.mark.parametrize(("period", "verdict"), [(1, "incomparable"), (3, "unchanged")])
def test_pairs_whose_sides_had_unlike_clocks_are_set_aside_and_a_case_that_has_mostly_such_ones_is_incomparable(
    run: Run, period: int, verdict: str
) -> None:
    clause = "the clock of the GPU ran at 1,700 MHz in the base and at 1,400 MHz in the head"

    def held_back(own: PairRatio) -> PairRatio:
        return replace(own, low=0.2, mean=0.2, unlike_clocks=clause) if own.pair % period == 0 else own

    _, comparison, _ = run(pair=held_back)
    assert set(verdicts(comparison).values()) == {verdict}
    assert {each.reason for each in comparison.findings} == {clause if verdict == "incomparable" else ""}
    assert comparison.exit_code() == (2 if verdict == "incomparable" else 0)


def test_a_case_whose_mean_scatters_by_4_percent_is_unchanged_if_its_typical_call_is_precise(run: Run) -> None:
    def shared(own: PairRatio) -> PairRatio:
        return replace(own, quiet_low=own.low, quiet_mean=0.04 * (-1) ** own.pair, pulses=100, quiet_pulses=20)

    _, comparison, _ = run(lambda case: 1.0, pair=shared)
    assert {each.verdict for each in comparison.findings if each.margin < 0.1} == {"unchanged"}


def test_a_case_that_was_much_slower_in_one_pair_of_eight_is_not_unchanged_within_a_small_margin(run: Run) -> None:
    def slow_once(own: PairRatio) -> PairRatio:
        return replace(own, low=own.low + 0.3) if own.pair == 3 else own

    _, comparison, runner = run(pair=slow_once, budget=36.0)
    assert runner.replicates >= 8
    assert not {each.margin for each in comparison.findings if each.verdict == "unchanged"} - {0.2}
    assert all(each.low and each.low.value > 1.01 for each in comparison.findings)


@pytest.mark.parametrize(
    ("ratio", "sizes", "noise", "is_family"), [(1.15, {1, 2}, 0.04, True), (1.2, {1}, 0.02, False)]
)
def test_a_check_with_a_small_share_of_the_error_rate_asks_for_more_and_shows_wider_intervals(
    run: Run, ratio: float, sizes: set[int], noise: float, is_family: bool
) -> None:
    """As each of the checks of a bisection has one; cases that are slower together, and one alone."""

    def slower(case: Case) -> float:
        return ratio if case.cell == "vanilla" and case.workload.batch_size in sizes else 1.0

    (_, whole, _), (_, small, _) = (run(slower, noise=noise, budget=25.0, share=share) for share in (1.0, 0.001))
    regressed = [each for each in whole.findings if each.verdict == "regressed"]
    assert {each.case.workload.batch_size for each in regressed} == sizes
    assert {bool(each.family) for each in regressed} == {is_family}
    assert set(verdicts(small).values()) == {"undecided"}
    widths = [{each.case.key: each.low.upper / each.low.lower for each in found.findings} for found in (whole, small)]
    assert all(widths[0][key] < width for key, width in widths[1].items())


@pytest.mark.parametrize(("scatter", "pairs"), [(0.021, 11), (0.026, 15), (0.030, 20)])
def test_a_case_is_looked_at_after_8_11_15_and_20_pairs_since_each_look_spends_of_the_error_rate(
    run: Run, scatter: float, pairs: int
) -> None:
    def alternating(own: PairRatio) -> PairRatio:
        log = scatter * (-1) ** own.pair
        return replace(own, low=log, mean=log)

    _, comparison, _ = run(pair=alternating, budget=80.0)
    assert {each.replicates for each in comparison.findings if each.margin < 0.1} == {pairs}
    assert comparison.count("unchanged") == 6


@pytest.mark.parametrize(("scatter", "pairs"), [(0.01, 5), (0.037, 7), (0.045, 10)])
def test_a_changed_definition_is_looked_at_after_5_7_and_10_pairs(run: Run, scatter: float, pairs: int) -> None:
    def alternating(own: PairRatio) -> PairRatio:
        log = math.log(1.1) + scatter * (-1) ** own.pair
        return replace(own, low=log, mean=log)

    _, comparison, _ = run(pair=alternating, budget=80.0)
    assert {each.replicates for each in comparison.findings if each.family} == {pairs}


@pytest.mark.parametrize("failed", ["base", "head"])
def test_a_check_does_not_time_a_reference_if_all_cases_that_are_compared_with_it_failed(
    run: Run, tmp_path: Path, failed: str
) -> None:
    def with_python(side: Side) -> Side:
        return replace(side, python=side.name)  # so that torch.nn may differ

    broken = {(failed, case.key): "on purpose" for case in small_cases(tmp_path) if case.workload.batch_size > 1}
    _, comparison, runner = run(sides=with_python, broken=broken)
    assert set(runner.visited) == {3}
    alone = {finding.case.workload.batch_size: finding for finding in comparison.findings if finding.case.is_reference}
    assert {size: finding.verdict for size, finding in alone.items()} == {
        1: "unchanged",
        2: "undecided",
        3: "undecided",
    }
    assert alone[2].reason == alone[3].reason == NOT_TIMED_ALONE


def small_cases(folder: Path) -> list[Case]:
    """The cases of the cells of `SUITE`."""
    return [case for case in side(folder, "any").suite.cases() if not case.is_reference]


def test_both_sides_are_in_the_folder_and_say_how_they_ended(run: Run) -> None:
    folder, comparison, _ = run()
    for name in ("base", "head"):
        info = read_info(folder / name)
        assert (info.status, info.suite, info.command) == ("finished", "mine", "rnnbench check")
        assert list(map(str, info.notes)) == [f"{name} of a check: the {name}"]
        assert info.environment["worker"]["torch"] == "1"
    assert (comparison.base, comparison.head, comparison.notes) == ("the base", "the head", ("a note",))


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (KeyboardInterrupt(), Interrupted, "what was measured is in .*; no verdict"),
        (OSError(28, "No space left on device"), UserError, "can't be written: No space left on device; no verdict"),
    ],
)
def test_an_interrupted_check_gives_no_verdict_and_says_where_its_data_are(
    tmp_path: Path, run: Run, fault: BaseException, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        run(fault=fault)
    (folder,) = (tmp_path / "out").iterdir()
    assert {read_info(folder / name).status for name in ("base", "head")} == {"interrupted"}


@pytest.mark.parametrize(
    ("failed", "verdict", "reason"),
    [("base", "incomparable", "failed in the base: no module b"), ("head", "regressed", "fails now: no module b")],
)
def test_a_case_that_fails_on_a_side_is_told_and_not_measured_again_and_notes_name_the_revision(
    tmp_path: Path, run: Run, failed: str, verdict: str, reason: str
) -> None:
    key = select(side(tmp_path, "base"), side(tmp_path, "head"), {}, None)[0][0].cases[0].key

    def in_tree(side: Side) -> Side:
        return replace(side, tree=tmp_path / "tree", revision="main") if side.name == "base" else side

    (tmp_path / "tree").mkdir()
    notes = [f"lost at {tmp_path}/tree/mine.py"]
    broken = {(failed, key): "no module b"}
    _, comparison, runner = run(sides=in_tree, broken=broken, notes=notes, fixed_addresses=False)
    worst = comparison.findings[0]
    assert (worst.case.key, worst.verdict, worst.reason, runner.visited[1]) == (key, verdict, reason, 5)
    assert comparison.notes[0] == "lost at main:mine.py"
    assert comparison.notes[1].startswith("less precise: memory addresses are random on this system")


def test_only_what_a_commit_can_change_is_compared(tmp_path: Path) -> None:
    base, head = (side(tmp_path, name, sizes=(1,)) for name in ("base", "head"))
    assert not any(case.is_reference for case in cases_of(select(base, head, {}, None)[0]))
    other, _ = select(replace(base, python="another"), head, {}, None)
    assert sum(case.is_reference for case in cases_of(other)) == 1
    for each in (base, head):  # another cell that is the reference is a part of the code
        each.suite.file.write_text(each.suite.file.read_text() + 'reference = "ugrnn"\n')
    base, head = (replace(each, suite=suites.read_suite(str(each.suite.file))) for each in (base, head))
    selected, _ = select(base, head, {}, None)
    assert [case.cell for case in cases_of(selected)] == ["ugrnn", "vanilla", "combined"]


def test_a_value_that_only_the_heads_suite_has_may_be_asked_for_and_a_typo_may_not(tmp_path: Path) -> None:
    base, head = side(tmp_path, "base", sizes=(1, 2)), side(tmp_path, "head", sizes=(2, 3))
    selected, others = select(base, head, {"batch_size": ["2", "3"]}, None)
    assert {case.workload.batch_size for case in cases_of(selected)} == {2}
    assert {(found.case.axes()["batch_size"], found.reason) for found in others} == {(3, "only in the head")}
    with pytest.raises(UserError, match=r"base \(the base\) and head \(the head\) have no case in common"):
        select(side(tmp_path, "base", sizes=(1,)), side(tmp_path, "head", sizes=(2,)), {}, None)
    for values in (["2", "4"], ["1", "2"]):
        with pytest.raises(UserError, match=r"head.*batch_size=\d: the suite has batch_size=2,3"):
            select(base, head, {"batch_size": values}, None)


def test_with_time_for_some_cases_those_that_look_slowest_are_decided_and_nothing_is_wasted(run: Run) -> None:
    def ratio(case: Case) -> float:
        return 1.5 if (case.cell, case.workload.batch_size) == ("combined", 3) else 1.0

    _, comparison, runner = run(ratio, budget=18.0)  # four pairs of all six cases take 16 s
    found = verdicts(comparison)
    assert found.pop("combined 3") == "regressed"
    assert runner.visited[:2] == [6, 6]
    assert set(runner.visited[2:6]) == {runner.visited[2]}
    assert 0 < runner.visited[2] < 6
    assert len(runner.visited) >= 6
    assert "undecided" in found.values()


def test_a_commit_can_not_loosen_the_check_that_judges_it(tmp_path: Path) -> None:
    base, head = side(tmp_path, "base"), side(tmp_path, "head")
    loose = SUITE.replace("budget_seconds = {budget}", "budget_seconds = 1\nmargin = 0.99").replace("0.20", "0.01")
    loose = loose.replace("[check]", "[measure]\nwindow_seconds = 5.0\n[check]")
    head.suite.file.write_text(loose.format(sizes=[1, 2, 3]))
    head = replace(head, suite=suites.read_suite(str(head.suite.file)))
    cases = [case for group in select(base, head, {}, None)[0] for case in group.cases]
    strict = strictest(base.suite, head.suite, cases)
    assert {(case.workload.batch_size, strict.margins[case.key]) for case in cases} == {
        (1, 0.025),
        (2, 0.025),
        (3, 0.01),
    }
    assert (strict.suite.check.budget_seconds, strict.suite.measure) == (60.0, base.suite.measure)
    assert strict.notes == ["where the base's settings are stricter, they apply until this commit is the base"]
    assert strictest(base.suite, base.suite, cases).notes == []


def test_cases_of_the_same_code_are_guarded_by_a_pair_and_timed_if_they_look_changed(run: Run) -> None:
    _, comparison, runner = run(lambda case: 1.5 if case.workload.batch_size == 2 else 1.0, guarded=True)
    assert verdicts(comparison)["vanilla 2"] == "regressed"
    assert runner.visited[:3] == [6, 2, 2]  # all, those that look changed, and then only these
    assert len(cases_of(runner.observe.call_args.args[0])) == 2
    others = [finding for finding in comparison.findings if finding.case.axes()["batch_size"] != 2]
    assert {(each.verdict, each.rule, each.replicates) for each in others} == {("unchanged", "same code", 0)}
    timed = {finding.case.key for finding in comparison.findings} - {each.case.key for each in others}
    assert set(runner.ratios) == timed  # the pair of the guard says nothing of the noise


@pytest.mark.parametrize(("slow_pairs", "is_timed"), [({0, 1, 2}, True), ({0, 1}, False)])
def test_a_case_of_which_only_some_calls_are_slow_is_seen_by_its_mean_in_three_pairs(
    tmp_path: Path, slow_pairs: set[int], is_timed: bool
) -> None:
    cases = small_cases(tmp_path)

    def slow_in_the_mean(ratio: PairRatio) -> PairRatio:
        return replace(ratio, mean=math.log(1.6)) if ratio.pair in slow_pairs else ratio

    runner = fake_runner(cases, lambda case: 1.0, 0.0, None, guarded=True, pair=slow_in_the_mean)
    runner.find_same(cases, lambda done, total: None)
    groups = grouped(cases)
    assert changed_groups(runner, groups) == (groups if is_timed else [])
    assert runner.replicates == 3


def test_cases_whose_later_calls_import_changed_code_are_timed(run: Run) -> None:
    _, comparison, runner = run(lambda case: 1.0, guarded=True, imports_late=True)
    assert {(each.verdict, each.rule) for each in comparison.findings} == {("unchanged", "time")}
    assert len(cases_of(runner.observe.call_args.args[0])) == 6


def test_cases_of_the_same_code_take_no_pair_if_nothing_that_they_import_differs(run: Run) -> None:
    _, comparison, runner = run(lambda case: 9.0, guarded=False, budget=1.0)
    assert runner.visited == []
    assert {finding.verdict for finding in comparison.findings} == {"unchanged"}
    assert comparison.exit_code() == 0


@pytest.mark.parametrize(
    ("center", "half", "said"),
    [
        (0.0, 2 * EDGE, "about 2 min more would be enough for 1 of 1 undecided case"),
        (0.0, 0.5 * EDGE, "about 10 s more would be enough for 1 of 1 undecided case"),  # one pair at least
        (0.0, 9 * EDGE, ""),  # more pairs hardly help
    ],
)
def test_the_note_on_time_follows_from_the_intervals(center: float, half: float, said: str) -> None:
    runner: Any = SimpleNamespace(expected_seconds=lambda groups: 5.0 * len(groups))
    finding = replace(undecided(center, half), replicates=8)
    assert more_time(runner, [Group(CASE.workload, (CASE,))], [finding]) == said


def test_a_note_of_both_sides_is_told_once() -> None:
    notes = module._notes_of_sides({"base": ["one", "two"], "head": ["two", "three"]})
    assert notes == ["base: one", "base and head: two", "head: three"]


def test_a_second_pair_to_show_that_the_code_is_the_same_is_begun_only_if_there_is_time(tmp_path: Path) -> None:
    cases = small_cases(tmp_path)
    for left, pairs in ((0.0, 1), (1.0, 2)):
        runner = fake_runner(cases, lambda case: 2.0, 0.0, None, guarded=True)
        runner.find_same(cases, lambda done, total: None)
        groups = grouped(cases)
        assert cases_of(changed_groups(runner, groups, partial(float, left))) == cases_of(groups)
        assert runner.replicates == pairs
