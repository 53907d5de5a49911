"""Two stored runs: what makes them incomparable, and the findings if they can be compared."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rnnbench import load, summarize
from rnnbench.analysis.comparison import Finding
from rnnbench.analysis.history import history
from rnnbench.analysis.run_to_run import MIN_CASES, TOO_FEW
from rnnbench.analysis.stored import StoredRun, common_cases, compare, read
from rnnbench.analysis.together import together
from rnnbench.errors import UserError
from rnnbench.report.verdicts import outputs, verdicts
from rnnbench.store.records import Measurement
from tests.doubles import workload as small
from tests.doubles.stored import INFO, PROCESSOR, folder, on, several

LOOP, REFERENCE = small.case("vanilla"), small.reference_case()


def margins(run: StoredRun) -> dict[str, float]:
    return dict.fromkeys(run.measurements, 0.025)


def stored(parent: Path, measure: dict[str, Any]) -> StoredRun:
    path = folder(parent, {LOOP: [[2.0]] * 6, REFERENCE: [[1.0]] * 6})
    return replace(read(path), info=replace(INFO, resolved={"measure": measure}))


def test_a_run_with_flushed_caches_is_not_compared_with_one_without(tmp_path: Path) -> None:
    comparison = compare(stored(tmp_path, {}), stored(tmp_path, {"cold_cache": True}), {LOOP.key: 0.025})
    [finding] = comparison.findings
    assert finding == Finding(LOOP, "incomparable", 0.025, "cold_cache was False and is True")


def test_all_that_makes_two_runs_incomparable_is_told(tmp_path: Path) -> None:
    [finding] = compare(stored(tmp_path, {"windows": 4}), stored(tmp_path, {"windows": 2}), {LOOP.key: 0.025}).findings
    assert finding.reason == "windows was 4 and is 2"
    base, head = stored(tmp_path, {"windows": 4}), stored(tmp_path, {"windows": 2, "cold_cache": True})
    [finding] = compare(base, head, {LOOP.key: 0.025}).findings
    assert finding.reason == "windows was 4 and is 2; cold_cache was False and is True"


def test_runs_of_two_machines_are_incomparable_with_the_key_that_differs(tmp_path: Path) -> None:
    base, same, other, unknown = (
        replace(read(folder(tmp_path / str(index), {LOOP: [[2.0]] * 6, REFERENCE: [[1.0]] * 6})), info=info)
        for index, info in enumerate([INFO, on(PROCESSOR), on(replace(PROCESSOR, stepping="2")), on(None)])
    )
    assert compare(base, same, {LOOP.key: 0.025}).findings[0].verdict != "incomparable"
    for head, reason in (
        (other, "processor stepping was 1 and is 2"),
        (unknown, "the head was made by an rnnbench that did not record the machine's identity"),
    ):
        comparison = compare(base, head, {LOOP.key: 0.025})
        assert comparison.findings == (Finding(LOOP, "incomparable", 0.025, reason),)
        assert comparison.exit_code() == 2


def test_a_comparison_says_which_runs_it_compares_and_how(tmp_path: Path) -> None:
    base, head = (
        read(folder(tmp_path / name, several([slower] * MIN_CASES))) for name, slower in (("base", 2.0), ("head", 2.2))
    )
    comparison = compare(base, head, margins(head))
    [run] = (tmp_path / "base").iterdir()
    [other] = (tmp_path / "head").iterdir()
    assert (comparison.suite, comparison.way) == ("test", "stored")
    assert (comparison.base, comparison.head) == (f"run {run.name}", f"run {other.name}")
    assert len(comparison.findings) == MIN_CASES
    for finding in comparison.findings:
        assert (finding.verdict, finding.replicates, finding.margin) == ("regressed", 6, 0.025)
        assert finding.low is not None
        assert finding.low.value == pytest.approx(1.1)


def test_undecided_cases_of_stored_runs_are_not_promised_a_budget(tmp_path: Path) -> None:
    base, head = (
        read(folder(tmp_path / name, several(slower)))
        for name, slower in (("base", [1.0] * 8), ("head", [1.0, 2.03, 0.7, 1.3, 1.0, 1.8, 0.5, 1.1]))
    )
    findings = compare(base, head, margins(head)).findings
    assert {finding.verdict for finding in findings} == {"undecided"}
    text = outputs.terminal(verdicts.of(compare(base, head, margins(head))))
    assert "budget" not in text
    assert "No regression" not in text
    assert "8 of 8 cases are undecided: " in text


def test_too_few_cases_to_tell_how_much_runs_differ_get_no_verdict_and_end_with_2(tmp_path: Path) -> None:
    base, head = (
        read(folder(tmp_path / name, several([slower] * (MIN_CASES - 1))))
        for name, slower in (("base", 2.0), ("head", 4.0))
    )
    comparison = compare(base, head, margins(head))
    assert {(finding.verdict, finding.reason) for finding in comparison.findings} == {("undecided", TOO_FEW)}
    assert comparison.exit_code() == 2


def test_what_differs_from_run_to_run_is_no_change(tmp_path: Path) -> None:
    wobble = [1.0, 1.04, 0.97, 1.02, 0.99, 1.05, 0.96, 1.01]  # of ratios that are exact within each run
    base, head = (
        read(folder(tmp_path / name, several([2 * factor for factor in factors])))
        for name, factors in (("base", [1.0] * 8), ("head", wobble))
    )
    comparison = compare(base, head, margins(head))
    assert {finding.verdict for finding in comparison.findings} == {"undecided"}


def test_a_case_that_was_not_timed_beside_its_reference_is_undecided(tmp_path: Path) -> None:
    base = read(folder(tmp_path / "base", {LOOP: [[2.0]] * 6, REFERENCE: [[1.0]] * 6}))
    head = read(folder(tmp_path / "head", {LOOP: [[2.0]] * 6}, [Measurement(REFERENCE, "failed", reason="lost")]))
    for then, now in ((base, head), (head, base)):
        [finding] = compare(then, now, {LOOP.key: 0.025}).findings
        assert finding == Finding(LOOP, "undecided", 0.025, "not timed beside torch.nn in both runs")


@pytest.mark.parametrize(
    ("failure", "verdict"), [("loading", "incomparable"), ("lost", "incomparable"), ("running", "improved")]
)
def test_a_baseline_in_which_a_case_was_never_loaded_shows_no_improvement(
    tmp_path: Path, failure: Any, verdict: Any
) -> None:
    broken = Measurement(LOOP, "failed", reason="it broke", failure=failure)
    base = read(folder(tmp_path / "base", {REFERENCE: [[1.0]] * 6}, [broken]))
    head = read(folder(tmp_path / "head", {LOOP: [[2.0]] * 6, REFERENCE: [[1.0]] * 6}))
    comparison = compare(base, head, {LOOP.key: 0.025})
    assert comparison.findings == (Finding(LOOP, verdict, 0.025, "failed in the base: it broke"),)
    assert comparison.exit_code() == (0 if verdict == "improved" else 2)


def test_a_run_that_ended_before_a_case_leaves_it_undecided(tmp_path: Path) -> None:
    whole = read(folder(tmp_path / "base", {LOOP: [[2.0]] * 6, REFERENCE: [[1.0]] * 6}))
    short = read(folder(tmp_path / "head", {REFERENCE: [[1.0]] * 6}, [Measurement(LOOP, "pending", "not reached")]))
    [finding] = compare(whole, short, {LOOP.key: 0.025}).findings
    assert finding == Finding(LOOP, "undecided", 0.025, "pending in the head: not reached")


def test_what_only_one_run_has_is_told_but_for_references(tmp_path: Path) -> None:
    old, new = small.case("vanilla", hidden_size=7), small.case("vanilla", hidden_size=8)
    shared = {LOOP: [[2.0]] * 6, REFERENCE: [[1.0]] * 6}
    base = read(folder(tmp_path / "base", shared | {old: [[2.0]], small.reference_case(hidden_size=7): [[1.0]]}))
    head = read(folder(tmp_path / "head", shared | {new: [[2.0]], small.reference_case(hidden_size=8): [[1.0]]}))
    findings = compare(base, head, {LOOP.key: 0.025}).findings
    assert {(finding.case, finding.reason) for finding in findings if finding.verdict is None} == {
        (old, "only in the base"),
        (new, "only in the head"),
    }
    assert len(findings) == 3


def test_runs_that_share_only_a_reference_are_refused_and_told_where_cases_are_shown() -> None:
    assert common_cases({LOOP.key: None}, {LOOP.key: LOOP, REFERENCE.key: REFERENCE}) == [LOOP]
    with pytest.raises(UserError, match=r"no case in common; `rnnbench list cases SUITE` shows"):
        common_cases({REFERENCE.key: None}, {LOOP.key: LOOP, REFERENCE.key: REFERENCE})


@pytest.mark.parametrize("replicates", [1, 4, 12])
def test_a_runs_ratio_is_one_number_in_all_reports(tmp_path: Path, replicates: int) -> None:
    rng = random.Random(replicates)
    path = folder(
        tmp_path,
        {
            LOOP: [[rng.uniform(2, 3)] for _ in range(replicates)],
            REFERENCE: [[rng.uniform(1, 1.1)] for _ in range(replicates)],
        },
    )
    row = summarize(load(path)).set_index("case").loc[LOOP.key]
    of_report = [row["ratio"], row["ratio_low"], row["ratio_high"]]
    run = read(path)
    side_by_side = together([run, run], 0.025).rows[0].ratios
    over_time = history([run, run]).lines[0].points
    for ratio in (*side_by_side, *(point.ratio for point in over_time)):
        assert [ratio.value, ratio.lower, ratio.upper] == pytest.approx(of_report, nan_ok=True)
