from dataclasses import replace

from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis.comparison import Comparison, Finding
from rnnbench.report.verdicts import answer
from rnnbench.report.words.case_names import names
from rnnbench.store.records import Case
from tests.doubles.workload import case

from .samples import (
    APART,
    FAILING,
    FASTER,
    LARGER,
    LONE,
    ONE_SIDED,
    OPEN,
    SAME,
    SLOWER,
    SOME_CALLS,
    comparison,
    estimate,
    finding,
    unchanged,
)

FAR_OFF = finding("undecided", estimate(2.03, 0.46, 9.02), case=case("gru", "hoisted", batch_size=16))
MENDED = finding("improved", case=case("gru", batch_size=16), reason="failed in the base: NaN")


def answer_to(compared: Comparison) -> str:
    return answer.answer(compared, names(sample.case for sample in compared.findings))


ANSWERS = {
    "no case": [],
    "only in the head": [ONE_SIDED],
    "unchanged": [SAME],
    "many unchanged": unchanged(24),
    "regressed": [SLOWER, SAME],
    "the worst of two": [SLOWER, SOME_CALLS, SAME],
    "regressed in the mean": [SOME_CALLS],
    "larger": [LARGER],
    "larger and faster": [replace(LARGER, low=estimate(0.8, 0.79, 0.81))],  # the time is not what regressed
    "fails now": [FAILING],
    "two fail now": [FAILING] * 2,
    "incomparable": [APART] * 3,
    "undecided": [OPEN],
    "a large change undecided": [FAR_OFF, OPEN, SAME],
    "two undecided": [
        replace(FAR_OFF, reason="more processes of each side would tell"),
        LONE,
    ],
    "not reached": [finding("undecided", reason="not reached")],
    "one replicate": [replace(LONE, is_counted=True), ONE_SIDED],
    "one replicate beside a mended case": [LONE, MENDED],
    "one replicate beside a failure": [LONE, FAILING],
    "mended": [MENDED],
    "undecided with and without an interval": [OPEN, LONE, SAME],
    "improved": [FASTER, SAME, ONE_SIDED],
    "the most improved": [FASTER, replace(FASTER, low=estimate(0.8, 0.79, 0.81))],
}


def test_the_answer_to_every_kind_of_comparison(snapshot: SnapshotAssertion) -> None:
    answers = {
        # One size for all, so that names stay short.
        kind: answer_to(comparison(*map(_of_one_size, found)))
        for kind, found in ANSWERS.items()
    }
    assert answers == snapshot


def _of_one_size(sample: Finding) -> Finding:
    assert isinstance(sample.case, Case)
    workload = replace(sample.case.workload, batch_size=16, num_layers=1)
    return replace(sample, case=replace(sample.case, workload=workload))


def test_margins_of_cases_that_were_not_compared_do_not_count() -> None:
    assert answer.margins(comparison(SAME, ONE_SIDED)) == "2.5%"
    assert answer.margins(comparison(SAME, finding("unchanged", 1.0, margin=0.05))) == "2.5% to 5%"
