from dataclasses import replace

import pytest

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
    realistic,
    unchanged,
)

NOTHING = (
    "No change could be decided: one replicate gives no interval: a longer budget would tell. The largest is lstm loop "
    "training: 2.0% slower, from one replicate: no interval."
)
FAR_OFF = finding("inconclusive", estimate(2.03, 0.46, 9.02), case=case("gru", "hoisted", batch_size=16))
MENDED = finding("improved", case=case("gru", batch_size=16), reason="failed in the base: NaN")


def answer_to(compared: Comparison) -> str:
    return answer.answer(compared, names(sample.case for sample in compared.findings))


@pytest.mark.parametrize(
    ("findings", "text"),
    [
        ([], "No case was compared: there is no case."),
        ([ONE_SIDED], "No case was compared: only in the head."),
        ([SAME], "Nothing regressed: 1 of 1 case unchanged within 2.5%."),
        (unchanged(24), "Nothing regressed: 24 of 24 cases unchanged within 2.5%."),
        (
            [SLOWER, SAME],
            "1 of 2 cases regressed: lstm loop training: 5.1% slower (+4.2% to +6.0%). Also 1 unchanged.",
        ),
        (
            [SLOWER, SOME_CALLS, SAME],
            "2 of 3 cases regressed; the worst is lstm loop training: 5.1% slower (+4.2% to +6.0%). Also 1 unchanged.",
        ),
        (
            [SOME_CALLS],
            "1 of 1 case regressed: gru loop inference: 5.1% slower in the mean of its calls (+3.9% to +6.3%).",
        ),
        ([LARGER], "1 of 1 case regressed: gru loop training: peak memory 1.20 MB -> 1.90 MB (+58%)."),
        (
            [replace(LARGER, low=estimate(0.8, 0.79, 0.81))],  # the time is not what regressed
            "1 of 1 case regressed: gru loop training: peak memory 1.20 MB -> 1.90 MB (+58%).",
        ),
        ([FAILING], "1 of 1 case regressed: vanilla loop inference: fails now: RuntimeError: boom."),
        ([FAILING] * 2, "2 of 2 cases regressed: fails now: RuntimeError: boom."),
        ([APART] * 3, "3 of 3 cases can't be compared: torch 2.8.0 in the base, 2.9.1 in the head."),
        (
            [OPEN],
            "No regression was found, but 1 of 1 case is inconclusive: lstm hoisted inference: "
            "1.3% slower (-1.2% to +3.9%).",
        ),
        (
            [FAR_OFF, OPEN, SAME],  # what could not be decided may be a large change
            "2 of 3 cases are inconclusive; the largest undecided change is gru hoisted inference: "
            "103% slower (-54% to +802%). Also 1 unchanged.",
        ),
        (
            [replace(FAR_OFF, reason="more processes of each side would tell"), replace(OPEN, low=estimate(0.9))],
            "2 of 2 cases are inconclusive; the largest undecided change is gru hoisted inference: "
            "103% slower (-54% to +802%).",
        ),
        (
            [finding("inconclusive", reason="not reached")],
            "No time was compared: not reached.",
        ),
        ([LONE, ONE_SIDED], f"{NOTHING} Also 1 not compared."),
        ([LONE, MENDED], f"{NOTHING} Also 1 improved."),
        (
            [LONE, FAILING],
            "1 of 2 cases regressed: vanilla loop inference: fails now: RuntimeError: boom. Also 1 inconclusive.",
        ),
        ([MENDED], "Nothing regressed; 1 of 1 case improved: gru loop inference: failed in the base: NaN."),
        (
            [OPEN, LONE, SAME],
            "No regression was found, but 2 of 3 cases are inconclusive; the largest undecided change is lstm loop "
            "training: 2.0% slower, from one replicate: no interval. Also 1 unchanged.",
        ),
        (
            [FASTER, SAME, ONE_SIDED],
            "Nothing regressed; 1 of 2 cases improved: gru hoisted inference: 9.0% faster (-9.9% to -8.1%). "
            "Also 1 unchanged, 1 not compared.",
        ),
        (
            [FASTER, replace(FASTER, low=estimate(0.8, 0.79, 0.81))],
            "Nothing regressed; 2 of 2 cases improved; the most improved is gru hoisted inference: "
            "20% faster (-21% to -19%).",
        ),
    ],
)
def test_the_answer(findings: list[Finding], text: str) -> None:
    # One size for all, so that names stay short.
    same = [
        replace(sample, case=replace(Case.from_axes(sample.case.axes()), workload=_small(sample)))
        for sample in findings
    ]
    assert answer_to(comparison(*same)) == text


def _small(sample: Finding):
    return replace(Case.from_axes(sample.case.axes()).workload, batch_size=16, num_layers=1)


def test_a_realistic_answer() -> None:
    assert answer_to(realistic()) == (
        "2 of 24 cases regressed; the worst is lstm loop inference, batch 16: "
        "5.1% slower (+4.2% to +6.0%). Also 1 inconclusive, 1 improved, 20 unchanged, 2 not compared."
    )


def test_margins_of_cases_that_were_not_compared_do_not_count() -> None:
    assert answer.margins(comparison(SAME, ONE_SIDED)) == "2.5%"
    assert answer.margins(comparison(SAME, finding("unchanged", 1.0, margin=0.05))) == "2.5% to 5%"


def test_how_it_was_compared_is_said() -> None:
    stored = comparison(SAME, way="stored", seconds=None)
    method = answer.method(stored, names([SAME.case]))
    assert method.startswith("Two stored runs, compared by the ratios to their references. Change: head over base")
    assert "Margin: 2.5%. Everywhere: batch 16, length 4," in method
    assert answer.subject(stored).startswith("quick: base main (1a2b3c4) against head the working tree")


def test_where_nothing_was_timed_no_measuring_is_claimed() -> None:
    method = answer.method(comparison(APART, FAILING), names([APART.case]))
    assert method.startswith("No times were compared in 93.2 s. Margin: 2.5%.")


def test_files_of_pytest_benchmark_are_compared_by_what_they_hold() -> None:
    method = answer.method(comparison(SAME, way="saved", seconds=None), names([SAME.case]))
    assert method.startswith("pytest-benchmark's files, each of one process, compared by the ratio to a reference in")
    assert "head over base in the lower quartile of the rounds, or in their mean where that decides; mean: in" in method
