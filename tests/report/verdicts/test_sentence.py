from typing import Any

import pytest

from rnnbench.analysis.comparison import Finding
from rnnbench.report.verdicts import sentence

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
        (SOME_CALLS, "Some calls are slower and most are not: the mean is 5.1% up, the low quantile 0.1%"),
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
            "Some calls are slower and most are not: the mean is 5.1% up, the low quantile 0.3% down",
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
            "In the mean between 3.0% faster and 5.0% slower: a longer budget would tell",
        ),
        ({"verdict": "inconclusive"}, "There is no interval: a longer budget would tell"),
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
