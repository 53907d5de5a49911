from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis.comparison import timed
from rnnbench.analysis.location import Location
from rnnbench.analysis.verdict import Trial
from rnnbench.report.verdicts import answer, github, junit, markdown, sentence, terminal
from rnnbench.report.verdicts.rows import all_rows
from rnnbench.report.words.case_names import names
from rnnbench.report.words.changes import change, change_span
from tests.doubles.workload import case

from .samples import (
    FASTER,
    LARGER,
    LONE,
    NASTY,
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
        "regressed", 1.05, changes=(MORE_OPERATORS, changed("allocations", 100, 99))
    ),
    "slower in the mean, faster in the low quantile": finding("regressed", near(0.997, 0.004), mean=near(1.051)),
    "the interval of the low quantile holds 1": finding(
        "regressed", estimate(2.07, 0.81, 5.27), mean=estimate(2.5, 1.9, 3.3)
    ),
    "larger and slower": finding("regressed", 1.08, changes=(*LARGER.changes, MORE_OPERATORS)),
    "larger with more operators": finding("regressed", 1.0, changes=(*LARGER.changes, MORE_OPERATORS)),
    "larger and not timed": finding("regressed", reason="no time was left to measure it", changes=LARGER.changes),
    "unchanged with other counts": finding(
        "unchanged", 1.0, changes=(changed("peak_bytes", 1000, 1004), MORE_OPERATORS)
    ),
    "undecided in the mean": finding("undecided", 1.0, mean=estimate(1.01, 0.97, 1.05)),
    "not sure enough among all cases": finding("undecided", near(1.04)),
    "no interval": finding("undecided"),
    "undecided with equal counts": finding("undecided", estimate(1.013, 0.988, 1.039), is_counted=True),
    "undecided with other counts": finding(
        "undecided", is_counted=True, changes=(changed("operators", 227, 243), changed("allocations", 147, 99))
    ),
    "stored runs have no budget": finding("undecided", estimate(1.013, 0.988, 1.039), is_of_check=False),
    "stored runs without an interval": finding("undecided", is_of_check=False),
}


def test_what_is_known_is_said(snapshot: SnapshotAssertion) -> None:
    assert {kind: sentence.render(sample) for kind, sample in SAMPLES.items()} == snapshot


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
        assert row.change == (change(estimate.value) if estimate.has_interval else "")
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
