from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.analysis.comparison import Finding, timed
from rnnbench.analysis.location import Location
from rnnbench.analysis.verdict import Trial
from rnnbench.report.verdicts import answer, github, junit, markdown, sentence, terminal
from rnnbench.report.verdicts.rows import all_rows
from rnnbench.report.words.case_names import names
from rnnbench.report.words.changes import change, change_span
from tests.doubles.workload import case

from .samples import (
    APART,
    FAILING,
    FASTER,
    LARGER,
    LONE,
    NASTY,
    ONE_SIDED,
    OPEN,
    SAME,
    SLOWER,
    SOME_CALLS,
    changed,
    comparison,
    estimate,
    every_verdict,
    finding,
    near,
)

MORE_OPERATORS = changed("operators", 412, 508)


@pytest.mark.parametrize("sample", [FAILING, APART, ONE_SIDED])
def test_a_reason_is_the_sentence(sample: Finding) -> None:
    assert sentence.render(sample) == sample.reason


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        (
            SLOWER,
            "Likely cause: 96 more operator calls (412 -> 508, +23%), 20 more allocations (80 -> 100, +25%); "
            "MACs unchanged",
        ),
        (FASTER, "Likely cause: 96 fewer operator calls (508 -> 412, -19%); MACs and allocations unchanged"),
        (LARGER, "peak memory 1.20 MB -> 1.90 MB (+58%)"),
        (
            SOME_CALLS,
            "Some calls are slower and most are not: in the mean of its calls 5.1% slower (+3.9% to +6.3%), in the low "
            "quantile 0.1% slower",
        ),
        (OPEN, "Between 1.2% faster and 3.9% slower: a longer budget would tell"),
        (LONE, "One replicate gives no interval: a longer budget would tell"),
        (SAME, ""),
    ],
)
def test_each_verdict_has_its_sentence(sample: Finding, text: str) -> None:
    assert sentence.render(sample) == text


@pytest.mark.parametrize(
    ("known", "text"),
    [
        (
            {"verdict": "regressed", "low": 1.05},
            "No known difference in MACs, operator calls or allocations: slower kernels, or other code between them",
        ),
        (
            {"verdict": "improved", "low": 0.9},
            "No known difference in MACs, operator calls or allocations: faster kernels, or other code between them",
        ),
        (
            {"verdict": "improved", "low": 0.9, "changes": (MORE_OPERATORS,)},
            "Despite 96 more operator calls (412 -> 508, +23%): faster kernels, or other code between them",
        ),
        (
            {"verdict": "regressed", "low": 1.05, "changes": (MORE_OPERATORS, changed("allocations", 100, 99))},
            "Likely cause: 96 more operator calls (412 -> 508, +23%), but 1 fewer allocation (100 -> 99, -1.0%); "
            "MACs unchanged",
        ),
        (
            {"verdict": "regressed", "low": near(0.997, 0.004), "mean": near(1.051)},
            "Some calls are slower and most are not: in the mean of its calls 5.1% slower (+4.2% to +6.0%), in the low "
            "quantile 0.3% faster",
        ),
        (  # the low quantile is as much slower, but its interval holds 1
            {"verdict": "regressed", "low": estimate(2.07, 0.81, 5.27), "mean": estimate(2.5, 1.9, 3.3)},
            "In the mean of its calls 150% slower (+90% to +230%), in the low quantile 107% slower; no known "
            "difference in MACs, operator calls or allocations: slower kernels, or other code between them",
        ),
        (
            {"verdict": "regressed", "low": 1.08, "changes": (*LARGER.changes, MORE_OPERATORS)},
            "peak memory 1.20 MB -> 1.90 MB (+58%); likely cause: 96 more operator calls (412 -> 508, +23%); "
            "MACs and allocations unchanged",
        ),
        (
            {"verdict": "regressed", "low": 1.0, "changes": (*LARGER.changes, MORE_OPERATORS)},
            "peak memory 1.20 MB -> 1.90 MB (+58%); 96 more operator calls (412 -> 508, +23%)",
        ),
        (
            {"verdict": "regressed", "reason": "no time was left to measure it", "changes": LARGER.changes},
            "peak memory 1.20 MB -> 1.90 MB (+58%); no time was left to measure it",
        ),
        (
            {"verdict": "unchanged", "low": 1.0, "changes": (changed("peak_bytes", 1000, 1004), MORE_OPERATORS)},
            "within the margin: peak memory +0.4%; without effect on the time: operator calls +23%",
        ),
        (
            {"verdict": "inconclusive", "low": 1.0, "mean": estimate(1.01, 0.97, 1.05)},
            "In the mean of its calls between 3.0% faster and 5.0% slower: a longer budget would tell",
        ),
        (
            {"verdict": "inconclusive", "low": near(1.04)},
            "Between 3.1% and 4.9% slower, which is not sure enough among all cases: a longer budget would tell",
        ),
        ({"verdict": "inconclusive"}, "There is no interval: a longer budget would tell"),
        (  # stored runs have no budget
            {"verdict": "inconclusive", "low": estimate(1.013, 0.988, 1.039), "is_of_check": False},
            "Between 1.2% faster and 3.9% slower",
        ),
        ({"verdict": "inconclusive", "is_of_check": False}, "There is no interval"),
    ],
)
def test_what_is_known_is_said(known: dict[str, Any], text: str) -> None:
    assert sentence.render(finding(**known)) == text


def test_a_sentence_is_one_printable_line_of_bearable_length() -> None:
    long = finding("regressed", reason=f"fails now: {NASTY * 100}")
    for sample in [*every_verdict().findings, long]:
        assert sentence.render(sample).isprintable()
        assert len(sentence.render(sample)) <= sentence.MAX_REASON_LENGTH
    assert sentence.render(long).endswith("…")


LOGS = st.one_of(st.floats(-0.3, 0.3), st.floats(-20, 20))
LOCATIONS = st.builds(Location, LOGS, st.one_of(st.floats(0, 0.1), st.floats(0, 30)), st.sampled_from([0.0, 3.0, 20.0]))
LOOKS = st.lists(st.tuples(LOCATIONS, LOCATIONS), min_size=1, max_size=3)


@given(st.lists(LOOKS, min_size=1, max_size=5))
def test_every_output_describes_a_verdict_with_the_ratio_and_interval_that_decided_it(
    looks: list[list[tuple[Location, Location]]],
) -> None:
    cases = [case("lstm", batch_size=number + 1) for number in range(len(looks))]
    trial = Trial({subject.key: 0.025 for subject in cases})
    for subject, of_case in zip(cases, looks, strict=True):
        for low, mean in of_case:
            trial.look(subject.key, low, mean, 1 / len(of_case))
    judged = trial.verdicts()
    compared = comparison(*(timed(subject, judged[subject.key], 0.025, 9, ()) for subject in cases))
    whole = [render(compared).replace("\\", "") for render in (markdown.render, junit.render, terminal.text)]
    for row in all_rows(compared):
        finding, verdict = row.finding, row.finding.verdict
        estimate = judged[finding.case.key].mean if finding.is_by_mean else judged[finding.case.key].low
        assert (verdict in ("regressed", "improved")) == (finding.decided_by is not None)
        assert ("in the mean of its calls" in row.brief) == (finding.is_by_mean and "interval" not in row.brief)
        assert row.change == change(estimate.value)
        if verdict == "regressed":
            assert estimate.lower > 1.025
            assert f"slower{' in the mean of its calls' * finding.is_by_mean} ({change_span(estimate)})" in row.brief
        elif verdict == "improved":
            assert estimate.upper < 1 / 1.025
            assert f"faster{' in the mean of its calls' * finding.is_by_mean} ({change_span(estimate)})" in row.brief
        elif verdict == "unchanged":
            assert 1 / 1.025 < estimate.lower <= estimate.upper < 1.025
        if finding.decided_by is not None:
            assert all(row.change in text and row.interval in text for text in whole)
            assert ("in the mean of its calls" in row.why.lower()) == finding.is_by_mean
    named = compared.findings[0]
    if named.verdict == "regressed":
        assert named.deciding is not None
        assert change_span(named.deciding) in answer.answer(compared, names(cases))
        assert change_span(named.deciding) in github.annotations(compared)[0].replace("%25", "%")
